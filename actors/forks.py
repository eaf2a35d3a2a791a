"""What the kinds of this application let their forks be given, on one page. The others: nothing (see `as_it_was`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.agents import kind as workflows
from actors.agents.workflow_runs import check_fork
from actors.errors import RunConflictError
from actors.runs.forking import ForkRule
from storage import verdict_reviews
from storage.runs import Run


def never_of_a_verdict(run: Run, _: Mapping[str, Any]) -> None:
    """A verdict is decided once, and a second run that asks about it would have nothing to write."""
    raise RunConflictError(
        f"run {run.run_id} asks people about one verdict, and is not forked: have the contribution verified again to"
        " ask anew",
        subject=str(run.run_id),
    )  # fmt: skip


FORKS: Mapping[str, ForkRule] = {workflows.NAME: check_fork, verdict_reviews.KIND: never_of_a_verdict}
