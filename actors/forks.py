"""What the kinds of this application let their forks be given, on one page. The others: nothing (see `as_it_was`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.agents.workflow_runs import check_fork
from actors.errors import RunConflictError
from actors.kind_names import TEAM_COMPARISON, WORKFLOW
from actors.reviews.teams import blindness
from actors.runs.forking import ForkRule, as_it_was
from storage import verdict_reviews
from storage.runs import Run


def never_of_a_verdict(run: Run, _: Mapping[str, Any]) -> None:
    """A verdict is decided once, and a second run that asks about it would have nothing to write."""
    raise RunConflictError(
        f"run {run.run_id} asks people about one verdict, and is not forked: have the contribution verified again to"
        " ask anew",
        subject=str(run.run_id),
    )  # fmt: skip


def not_while_blind(run: Run, given: Mapping[str, Any]) -> None:
    """A fork of a comparison, picked by whoever forked it, would tell what the comparison still withholds."""
    if blindness.withheld(run) is not None:
        raise RunConflictError(
            f"run {run.run_id} is a blind comparison and still open: it can be forked once it is decided",
            subject=str(run.run_id), state=run.status,
        )  # fmt: skip
    as_it_was(run, given)


FORKS: Mapping[str, ForkRule] = {
    WORKFLOW: check_fork,
    verdict_reviews.KIND: never_of_a_verdict,
    TEAM_COMPARISON: not_while_blind,
}
