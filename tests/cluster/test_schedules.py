"""`hyvve schedules`, over a real database, with and without a scheduler."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from actors.schedules.registry import PERIODIC
from actors.schedules.scheduler import SchedulerSetup
from cluster.cli import app
from storage.settings import StorageSettings
from tests.actors.schedules.periodic import running

NAME = "mark_expired_campaigns_inactive"


class Command:
    def __init__(self, database_url: str, data_dir: Path) -> None:
        self.database_url = database_url
        self._environ = {"SQLALCHEMY_DATABASE_URL": database_url, "HYVVE_DATA_DIR": str(data_dir), "COLUMNS": "200"}

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["schedules", *arguments], env=self._environ)


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Command:
    return Command(database_url, tmp_path)


def last_of(listed: Result) -> dict[str, Any]:
    """The newest firing of the schedule, of those that were listed as JSON."""
    (found,) = [each for each in json.loads(listed.output) if each["name"] == NAME]
    last: dict[str, Any] = found["last"]
    return last


async def test_a_schedule_is_run_now_and_its_outcome_told(command: Command, tmp_path: Path) -> None:
    storage = StorageSettings(database_url=command.database_url, redis_url="unix:///none", data_dir=tmp_path)
    async with running(SchedulerSetup(storage=storage)):
        done = await asyncio.to_thread(command, "run", NAME)
        listed = await asyncio.to_thread(command, "list", "--json")
    assert done.exit_code == 0, done.output
    assert "completed (campaigns: 0)" in done.output
    last = last_of(listed)
    assert (last["by_hand"], last["state"]) == (True, "completed")


def test_all_registered_work_is_listed_and_can_be_paused_and_resumed(command: Command) -> None:
    listed = command()
    assert listed.exit_code == 0, listed.output
    for each in PERIODIC:
        assert each.name in listed.output
    assert "every 30 min" in listed.output
    assert command("pause", NAME).output == f"{NAME} is paused.\n"
    assert re.search(rf"{NAME} +every 30 min +paused +never", command("list").output)
    assert "due next" in command("resume", NAME).output
    assert "paused" not in command("list").output


def test_without_a_scheduler_a_run_is_kept_and_said_to_wait(command: Command) -> None:
    waiting = command("run", NAME, "--wait", "0")
    assert waiting.exit_code == 0
    assert "pending" in waiting.output
    assert last_of(command("list", "--json"))["state"] == "pending"


@pytest.mark.parametrize("verb", ["run", "pause", "resume"])
def test_an_unknown_schedule_is_told_with_those_there_are(command: Command, verb: str) -> None:
    refused = command(verb, "nightly")
    assert refused.exit_code == 1
    assert "no schedule is called 'nightly'" in refused.stderr.lower()
    assert NAME in refused.stderr
