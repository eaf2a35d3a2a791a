"""Limits hold over all workers, are shared fairly, survive a dead worker, and cost next to nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import redis

from actors.settings import ScorerSettings
from actors.verification.scorers.ledger import Grant, Ledger, Limits, LocalLedger, RedisLedger
from actors.verification.scorers.openai_compatible import OpenAICompatibleScorer
from actors.verification.scorers.pacing import Pacer
from actors.verification.scorers.registry import open_pacer, provider_of
from storage.cache import Cache
from tests.actors.verification.scoring import BRIEF, QUICK, scored, text
from tests.stubs.openai import OpenAIStub, judgement


class Provider:
    """Counts the calls that are under way and when each began."""

    def __init__(self, call_s: float = 0.02) -> None:
        self.call_s = call_s
        self.busy = self.peak = 0
        self.began: list[float] = []

    async def call(self, pacer: Pacer) -> None:
        async with pacer.slot():
            self.began.append(time.monotonic())
            self.busy += 1
            self.peak = max(self.peak, self.busy)
            await asyncio.sleep(self.call_s)
            self.busy -= 1


def worker(limits: Limits, redis_url: str, lease_s: float = 15.0) -> Pacer:
    """A worker of its own: its own connection and its own lease, as each process has."""
    return Pacer(limits, RedisLedger(limits, Cache(redis_url), "p", lease_s=lease_s))


def slots_taken(redis_url: str) -> int:
    with redis.Redis.from_url(redis_url) as client:
        rows = [row for key in client.scan_iter("hyvve:pace:*:slots") for row in client.hvals(key)]
    return sum(int(row.split(b":")[1]) for row in rows)


async def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.01)


async def test_alone_the_concurrency_is_used_and_never_exceeded() -> None:
    limits = Limits(5)
    pacer, provider = Pacer(limits, LocalLedger(limits)), Provider()
    await asyncio.gather(*(provider.call(pacer) for _ in range(60)))
    await pacer.close()
    assert provider.peak == 5


async def test_workers_together_never_exceed_the_concurrency_and_all_get_on(redis_url: str) -> None:
    limits, provider = Limits(6), Provider(0.03)
    workers = [worker(limits, redis_url) for _ in range(4)]
    done = [0] * 4

    async def work(at: int) -> None:
        for _ in range(3):
            await asyncio.gather(*(provider.call(workers[at]) for _ in range(8)))
        done[at] = len(provider.began)

    await asyncio.wait_for(asyncio.gather(*(work(at) for at in range(4))), 60)
    await asyncio.gather(*(pacer.close() for pacer in workers))
    assert len(provider.began) == 96
    assert provider.peak == 6  # used in full, and no more
    assert slots_taken(redis_url) == 0


async def test_a_slot_on_its_way_back_is_not_used() -> None:
    """Two workers with the same slot would be one call more than the provider allows."""
    provider, later, shrunk = Provider(0.2), asyncio.TaskGroup(), False

    class SlowLedger(LocalLedger):
        async def settle(self, *, want: int, busy: int, turns: int) -> Grant:
            nonlocal shrunk
            if provider.peak == 8 and 0 < want < 8 and not shrunk:
                shrunk = True
                for _ in range(8):
                    later.create_task(provider.call(pacer))
                await asyncio.sleep(0.02)
                assert provider.busy <= max(want, busy)
            return Grant(want, turns, others=1)

        async def close(self) -> None: ...

    pacer = Pacer(Limits(8), SlowLedger(Limits(8)))
    async with later:
        await asyncio.gather(*(provider.call(pacer) for _ in range(8)), provider.call(pacer))
    await pacer.close()
    assert shrunk
    assert len(provider.began) == 17


async def test_a_newcomer_gets_a_share_although_another_holds_every_slot(redis_url: str) -> None:
    """A person uploads one file while a batch runs: the upload must not wait for the batch's end."""
    limits, provider = Limits(8), Provider(0.05)
    batch, online = worker(limits, redis_url), worker(limits, redis_url)
    running = asyncio.gather(*(provider.call(batch) for _ in range(800)))
    await until(lambda: provider.busy == 8)
    await provider.call(online)
    assert len(provider.began) < 400, "half of the batch went first"
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.gather(batch.close(), online.close())


