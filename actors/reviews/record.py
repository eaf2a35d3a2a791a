"""A run's record: what its steps did and made, what people were asked, and what they did, in the order of time.

Each entry is JSON with `at` and `what`: event, artifact, question, decision, action. Nothing in it is ever changed, so
that a later export begins with what an earlier one said. Only where nobody was ever asked are events forgotten after a
while (`RunSettings`).
What a blind review withholds while it waits, or may again, stands there once it is settled, at its place.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from actors.reviews.teams.blindness import artifact_of, event_of
from actors.runs.events import FollowedEvent
from storage import reviews, run_events
from storage.engine import Database
from storage.reviews import Review, ReviewAction, ReviewDecision, RunArtifact
from storage.run_events import RunEvent
from storage.runs import Run

# Rows read at once: some are megabytes.
_PAGE = 50


Row = TypeVar("Row")
Entry = dict[str, Any]


async def entries(database: Database, run_id: UUID) -> AsyncGenerator[Entry, None]:
    """The whole record, read page by page. Of a run that nothing is known of, nothing."""
    async with database.read() as session:
        run = await session.get(Run, run_id)
    if run is None:
        return

    def event(row: RunEvent) -> Entry:
        return _of_event(event_of(run, row))

    def artifact(row: RunArtifact) -> Entry:
        return {**_of_artifact(row), "body": artifact_of(run, row.name, row.body)}

    sources = [
        _told(_paged(database, run_id, _events, lambda row: row.seq), event),
        _told(_paged(database, run_id, reviews.artifacts, lambda row: row.seq), artifact),
        _told(_paged(database, run_id, reviews.of_run, lambda row: row.number), _of_question),
        _told(_paged(database, run_id, reviews.decisions_of_run, lambda row: row.seq), _of_decision),
        _told(_paged(database, run_id, reviews.actions_of_run, lambda row: row.seq), _of_action),
    ]
    heads = [await anext(source, None) for source in sources]
    while True:
        waiting = [(head["at"], number) for number, head in enumerate(heads) if head is not None]
        if not waiting:
            return
        _, first = min(waiting)
        found = heads[first]
        assert found is not None
        yield found
        heads[first] = await anext(sources[first], None)


async def lines(database: Database, run_id: UUID) -> AsyncGenerator[bytes, None]:
    """The record as JSON lines."""
    async with aclosing(entries(database, run_id)) as found:
        async for entry in found:
            yield orjson.dumps(entry, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


async def _paged(
    database: Database,
    run_id: UUID,
    page: Callable[..., Awaitable[Sequence[Row]]],
    number: Callable[[Row], int],
) -> AsyncIterator[Row]:
    after = 0
    while True:
        # A session for each page: a client that reads slowly holds no connection.
        async with database.read() as session:
            rows = await page(session, run_id, after=after, limit=_PAGE)
        for row in rows:
            yield row
        if len(rows) < _PAGE:
            return
        after = number(rows[-1])


async def _told(rows: AsyncIterator[Row], entry: Callable[[Row], Entry]) -> AsyncIterator[Entry]:
    async for row in rows:
        yield entry(row)


async def _events(session: AsyncSession, run_id: UUID, *, after: int, limit: int) -> Sequence[RunEvent]:
    return await run_events.after(session, run_id, after, limit=limit)


def _of_event(row: RunEvent | FollowedEvent) -> Entry:
    return {"at": row.at, "what": "event", "seq": row.seq, "type": row.type, "step": row.step, "data": row.data}


def _of_artifact(row: RunArtifact) -> Entry:
    return {"at": row.at, "what": "artifact", "kind": row.kind, "name": row.name, "step": row.step, "body": row.body}


def _of_question(row: Review) -> Entry:
    return {
        "at": row.created_at, "what": "question", "review_id": row.review_id, "checkpoint": row.checkpoint,
        "title": row.title, "step": row.step, "subject": row.subject, "saw": row.saw, "shown": row.shown,
        "ruling": row.ruling, "answers": row.answers, "agreement": row.agreement, "deadline": row.deadline,
    }  # fmt: skip


def _of_decision(row: ReviewDecision) -> Entry:
    return {
        "at": row.at, "what": "decision", "review_id": row.review_id, "who": row.reviewer, "answer": row.answer,
        "payload": row.payload, "words": row.words, "changes": row.changes, "saw": row.saw,
    }  # fmt: skip


def _of_action(row: ReviewAction) -> Entry:
    return {
        "at": row.at, "what": "action", "review_id": row.review_id, "kind": row.kind, "who": row.who, "saw": row.saw,
        "details": row.details,
    }  # fmt: skip
