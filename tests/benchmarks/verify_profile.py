"""Where the CPU time of a verification goes: a batch in one process, sampled each millisecond of CPU, put to stages.

By CPU time and not by the clock, so that waiting and other programs on the machine do not count.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.inprocess import InProcessVerification
from actors.verification.workplace import Setup
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.verification.population import open_batch, populate

# A sample belongs to the first stage of which a mark is found, from the innermost frame outwards.
STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("fetch the blob", ("storage/fetch.py", "storage/blobs/")),
    ("find the language", ("readers/language.py", "py3langid")),
    ("read and hash", ("verification/read.py", "verification/readers/")),
    ("register fingerprints (SQL)", ("storage/fingerprints.py:register",)),
    ("find duplicates (SQL)", ("storage/fingerprints.py", "duplicates.py:find")),
    ("fingerprint", ("verification/duplicates.py",)),
    ("write the prompt", ("scorers/prompt.py",)),
    ("check the answer", ("scorers/answer.py",)),
    ("pace", ("scorers/pacing.py", "scorers/ledger.py")),
    ("score cache (Redis)", ("score_cache.py", "storage/cache.py")),
    ("decide, make rows", ("verification/decide.py", "pipeline.py:judged_row", "pipeline.py:result_row")),
    ("write rows (SQL)", ("storage/verifications.py:write_results", "storage/verifications.py:_insert_results")),
    ("call the provider", ("verification/scorers/", "verification/scoring.py", "openai/", "httpx", "aiohttp")),
    ("list what is missing, load contributions (SQL)", ("storage/verifications.py", "storage/contributions.py")),
)


async def profile(storage: StorageSettings, base_url: str, texts: Sequence[bytes]) -> None:
    """Verify these texts in this process and print what each stage costs a contribution."""
    settings = VerificationSettings(scorer=ScorerSettings(kind="openai", base_url=base_url, model="stub"))
    service = InProcessVerification(Setup(storage=storage, verification=settings))
    database = Database(storage.database_url)
    try:
        warm = await populate(database, storage, texts[:64], onchain_id="profile warm-up")
        await service.drive(await open_batch(database, warm.campaign_id))
        population = await populate(database, storage, texts[64:], onchain_id="profile")
        batch_id = await open_batch(database, population.campaign_id)
        started = time.process_time()
        with sampled() as samples:
            await service.drive(batch_id)
        spent = (time.process_time() - started) / len(population.contribution_ids) * 1000
    finally:
        await service.close()
        await database.close()
    total = sum(samples.values())
    for stage, count in samples.most_common():
        print(f"  {count / total:6.1%}  {count / total * spent:6.3f} ms  {stage}")
    print(f"  100.0%  {spent:6.3f} ms  a contribution, sampling included")


@contextmanager
def sampled(interval_s: float = 0.001) -> Iterator[Counter[str]]:
    """Counts the stage of this thread each `interval_s` of the process's CPU time."""
    samples: Counter[str] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        samples[stage_of(frame)] += 1

    before = signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, interval_s, interval_s)
    try:
        yield samples
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def stage_of(frame: FrameType | None) -> str:
    for where in (*_frames(frame), *reversed(list(_coroutines()))):
        for stage, marks in STAGES:
            if any(mark in where for mark in marks):
                return stage
    return "event loop and the rest"


def _frames(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        frame = frame.f_back


def _coroutines() -> Iterator[str]:
    """What the running task awaits, outermost first: SQLAlchemy's own stack, a greenlet's, does not lead back to it."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return
    awaited: Any = task.get_coro() if task is not None else None
    while awaited is not None:
        code = getattr(awaited, "cr_code", None)
        if code is not None:
            yield f"{code.co_filename}:{code.co_name}"
        awaited = getattr(awaited, "cr_await", None)
