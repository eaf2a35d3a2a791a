"""Whether a checkpoint waits for a person: by the run's policy, with the values that decided, for the record."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from actors.reviews.thresholds import Finding, Measures, Thresholds, findings


class Policy(StrEnum):
    AUTO = "AUTO"  # no person is asked
    REQUIRE_HUMAN = "REQUIRE_HUMAN"  # at every enabled checkpoint
    AUTO_WITH_THRESHOLDS = "AUTO_WITH_THRESHOLDS"  # where a measure of the run is past its threshold, or is not known


class Ruling(BaseModel):
    """Whether a person decides at `checkpoint`, and why. Goes into the run's record as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str
    policy: Policy
    needs_person: bool
    reason: str
    findings: tuple[Finding, ...] = ()


def rule(
    checkpoint: str,
    policy: Policy,
    *,
    thresholds: Thresholds | None = None,
    measures: Measures | None = None,
    own: Sequence[Finding] = (),
    stops: str | None = None,
) -> Ruling:
    """Whether a person is asked at `checkpoint`, one that is on. What could not be measured is never taken for good.

    `own` are findings of the checkpoint itself; `stops` is a reason to ask whatever the thresholds say. Where nobody is
    asked anyway (`AUTO`) they stop nothing and stand in the record.
    """
    found = (*findings(checkpoint, thresholds or Thresholds(), measures or Measures()), *own)
    if policy is Policy.AUTO:
        reason, needs_person = "the policy asks nobody", False
    elif policy is Policy.REQUIRE_HUMAN:
        reason, needs_person = "the policy asks a person always", True
    else:
        failed = [*([stops] if stops else []), *(each.reason for each in found if not each.passed)]
        reason, needs_person = "; ".join(failed) or "every threshold is kept", bool(failed)
    return Ruling(checkpoint=checkpoint, policy=policy, needs_person=needs_person, reason=reason[:2000], findings=found)
