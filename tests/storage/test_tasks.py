from __future__ import annotations

import asyncio

from storage.tasks import end


async def test_a_task_that_lost_its_cancel_is_ended_all_the_same() -> None:
    """As `asyncio.wait_for` of Python 3.11 loses it: a loop that goes on after it would be waited for for ever."""
    lost = 0

    async def loop() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 2:
                    raise

    async def broken() -> None:
        raise OSError("its connection is gone")

    tasks = [asyncio.create_task(loop()), asyncio.create_task(broken())]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end(tasks, again_s=0.01)
    assert lost == 2
    assert all(task.done() for task in tasks)


async def test_whoever_ends_others_can_be_cancelled() -> None:
    async def stubborn() -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    free = asyncio.Event()
    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    ending = asyncio.create_task(end([task]))
    await asyncio.sleep(0)
    ending.cancel()
    assert isinstance((await asyncio.gather(ending, return_exceptions=True))[0], asyncio.CancelledError)
    free.set()
    await task
