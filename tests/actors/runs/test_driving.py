"""A run that was accepted is driven to its end, once."""

from __future__ import annotations

from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine


async def test_a_run_is_driven_from_its_row_to_its_result(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("counting", {"steps": 3}, {"trail": ["input"]}, owner="0xabc")
    ended = await engine.ended(run.run_id)
    assert ended.status == "completed", ended.error
    assert ended.output == {"trail": ["input", "0", "1", "2"]}
    assert (ended.steps, ended.attempt, ended.owner) == (3, 1, "0xabc")
    assert await engine.told(run.run_id) == [
        "run.created", "run.started",
        "step.started", "step.completed", "step.started", "step.completed", "step.started", "step.completed",
        "run.completed",
    ]  # fmt: skip
    assert engines.done == [f"{run.run_id}:step {number}@{number + 1}/count" for number in range(3)]
