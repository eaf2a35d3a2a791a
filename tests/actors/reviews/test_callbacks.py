"""Callbacks: written with what they tell of, signed, sent again until they are taken, given up in plain sight."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
from langgraph.types import Interrupt
from pydantic import SecretStr
from sqlalchemy import text

from actors.errors import TeamRequestError, WebhookRefusedError
from actors.reviews.callback_rows import Told
from actors.reviews.callbacks import CallbackSender, verify, wait_s
from actors.reviews.rows import Reviewed
from storage import callbacks
from storage.callbacks import Callback
from storage.clock import now
from storage.errors import AddressRefusedError, BadReferenceError
from storage.ids import new_id
from storage.posting import GuardedPoster
from storage.runs import Run
from storage.settings import CallbackSettings, FetchSettings
from tests.actors.reviews.asking import People
from tests.actors.reviews.teams import Team
from tests.stubs.http import Reply, Request, StubServer

SECRET = "whsec_" + base64.b64encode(b"a secret of the receiver's own").decode()
LOOPBACK = FetchSettings(allowed_networks=("127.0.0.0/8",))
SETTINGS = CallbackSettings(base_s=0.01, cap_s=0.02, timeout_s=2.0)


class Receiver(StubServer):
    """Answers 204, or what its script says; `taken` are the bodies of what it answered 2xx to."""

    def __init__(self) -> None:
        super().__init__(self._handle)
        self.script: deque[Reply] = deque()
        self.requests: list[Request] = []
        self.taken: list[dict[str, Any]] = []

    def _handle(self, request: Request) -> Reply:
        self.requests.append(request)
        reply = self.script.popleft() if self.script else Reply(b"", 204)
        if reply.status < 300:
            self.taken.append(request.json())
        return reply


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


async def sent(team: Team, settings: CallbackSettings = SETTINGS, fetch: FetchSettings = LOOPBACK) -> dict[str, int]:
    """What sending all that is due came to."""
    poster = GuardedPoster(fetch, timeout_s=settings.timeout_s)
    try:
        return await CallbackSender(team.engine.database, settings, poster).send_due()
    finally:
        await poster.close()


async def called_back(team: Team, run: Run) -> list[Callback]:
    async with team.engine.database.read() as session:
        return list(await callbacks.of_run(session, run.run_id))


async def completed(team: Team, receiver: Receiver, **config: Any) -> Run:
    target = {"callback_url": f"{receiver.url}/hook", "callback_secret": SECRET}
    run = await team.start(**{"policy": "AUTO", **target, **config})
    await team.ended(run)
    return run


async def test_a_receiver_is_told_of_each_question_and_of_the_end_and_can_tell_that_it_is_us(
    team: Team, receiver: Receiver
) -> None:
    run = await team.start(
        policy="REQUIRE_HUMAN", allowed_steps=["payload_review"],
        callback_url=f"{receiver.url}/hook", callback_secret=SECRET,
    )  # fmt: skip
    review = await team.asked(run)
    assert await sent(team) == {"delivered": 1, "put_off": 0, "given_up": 0}
    await team.decide(review, "approve")
    await team.ended(run)
    assert await sent(team) == {"delivered": 1, "put_off": 0, "given_up": 0}
    asked, ended = receiver.taken
    assert (asked["type"], asked["data"]["review_id"]) == ("review.asked", str(review.review_id))
    assert (ended["type"], ended["data"]["run_id"]) == ("run.completed", str(run.run_id))
    assert ended["data"]["status"] == "completed"
    for request in receiver.requests:
        assert verify(request.headers, request.body, SECRET).body["type"]
        with pytest.raises(WebhookRefusedError):
            verify(request.headers, request.body.replace(b"run", b"fun"), SECRET)
        with pytest.raises(WebhookRefusedError):
            verify(request.headers, request.body, SECRET, at=now() + timedelta(hours=1))
    assert await sent(team) == {"delivered": 0, "put_off": 0, "given_up": 0}


async def test_a_receiver_is_told_of_reminders_and_escalations_each_once(team: Team, receiver: Receiver) -> None:
    run = await team.start(
        policy="REQUIRE_HUMAN", allowed_steps=["payload_review"], timeout_seconds=1000, on_timeout="escalate",
        escalate_to=["leads"], reviewers=["ann"], callback_url=f"{receiver.url}/hook", callback_secret=SECRET,
    )  # fmt: skip
    review = await team.asked(run)
    people = People(team.engine)
    for _ in range(3):
        waiting = await team.reviews.get(review.review_id)
        assert waiting.next_at is not None
        await people.pass_time(review.review_id, waiting.next_at + timedelta(seconds=1))
        await asyncio.gather(*(team.reviews.tick() for _ in range(2)))
    await sent(team)
    told = [(each["type"], each["data"]["group"], each["data"]["reviewers"]) for each in receiver.taken[1:]]
    assert told == [("review.reminded", None, ["ann"])] * 2 + [("review.escalated", "leads", [])]
    assert receiver.taken[-1]["data"]["review_id"] == str(review.review_id)
    unasked = await team.start(policy="REQUIRE_HUMAN", allowed_steps=["payload_review"], timeout_seconds=1000)
    due = (await team.asked(unasked)).next_at
    assert due is not None
    await people.pass_time((await team.asked(unasked)).review_id, due)
    await team.reviews.tick()
    assert await called_back(team, unasked) == [], "nobody is called back who did not ask for it"


async def test_a_rejected_and_a_cancelled_run_tell_how_they_ended(team: Team, receiver: Receiver) -> None:
    target: dict[str, Any] = {
        "callback_url": f"{receiver.url}/hook", "callback_secret": SECRET, "allowed_steps": ["payload_review"],
    }  # fmt: skip
    rejected = await team.start(policy="REQUIRE_HUMAN", **target)
    await team.decide(await team.asked(rejected), "reject", reason="no")
    await team.ended(rejected)
    cancelled = await team.start(policy="REQUIRE_HUMAN", **target)
    await team.asked(cancelled)
    await team.engine.runs.cancel(cancelled.run_id)
    await team.engine.ended_not_waiting(cancelled.run_id)
    await sent(team)
    ends = {each["data"]["run_id"]: each for each in receiver.taken if each["type"] != "review.asked"}
    assert ends[str(rejected.run_id)]["data"]["error"]["code"] == "rejected"
    assert ends[str(cancelled.run_id)]["type"] == "run.cancelled"


async def test_a_receiver_that_is_down_loses_nothing(team: Team, receiver: Receiver) -> None:
    port = receiver.port
    run = await completed(team, receiver)
    await receiver.close()
    assert (await sent(team))["put_off"] == 1
    [waiting] = await called_back(team, run)
    assert waiting.delivered_at is None
    assert waiting.error is not None
    assert "could not be reached" in waiting.error["message"]
    await receiver.start(port)
    receiver.script.append(Reply(b"", 500))
    async with asyncio.timeout(10):
        while not (await sent(team))["delivered"]:
            await asyncio.sleep(0.02)
    first, last = receiver.requests
    assert first.body == last.body
    assert first.headers["webhook-id"] == last.headers["webhook-id"], "a repeated one is told by its id"
    [taken] = await called_back(team, run)
    assert taken.delivered_at is not None
    assert taken.attempts == 3


async def test_one_that_nobody_takes_is_given_up_where_it_can_be_seen(team: Team, receiver: Receiver) -> None:
    run = await completed(team, receiver)
    receiver.script.extend([Reply(b"", 500)] * 3)
    assert (await sent(team, SETTINGS.model_copy(update={"give_up_s": 0.001})))["given_up"] == 1
    [lost] = await called_back(team, run)
    assert lost.given_up_at is not None
    assert lost.error == {"message": "127.0.0.1 answered 500", "status": 500}
    assert not any((await sent(team)).values())


async def test_a_receiver_that_is_gone_for_good_is_not_asked_again(team: Team, receiver: Receiver) -> None:
    await completed(team, receiver)
    receiver.script.append(Reply(b"", 410))
    assert (await sent(team))["given_up"] == 1


async def test_two_senders_send_each_callback_once(team: Team, receiver: Receiver) -> None:
    runs = [await completed(team, receiver) for _ in range(5)]
    await asyncio.gather(*(sent(team) for _ in range(4)))
    assert sorted(each["data"]["run_id"] for each in receiver.taken) == sorted(str(run.run_id) for run in runs)


@pytest.mark.timed
async def test_receivers_that_hang_hold_up_no_others(team: Team, receiver: Receiver) -> None:
    async with Receiver() as hanging:
        hanging.script.extend([Reply(b"", 204, delay_s=3.0)] * 100)
        first = await completed(team, hanging)
        async with team.engine.database.begin() as session:
            # 40 more for the one that hangs, all due before what the other is to be told.
            await session.execute(
                text(
                    "INSERT INTO callbacks (callback_id, run_id, event, data, created_at, next_at, attempts)"
                    " SELECT gen_random_uuid(), run_id, event, data, created_at, next_at, 0"
                    " FROM callbacks, generate_series(1, 40) WHERE run_id = :run_id"
                ),
                {"run_id": first.run_id},
            )
        sending = asyncio.create_task(sent(team, SETTINGS.model_copy(update={"timeout_s": 5.0})))
        async with asyncio.timeout(10):
            while not hanging.requests:
                await asyncio.sleep(0.01)
        # It is told while the sender waits for the other, and though its turn came after the 40.
        await completed(team, receiver)
        async with asyncio.timeout(2.5):
            while not receiver.taken:
                await asyncio.sleep(0.01)
        assert hanging.peak == 5
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert len(receiver.requests) == 1


async def test_many_to_one_receiver_are_all_sent_in_one_go(team: Team, receiver: Receiver) -> None:
    run = await completed(team, receiver)
    async with team.engine.database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO callbacks (callback_id, run_id, event, data, created_at, next_at, attempts)"
                " SELECT gen_random_uuid(), run_id, event, data, created_at, next_at, 0"
                " FROM callbacks, generate_series(1, 29) WHERE run_id = :run_id"
            ),
            {"run_id": run.run_id},
        )
    assert await sent(team) == {"delivered": 30, "put_off": 0, "given_up": 0}
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 30


async def test_what_was_given_up_is_sent_again_under_its_id_with_its_whole_time(team: Team, receiver: Receiver) -> None:
    run = await completed(team, receiver)
    receiver.script.extend([Reply(b"", 410), Reply(b"", 500), Reply(b"", 204)])
    assert (await sent(team))["given_up"] == 1
    [lost] = await called_back(team, run)
    async with team.engine.database.begin() as session:
        # It was written long ago: a failure of the second time does not give it up at once.
        await session.execute(text("UPDATE callbacks SET created_at = created_at - interval '3 days'"))
        await callbacks.resend(session, run.run_id, lost.callback_id)
    assert (await sent(team))["put_off"] == 1
    async with asyncio.timeout(10):
        while not (await sent(team))["delivered"]:
            await asyncio.sleep(0.02)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


async def test_a_fork_is_told_of_where_its_source_is_unless_it_is_anothers(team: Team, receiver: Receiver) -> None:
    run = await completed(team, receiver)
    fork = await team.engine.runs.fork(run.run_id)
    others = await team.engine.runs.fork(run.run_id, owner="0xanother")
    await team.ended(fork)
    await team.ended(others)
    await sent(team)
    assert {each["data"]["run_id"] for each in receiver.taken} == {str(run.run_id), str(fork.run_id)}


async def test_a_sender_that_died_leaves_its_callback_to_another(team: Team, receiver: Receiver) -> None:
    run = await completed(team, receiver)
    async with team.engine.database.begin() as session:
        [taken] = await callbacks.take(session, limit=10, lease_s=60)
    assert not any((await sent(team)).values()), "it is held"
    async with team.engine.database.begin() as session:
        await session.execute(text("UPDATE callbacks SET next_at = clock_timestamp()"))
    assert (await sent(team))["delivered"] == 1
    async with team.engine.database.begin() as session:
        # The first one is late: what the second wrote stays.
        await callbacks.put_off(session, taken, wait_s=0, give_up_s=0, error={})
    [row] = await called_back(team, run)
    assert (row.delivered_at is not None, row.given_up_at) == (True, None)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/x", "https://localhost:1/x", "https://[::1]/x", "ftp://example.com/", "not a url"]
)
async def test_nothing_is_sent_into_our_own_network(url: str) -> None:
    poster = GuardedPoster(FetchSettings(), timeout_s=2.0)
    with pytest.raises((AddressRefusedError, BadReferenceError)):
        await poster.post(url, b"{}", {})
    await poster.close()


async def test_a_redirect_is_followed_with_the_body_and_held_by_the_guard_anew(team: Team, receiver: Receiver) -> None:
    slow = SETTINGS.model_copy(update={"base_s": 60.0, "cap_s": 60.0})
    receiver.script.extend([
        Reply(b"", 307, {"location": f"{receiver.url}/moved"}), Reply(b"", 204),
        Reply(b"", 308, {"location": "http://10.0.0.1/inside"}),
        Reply(b"", 303, {"location": f"{receiver.url}/get"}),
    ])  # fmt: skip
    await completed(team, receiver)
    assert (await sent(team, slow))["delivered"] == 1
    assert (receiver.requests[-1].path, receiver.requests[-1].method) == ("/moved", "POST")
    for said in ("10.0.0.1", "answered 303"):
        run = await completed(team, receiver)
        assert (await sent(team, slow))["put_off"] == 1
        [row] = await called_back(team, run)
        assert said in orjson.dumps(row.error).decode()


async def test_an_address_or_a_secret_that_is_none_is_refused_at_once(team: Team) -> None:
    with pytest.raises(TeamRequestError) as caught:
        await team.start(callback_url="ipfs://bafy")
    assert {each["path"] for each in caught.value.details["errors"]} == {
        "$.hitl_config.callback_url", "$.hitl_config.callback_secret",
    }  # fmt: skip


async def test_the_installations_secret_signs_what_brings_none(team: Team, receiver: Receiver) -> None:
    run = await completed(team, receiver)
    async with team.engine.database.begin() as session:
        await session.execute(text("UPDATE callback_targets SET secret = NULL"))
    assert (await sent(team))["put_off"] == 1, "unsigned, nothing leaves"
    async with team.engine.database.begin() as session:
        await session.execute(text("UPDATE callbacks SET next_at = clock_timestamp()"))
    ours = "whsec_" + base64.b64encode(b"the installation's own secret").decode()
    assert (await sent(team, SETTINGS.model_copy(update={"secret": SecretStr(ours)})))["delivered"] == 1
    request = receiver.requests[-1]
    assert verify(request.headers, request.body, ours).body["data"]["run_id"] == str(run.run_id)


def test_a_question_that_is_none_is_told_to_nobody_and_keeps_no_run_from_waiting() -> None:
    run = Run(run_id=new_id(), kind="team_run", attempt=1)
    assert Told(Reviewed()).asked(run, Interrupt(value={"kind": "review", "title": ""}), "step") == []


def test_waits_grow_to_their_cap_and_keep_to_what_a_receiver_asks() -> None:
    settings = CallbackSettings(base_s=2.0, cap_s=60.0)
    assert 1.0 <= wait_s(1, settings) <= 2.0
    assert 4.0 <= wait_s(3, settings) <= 8.0
    assert 30.0 <= wait_s(500, settings) <= 60.0
    assert wait_s(1, settings, asked_s=45.0) == 45.0
    assert wait_s(1, settings, asked_s=1e9) == 60.0
