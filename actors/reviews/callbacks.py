"""Callbacks sent: signed, retried, given up in plain sight; and how a receiver tells that one is ours.

The scheme is that of Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
`webhook-id`, `webhook-timestamp` and `webhook-signature`, an HMAC-SHA-256 over `id.timestamp.body`. The body is

    {"type": "review.asked" | "review.reminded" | "review.escalated" | "run.completed" | "run.failed" | "run.cancelled",
     "timestamp": "…", "data": {"run_id": "…", …}}

A callback comes at least once, at any time and in any order: `webhook-id` is the same however often one is sent, so a
receiver that remembers the ids of the last days acts once, and `verify` refuses what was signed long ago. What it tells
is that something happened; how the run stands now, `GET /teams/runs/{run_id}` says.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import SecretStr

from actors.errors import MissingKeyError
from actors.providers import webhooks
from storage import callbacks
from storage.callbacks import Due
from storage.clock import now
from storage.engine import Database
from storage.errors import HyvveError
from storage.posting import GuardedPoster
from storage.settings import CallbackSettings
from storage.tasks import end

log = logging.getLogger(__name__)

# Under way at once, in all and to one host and port: receivers that hang keep others waiting only when there are as
# many of them as it takes to fill all places.
_AT_ONCE, _PER_RECEIVER = 100, 5
# How often is looked for what has become due while others are under way, and for how long more is begun.
_LOOK_S, _ROUND_S = 0.5, 60.0
# A sender that dies holds what it took for so long; longer than the slowest answer.
_LEASE_S = 60.0
# The receiver says that it wants no more.
_GONE = 410


def verify(
    headers: Mapping[str, str], body: bytes, secret: str, *, tolerance_s: int = 300, at: datetime | None = None
) -> webhooks.Webhook:
    """For receivers: the callback, if it is signed with the secret and not longer ago than `tolerance_s`.

    Remember its `id` for as long: one that comes again is the same callback. Raises `WebhookRefusedError`.
    """
    return webhooks.verified(headers, body, secret=SecretStr(secret), tolerance_s=tolerance_s, now=at or now())


def body_of(due: Due) -> bytes:
    """What is sent: the same bytes at each attempt."""
    told = {"type": due.event, "timestamp": due.created_at.astimezone(UTC), "data": due.data}
    return orjson.dumps(told, option=orjson.OPT_UTC_Z | orjson.OPT_SORT_KEYS)


def wait_s(attempt: int, settings: CallbackSettings, *, asked_s: float | None = None) -> float:
    """Seconds until the attempt after this one: twice as long each time up to the cap, with a jitter of half of it, so
    that receivers that were down are not met by all at once. What a receiver asks for is kept to, up to the cap.
    """
    exponential = min(settings.cap_s, settings.base_s * 2.0 ** min(attempt - 1, 40))
    jittered = exponential * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    return min(settings.cap_s, max(jittered, asked_s or 0.0))


class CallbackSender:
    """Sends what is due, in the loop it is made in. Any number may work on one database."""

    def __init__(self, database: Database, settings: CallbackSettings, poster: GuardedPoster) -> None:
        self._database = database
        self._settings = settings
        self._poster = poster

    async def send_due(self, *, most: int = 500) -> dict[str, int]:
        """Send up to `most` callbacks that are due, each once; how many were delivered, put off and given up."""
        counts = {"delivered": 0, "put_off": 0, "given_up": 0}
        sending: dict[asyncio.Task[str], str] = {}
        loop = asyncio.get_running_loop()
        tried: list[UUID] = []
        until = loop.time() + _ROUND_S
        try:
            while True:
                room = min(_AT_ONCE - len(sending), most - len(tried)) if loop.time() < until else 0
                for due in await self._taken(room, Counter(sending.values()), tried):
                    sending[asyncio.create_task(self._send(due))] = due.receiver
                    tried.append(due.callback_id)
                if not sending:
                    return counts
                done, _ = await asyncio.wait(sending, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del sending[task]
                    counts[task.result()] += 1
        finally:
            await end(sending)

    async def _taken(self, room: int, busy: Counter[str], tried: Sequence[UUID]) -> list[Due]:
        if room <= 0:
            return []
        async with self._database.begin() as session:
            return await callbacks.take(
                session, limit=room, lease_s=_LEASE_S, per_receiver=_PER_RECEIVER, busy=busy, tried=tried
            )  # fmt: skip

    async def _send(self, due: Due) -> str:
        try:
            posted = await self._poster.post(due.url, *self._signed(due))
        except HyvveError as error:
            # An address that is refused today may be another's tomorrow; a day says enough.
            return await self._put_off(due, {"message": error.message, "code": error.code})
        if posted.taken:
            async with self._database.begin() as session:
                await callbacks.delivered(session, due)
            return "delivered"
        error_ = {"message": posted.reason, "status": posted.status}
        if posted.status == _GONE:
            async with self._database.begin() as session:
                await callbacks.give_up(session, due, error=error_)
            log.warning("callback %s is given up: %s", due.callback_id, posted.reason)
            return "given_up"
        return await self._put_off(due, error_, asked_s=posted.retry_after_s)

    async def _put_off(self, due: Due, error: dict[str, Any], *, asked_s: float | None = None) -> str:
        wait = wait_s(due.attempt, self._settings, asked_s=asked_s)
        async with self._database.begin() as session:
            given_up = await callbacks.put_off(
                session, due, wait_s=wait, give_up_s=self._settings.give_up_s, error=error
            )
        if given_up:
            log.warning("callback %s is given up: %s", due.callback_id, error["message"])
            return "given_up"
        return "put_off"

    def _signed(self, due: Due) -> tuple[bytes, dict[str, str]]:
        secret = SecretStr(due.secret) if due.secret else self._settings.secret
        if secret is None:
            raise MissingKeyError(
                "a callback without a secret of its own is signed with HYVVE_CALLBACK_SECRET: set it",
                subject=str(due.callback_id),
            )
        body, stamp = body_of(due), int(now().timestamp())
        delivery = f"msg_{due.callback_id.hex}"
        return body, {
            "webhook-id": delivery,
            "webhook-timestamp": str(stamp),
            "webhook-signature": webhooks.signature(delivery, stamp, body, secret),
        }