async def test_slots_of_a_killed_worker_come_back(redis_url: str) -> None:
    script = f"""
import asyncio
from actors.verification.scorers.ledger import Limits, RedisLedger
from actors.verification.scorers.pacing import Pacer
from storage.cache import Cache

async def hold():
    limits = Limits(3)
    pacer = Pacer(limits, RedisLedger(limits, Cache({redis_url!r}), "p", lease_s=2.0))
    async def call():
        async with pacer.slot():
            await asyncio.sleep(60)
    await asyncio.gather(*(call() for _ in range(3)))
asyncio.run(hold())
"""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=Path.cwd())
    try:
        await until(lambda: slots_taken(redis_url) == 3)
        await asyncio.sleep(2.5)  # longer than the lease: it renews
        limits, provider = Limits(3), Provider()
        pacer = worker(limits, redis_url)
        call = asyncio.create_task(provider.call(pacer))
        await asyncio.sleep(0.3)
        assert not call.done()  # all taken
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    await asyncio.wait_for(call, 30)
    await pacer.close()


async def test_an_idle_worker_gives_its_slots_back_by_itself(redis_url: str) -> None:
    limits, provider = Limits(4), Provider()
    pacer = worker(limits, redis_url)
    await asyncio.gather(*(provider.call(pacer) for _ in range(4)))
    assert slots_taken(redis_url) == 4
    await until(lambda: slots_taken(redis_url) == 0)
    await provider.call(pacer)  # and takes them again
    await pacer.close()


def local_pair(limits: Limits, _: str) -> list[Pacer]:
    ledger: Ledger = LocalLedger(limits)
    return [Pacer(limits, ledger)]


def redis_pair(limits: Limits, redis_url: str) -> list[Pacer]:
    return [worker(limits, redis_url) for _ in range(2)]


@pytest.mark.timed
@pytest.mark.parametrize("pacers", [local_pair, redis_pair])
async def test_the_rate_holds_over_all_workers(redis_url: str, pacers: Callable[[Limits, str], list[Pacer]]) -> None:
    limits, provider = Limits(50, per_minute=3000), Provider(0.01)  # 50 a second
    workers = pacers(limits, redis_url)
    # The second wave comes after a pause, in which turns that were reserved and not taken have passed.
    for count, pause in ((31, 0.7), (29, 0.0)):
        provider.began.clear()
        calls: list[Awaitable[None]] = [provider.call(workers[n % len(workers)]) for n in range(count)]
        began = time.monotonic()
        await asyncio.gather(*calls)
        took = time.monotonic() - began
        # However late a busy machine wakes us: at no time have more begun than were due by then.
        ahead = [began + number / 50 - start for number, start in enumerate(sorted(provider.began))]
        assert max(ahead) < 0.02
        assert took < 1 + 3 * count / 50
        await asyncio.sleep(pause)
    await asyncio.gather(*(pacer.close() for pacer in workers))


@pytest.mark.timed
async def test_a_slow_rate_lets_one_call_of_an_idle_provider_through_at_once(redis_url: str) -> None:
    limits, provider = Limits(10, per_minute=30), Provider(0.0)
    pacer = worker(limits, redis_url)
    began = time.monotonic()
    await provider.call(pacer)
    assert time.monotonic() - began < 1.9
    await provider.call(pacer)
    assert 1.9 < time.monotonic() - began < 10.0
    await pacer.close()


