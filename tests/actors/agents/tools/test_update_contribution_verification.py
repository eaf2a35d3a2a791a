"""A verdict that an agent records stands where verification's own stand, once however often the call is repeated."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from actors.agents.tools.tool import ToolResult
from storage.activities import Activity
from storage.contributions import Contribution
from storage.verifications import VerificationResult
from tests.actors.agents.tools.bench import CREATOR, Bench


async def update(bench: Bench, contribution: UUID, *, key: str | None = None, **changes: Any) -> ToolResult:
    asked = {"contribution_id": str(contribution), "verdict": "ACCEPT", "score": 91.5, "reasoning": "as asked"}
    return await bench.call("UpdateContributionVerificationTool", CREATOR, key=key, **{**asked, **changes})


async def rows(bench: Bench, table: Any) -> list[Any]:
    async with bench.workplace.database.read() as session:
        return list((await session.execute(select(table))).scalars())


async def test_the_verdict_stands_on_the_contribution_in_its_history_and_in_the_activities(bench: Bench) -> None:
    await bench.campaign()
    contribution = await bench.contribute(b"some text")
    result = await update(bench, contribution)
    assert result.content["was"] == {"verdict": None, "score": None}
    [stored] = await rows(bench, Contribution)
    assert (stored.verdict, stored.verified_score, stored.is_verified) == ("ACCEPT", 91.5, True)
    [row] = await rows(bench, VerificationResult)
    assert (row.contribution_id, row.scorer, row.scorer_version, row.reasoning) == (
        contribution, "agent", CREATOR, "as asked",
    )  # fmt: skip
    [activity] = await rows(bench, Activity)
    assert activity.detail == {"contribution_id": str(contribution), "verdict": "ACCEPT", "score": 91.5}


async def test_a_repeated_call_changes_nothing_and_answers_the_same(bench: Bench) -> None:
    await bench.campaign()
    contribution = await bench.contribute(b"some text")
    answers = await asyncio.gather(*(update(bench, contribution, key="run-1:call-1") for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].error is None
    assert len(await rows(bench, VerificationResult)) == 1
    assert len(await rows(bench, Activity)) == 1
    other = await update(bench, contribution, key="run-1:call-2", verdict="REJECT", score=10)
    assert other.content["was"] == {"verdict": "ACCEPT", "score": 91.5}
    assert len(await rows(bench, VerificationResult)) == 2


async def test_a_key_that_was_used_for_another_verdict_is_refused(bench: Bench) -> None:
    await bench.campaign()
    contribution = await bench.contribute(b"some text")
    await update(bench, contribution, key="k")
    assert (await update(bench, contribution, key="k", verdict="REJECT")).error == "conflict"
    [stored] = await rows(bench, Contribution)
    assert stored.verdict == "ACCEPT"


async def test_bad_verdicts_are_refused_and_change_nothing(bench: Bench) -> None:
    await bench.campaign()
    contribution = await bench.contribute(b"some text")
    for changes in (
        {"verdict": "ERROR"}, {"score": 101}, {"score": -1}, {"score": float("nan")}, {"reasoning": ""},
        {"contribution_id": "1"},
    ):  # fmt: skip
        assert (await update(bench, contribution, **changes)).error == "tool_arguments", changes
    assert (await update(bench, uuid4())).error == "not_found"
    assert await rows(bench, VerificationResult) == []


async def test_reasons_with_nul_bytes_are_kept_readable(bench: Bench) -> None:
    await bench.campaign()
    contribution = await bench.contribute(b"some text")
    assert (await update(bench, contribution, reasoning="as\x00 asked")).error is None
    [row] = await rows(bench, VerificationResult)
    assert "\x00" not in row.reasoning
