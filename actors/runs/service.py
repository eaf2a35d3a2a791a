"""`Runs`: what anybody asks of runs. It accepts, answers and asks hosts to act; driving is theirs alone.

Whatever it accepts is committed before it answers. Hosts are told through PostgreSQL, and look by themselves besides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from actors.errors import RunConflictError, RunTooLargeError, ThreadBusyError, ThreadForbiddenError
from actors.runs import forking
from actors.runs.events import RunFollower
from actors.runs.forking import CheckpointInfo, ForkRule, as_it_was
from actors.settings import RunSettings
from storage import callbacks, reviews, run_events, runs
from storage.clock import now
from storage.engine import Database
from storage.errors import ConflictError
from storage.ids import new_id
from storage.run_events import RunEvent
from storage.runs import ENDED, RETRIED, Run, shard_of

# Of a thread's id, which stands in every row of its checkpoints.
_LONGEST_THREAD_ID = 200
# Of one thread, which takes them one after the other: more is a client that does not look at how its runs stand.
MAX_QUEUED = 100
# Before PostgreSQL is asked again.
_PAUSE_S = 0.5


class Runs:
    """Of one database. Any process may have one; it belongs to the event loop that it is used in.

    What is given the caller's `session` is done when that commits, with whatever else that writes.
    """

    def __init__(
        self,
        database: Database,
        *,
        redis_url: str,
        settings: RunSettings | None = None,
        forks: Mapping[str, ForkRule] | None = None,
    ) -> None:
        """`forks` are the rules of the kinds whose forks may be given something, or that have none."""
        self._database = database
        self._forks = forks or {}
        self._settings = settings or RunSettings()
        self.follower = RunFollower(database, redis_url)

    async def start(
        self,
        kind: str,
        spec: Mapping[str, Any],
        input: Mapping[str, Any],  # noqa: A002  # as the row's column
        *,
        owner: str | None = None,
        thread_id: str | None = None,
        run_id: UUID | None = None,
        deadline_s: float | None = None,
        start_at: datetime | None = None,
        budget: Mapping[str, int] | None = None,
        parent_run_id: UUID | None = None,
        session_id: str | None = None,
        queue: bool = False,
        session: AsyncSession | None = None,
    ) -> Run:
        """Accept a run: its row is committed when this returns, and it will be driven to its end, whatever restarts.

        On a thread that has an unfinished run it waits its turn where `queue` is set, behind at most `MAX_QUEUED`. The
        same `run_id` a second time answers the first run, so that a caller may repeat itself. `budget` takes
        `max_cost_micro_usd` and `max_tokens`. A thread is its first run's owner's; one that has none, of those who have
        none. Raises `ThreadBusyError`, `ThreadForbiddenError` on another owner's thread, `RunTooLargeError`, and
        `ConflictError` for a `run_id` that is another run's.
        """
        run = Run(
            run_id=run_id or new_id(), kind=kind, spec=dict(spec), input=dict(input), owner=owner,
            budget=dict(budget or {}), parent_run_id=parent_run_id, session_id=session_id, wake_at=start_at,
        )  # fmt: skip
        run.thread_id = thread_id if thread_id is not None else str(run.run_id)
        run.shard = shard_of(run.thread_id)
        _give_time(run, deadline_s)
        self._check(run)
        async with self._database.within(session) as unit:
            return await self._start(unit, run, again=run_id is not None, joins=thread_id is not None, queue=queue)

    async def _start(self, session: AsyncSession, run: Run, *, again: bool, joins: bool, queue: bool) -> Run:
        await runs.hold_thread(session, run.thread_id)
        if again and (earlier := await session.get(Run, run.run_id)) is not None:
            return _same(earlier, run)
        if joins:
            _require_thread(await runs.last_on(session, run.thread_id), run)
        # One more than may wait: the first has its turn.
        unfinished = await runs.unfinished_on(session, run.thread_id, limit=MAX_QUEUED + 1 if queue else 1)
        if unfinished and (not queue or len(unfinished) > MAX_QUEUED):
            raise _busy(run.thread_id, *unfinished[0], queue=queue)
        await self._accept(session, run, "run.created")
        return run

    async def resume(
        self, run_id: UUID, answers: Mapping[str, Any], *, by: str | None = None, session: AsyncSession | None = None
    ) -> Run:
        """Answer questions of a waiting run, each by its interrupt's id; the rest go on waiting.

        All answers are taken or none. Raises `NotFoundError`, and `RunConflictError` for an id that the run does not
        wait for (unknown, late or given before) or that has a review, which alone answers it.
        """
        _size(answers, self._settings.max_input_bytes, run_id)
        async with self._database.within(session) as unit:
            run = await runs.locked(unit, run_id)
            found = await reviews.of_interrupts(unit, run_id, list(answers))
            if found:
                review = next(iter(found.values()))
                raise RunConflictError(
                    f"run {run_id} waits for review {review.review_id} there: decide it, by its own address",
                    subject=str(review.review_id), reviews={key: str(each.review_id) for key, each in found.items()},
                )  # fmt: skip
            await answer(unit, run, answers, by=by)
        return run

    async def cancel(self, run_id: UUID, *, session: AsyncSession | None = None) -> Run:
        """Ask for the run's end. Its host stops it within seconds; an ended run stays as it is."""
        async with self._database.within(session) as unit:
            run = await runs.locked(unit, run_id)
            if run.status not in ENDED and run.cancel_requested_at is None:
                run.cancel_requested_at = run.updated_at = now()
                await runs.call_host(unit, run)
        return run

    async def retry(
        self,
        run_id: UUID,
        *,
        deadline_s: float | None = None,
        budget: Mapping[str, int] | None = None,
        session: AsyncSession | None = None,
    ) -> Run:
        """Drive a failed or cancelled run again, from the step that it stopped at; what was done stays done.

        It is given `deadline_s` from now on; without that as long as it was given before, if it was. `budget` replaces
        the one it has; what was spent counts against either. Raises `RunConflictError` where the run has not failed, or
        its thread has gone on without it.
        """
        async with self._database.within(session) as unit:
            thread_id = (await runs.get(unit, run_id)).thread_id
            await runs.hold_thread(unit, thread_id)
            run = await runs.locked(unit, run_id)
            if run.status not in ("failed", "cancelled"):
                raise RunConflictError(
                    f"run {run_id} is {run.status}: only a failed or cancelled one can be retried", subject=str(run_id)
                )
            last = await runs.last_on(unit, thread_id)
            if last is not None and last.run_id != run_id:
                raise RunConflictError(
                    f"thread {thread_id!r} has gone on with run {last.run_id}: start a new run, or fork this one",
                    subject=str(last.run_id),
                )
            if run.retained not in RETRIED:
                raise RunConflictError(f"the checkpoints of run {run_id} are gone by their age", subject=str(run_id))
            run.status, run.error, run.ended_at, run.cancel_requested_at = "pending", None, None, None
            run.attempt, run.recoveries, run.wake_at, run.updated_at = run.attempt + 1, 0, None, now()
            _give_time(run, run.deadline_s if deadline_s is None else deadline_s)
            run.budget = run.budget if budget is None else dict(budget)
            await runs.call_host(unit, run)
        return run

    async def fork(
        self,
        run_id: UUID,
        checkpoint_id: str | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002  # as the row's column
        *,
        owner: str | None = None,
        new_run_id: UUID | None = None,
        deadline_s: float | None = None,
        budget: Mapping[str, int] | None = None,
    ) -> Run:
        """A new run on a new thread that goes on from a checkpoint of this one, by default its last.

        `input` is merged into the checkpoint's values first. What came after the checkpoint is done anew, side effects
        too. `owner` is the new run's, by default the old one's; the same owner is called back where it was. `budget` is
        the new run's, by default what was left of the old one's at the checkpoint. The same `new_run_id` a second time
        answers the first fork. Raises `NotFoundError` for a checkpoint that is not there (any more), and what
        `check_fork` raises.
        """
        async with self._database.begin() as session:
            source = await runs.get(session, run_id)
            run = Run(
                run_id=new_run_id or new_id(), kind=source.kind, spec=source.spec, input=dict(input or {}),
                owner=owner if owner is not None else source.owner, parent_run_id=run_id, session_id=source.session_id,
            )  # fmt: skip
            run.thread_id = str(run.run_id)
            run.shard = shard_of(run.thread_id)
            _give_time(run, deadline_s)
            self._check(run)
            self.check_fork(source, run.input)
            await runs.hold_thread(session, run.thread_id)
            if new_run_id is not None and (earlier := await session.get(Run, new_run_id)) is not None:
                return _same(earlier, run)
            run.forked_from = await forking.copy(
                session, run_id, source.thread_id, checkpoint_id=checkpoint_id, target=run.thread_id,
                new_run_id=run.run_id,
            )  # fmt: skip
            run.budget = await forking.budget_left(session, source, run.forked_from) if budget is None else dict(budget)
            if run.owner == source.owner:  # another's runs are not told of there
                await callbacks.aim_as(session, run_id, run.run_id)
            await self._accept(session, run, "run.forked", run_id=str(run_id), checkpoint_id=run.forked_from)
        return run

    def check_fork(self, source: Run, given: Mapping[str, Any]) -> None:
        """Raises `RunInputError` for values that forks of its kind may not be given, by default any; and
        `RunConflictError` where they are not forked.
        """
        self._forks.get(source.kind, as_it_was)(source, given)

    async def get(self, run_id: UUID) -> Run:
        """The run as it stands. Raises `NotFoundError`."""
        async with self._database.read() as session:
            return await runs.get(session, run_id)

    async def list(
        self,
        *,
        owner: str | None = None,
        unowned: bool = False,
        statuses: Sequence[str] = (),
        kind: str | None = None,
        thread_id: str | None = None,
        parent_run_id: UUID | None = None,
        session_id: str | None = None,
        since: datetime | None = None,
        after: UUID | None = None,
        limit: int = 50,
        light: bool = False,
        stages: Sequence[str] = (),
    ) -> Sequence[Run]:
        """Runs newest first; the page after the one that ended with `after`. The rest as `runs.page`."""
        async with self._database.read() as session:
            return await runs.page(
                session, owner=owner, unowned=unowned, statuses=statuses, kind=kind, thread_id=thread_id,
                parent_run_id=parent_run_id, session_id=session_id, since=since, after=after, limit=limit, light=light,
                stages=stages,
            )  # fmt: skip

    async def events(self, run_id: UUID, after_seq: int = 0, *, limit: int = 1000) -> Sequence[RunEvent]:
        """The run's events numbered above `after_seq`, in order. Raises `NotFoundError`."""
        async with self._database.read() as session:
            await runs.get(session, run_id)
            return await run_events.after(session, run_id, after_seq, limit=limit)

    async def checkpoints(
        self, run_id: UUID, *, limit: int = 100, before: str | None = None
    ) -> Sequence[CheckpointInfo]:
        """The run's checkpoints that are still there, newest first. Raises `NotFoundError`."""
        async with self._database.read() as session:
            run = await runs.get(session, run_id)
            return await forking.checkpoints(session, run_id, run.thread_id, limit=limit, before=before)

    async def wait(self, run_id: UUID, timeout_s: float) -> Run:
        """The run, as soon as it is ended or waits for an answer, or as it stands after `timeout_s` seconds. An absence
        of the database is waited out: the run is accepted all the same.
        """
        run = await self.get(run_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not _settled(run):
                    try:
                        run = await self._followed(run)
                    except (SQLAlchemyError, ConnectionError):
                        await asyncio.sleep(_PAUSE_S)
                return run
        return await self.get(run_id)

    async def _followed(self, run: Run) -> Run:
        async with aclosing(self.follower.follow(run.run_id, run.event_seq)) as events:
            async for event in events:
                if event.type in ("run.waiting", "run.completed", "run.failed", "run.cancelled"):
                    run = await self.get(run.run_id)
                    if _settled(run):
                        return run
        return await self.get(run.run_id)

    async def close(self) -> None:
        await self.follower.close()

    def _check(self, run: Run) -> None:
        if not 0 < len(run.thread_id) <= _LONGEST_THREAD_ID or "\x00" in run.thread_id:
            raise RunTooLargeError(
                f"a thread's id has from 1 to {_LONGEST_THREAD_ID} characters and no NUL", subject=run.thread_id[:100]
            )
        _size([run.spec, run.input], self._settings.max_input_bytes, run.run_id)

    async def _accept(self, session: Any, run: Run, event: str, **data: Any) -> None:
        run.created_at = run.updated_at = now()
        session.add(run)
        run_events.first(session, run, event, kind=run.kind, owner=run.owner, **data)
        await session.flush()
        await runs.call_host(session, run)


async def answer(session: AsyncSession, run: Run, answers: Mapping[str, Any], *, by: str | None) -> None:
    """Hand answers, by interrupt id, to a run that this unit of work has locked. Raises `RunConflictError`."""
    if not answers:
        raise RunConflictError("no answer was given: name the interrupt that each answers", subject=str(run.run_id))
    asked = {interrupt["id"] for interrupt in run.interrupts} - set(run.resume)
    if run.status in ENDED or (unknown := sorted(set(answers) - asked)):
        why = (
            f"the run is {run.status}" if run.status in ENDED
            else f"it does not wait for {', '.join(map(repr, unknown))} (unknown, or answered before)"
        )  # fmt: skip
        raise RunConflictError(
            f"run {run.run_id} takes no such answer: {why}; it waits for {sorted(asked) if asked else 'none'}",
            subject=str(run.run_id), waits_for=sorted(asked),
        )  # fmt: skip
    given = {key: {"value": value, "by": by, "at": now().isoformat()} for key, value in answers.items()}
    run.resume = {**run.resume, **given}
    run.updated_at = now()
    await runs.call_host(session, run)


def _give_time(run: Run, deadline_s: float | None) -> None:
    """So many seconds from now on, or as many as it takes."""
    run.deadline_s = deadline_s
    run.deadline_at = None if deadline_s is None else now() + timedelta(seconds=deadline_s)


def _settled(run: Run) -> bool:
    if run.status in ENDED:
        return True
    # What waits for a moment, or has an answer, goes on by itself.
    return run.status == "waiting" and not run.resume and any("wake_at" not in asked for asked in run.interrupts)


def _busy(thread_id: str, run_id: UUID, status: str, *, queue: bool) -> ThreadBusyError:
    """What refuses a further run behind this one, whose turn it is."""
    if queue:
        why = f"has {MAX_QUEUED} runs waiting behind {run_id} ({status}), the most that one thread takes"
        return ThreadBusyError(
            f"thread {thread_id!r} {why}: start again when it has gone on, or use another thread", subject=str(run_id)
        )
    return ThreadBusyError(
        f"thread {thread_id!r} has an unfinished run, {run_id} ({status}): "
        "wait for its end, cancel it, or ask to be queued",
        subject=str(run_id),
    )


def _require_thread(last: Run | None, run: Run) -> None:
    """Raises where the run may not go on on its thread, whose last run this is."""
    if last is None:
        return
    if last.owner != run.owner:
        whose = "another wallet" if last.owner is not None else "no wallet: go on with it without one, or begin another"
        raise ThreadForbiddenError(f"thread {run.thread_id!r} belongs to {whose}", subject=run.thread_id)


def _same(earlier: Run, run: Run) -> Run:
    """The earlier run, which `run` repeats."""
    if (earlier.kind, earlier.thread_id, earlier.owner) != (run.kind, run.thread_id, run.owner):
        raise ConflictError(f"run {earlier.run_id} exists and is another one", subject=str(earlier.run_id))
    return earlier


def _size(value: Any, limit: int, run_id: UUID) -> None:
    """Raises `RunTooLargeError`, naming the limit."""
    try:
        size = len(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
    except orjson.JSONEncodeError as error:
        raise RunTooLargeError(f"what a run is given must be JSON: {error}", subject=str(run_id)) from error
    if size > limit:
        raise RunTooLargeError(f"a run is given at most {limit:,} bytes, these are {size:,}", subject=str(run_id))