async def test_a_pause_that_one_worker_is_told_of_holds_all_back(redis_url: str) -> None:
    limits, provider = Limits(4), Provider()
    told, other = worker(limits, redis_url), worker(limits, redis_url)
    began = time.monotonic()
    await told.slow_down(0.6)
    await provider.call(other)
    assert 0.55 < time.monotonic() - began < 10.0
    await asyncio.gather(told.close(), other.close())


async def test_a_refusal_halves_what_a_worker_does_at_once_and_success_restores_it() -> None:
    limits = Limits(16)
    pacer, provider = Pacer(limits, LocalLedger(limits)), Provider()

    async def refused() -> None:
        async with pacer.slot():
            await asyncio.sleep(0.01)
            await pacer.slow_down(0.0)

    await asyncio.gather(*(refused() for _ in range(16)))
    await asyncio.gather(*(provider.call(pacer) for _ in range(24)))
    assert provider.peak == 8
    for _ in range(200):
        pacer.succeeded()
    await asyncio.gather(*(provider.call(pacer) for _ in range(32)))
    assert provider.peak == 16
    await pacer.close()


async def test_without_redis_calls_go_on_within_the_limits_of_this_worker_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits, provider = Limits(3), Provider()
    pacer = worker(limits, "redis://127.0.0.1:1/0")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await asyncio.gather(*(provider.call(pacer) for _ in range(9)))
        await pacer.close()
    assert provider.peak == 3
    assert len([record for record in caplog.records if "Redis" in record.getMessage()]) == 1


async def test_a_ledger_that_breaks_fails_the_calls_that_wait_instead_of_holding_them_for_ever() -> None:
    class Broken(LocalLedger):
        async def settle(self, *, want: int, busy: int, turns: int) -> Grant:
            raise RuntimeError(f"bug at {want}, {busy} busy, {turns} turns")

    limits, provider = Limits(2), Provider()
    pacer = Pacer(limits, Broken(limits))
    for _ in range(2):  # and is asked again by the next
        with pytest.raises(RuntimeError, match="bug at 1"):
            await asyncio.wait_for(provider.call(pacer), 30)
    await pacer.close()


@pytest.mark.timed
async def test_the_shared_limits_cost_little(redis_url: str) -> None:
    limits, provider = Limits(64), Provider(0.0)
    pacer = worker(limits, redis_url)
    began = time.process_time()
    for _ in range(20):
        await asyncio.gather(*(provider.call(pacer) for _ in range(100)))
    each_ms = (time.process_time() - began) / 2000 * 1000
    await pacer.close()
    assert each_ms < 0.2, f"{each_ms:.3f} ms of CPU a call"


async def test_scorers_of_two_workers_share_one_providers_limit(redis_url: str) -> None:
    async with OpenAIStub(lambda _: judgement(delay_s=0.03)) as stub:
        settings = ScorerSettings(kind="openai", base_url=stub.base_url, model="m", concurrency=5)
        scorers = [
            OpenAICompatibleScorer(settings, pacer=open_pacer(settings, redis_url=redis_url), retry=QUICK)
            for _ in range(2)
        ]
        contents = [text(str(n)) for n in range(30)]
        outcomes = await asyncio.gather(*(scorer.score_many(BRIEF, contents) for scorer in scorers))
        await asyncio.gather(*(scorer.close() for scorer in scorers))
    assert {scored(outcome).total for column in outcomes for outcome in column} == {80.0}
    assert stub.peak == 5


async def test_a_refused_key_holds_nobody_elses_calls_back() -> None:
    """Limits are per key and model, and the key itself is nowhere in their name."""
    settings = ScorerSettings.model_validate({"kind": "openai", "api_key": "sk-secret", "model": "m"})
    names = {
        provider_of(settings.model_copy(update=change))
        for change in ({}, {"model": "n"}, {"base_url": "http://x"}, {"api_key": None}, {"concurrency": 9})
    }
    assert len(names) == 4
    assert not any("sk-secret" in name for name in names)
