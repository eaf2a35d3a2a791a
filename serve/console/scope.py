"""Whose runs and reviews a visitor sees: those that the API would show the same principal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from serve.auth import require_owner
from serve.console.session import Visitor
from serve.deps import Services
from storage.reviews import Review, Sight
from storage.runs import Run


@dataclass(frozen=True, slots=True)
class Scope:
    """One owner's, the system's alone (`unowned`), or all."""

    owner: str | None
    unowned: bool

    @classmethod
    def of(cls, visitor: Visitor) -> Scope:
        return cls(visitor.wallet, visitor.wallet is None and not visitor.sees_all)

    @property
    def filters(self) -> dict[str, Any]:
        """As the queries of runs take them."""
        return {"owner": self.owner, "unowned": self.unowned}

    @property
    def key(self) -> str:
        """Tells one scope's pages from another's."""
        return f"owner={self.owner}" if self.owner else "unowned" if self.unowned else "all"


def sight(visitor: Visitor) -> Sight:
    """Which reviews this visitor sees: as the API, by wallet, and those that name this person."""
    return Sight(everything=visitor.sees_all, wallet=visitor.wallet, reviewer=visitor.name)


async def owned_run(given: Services, visitor: Visitor, run_id: Any) -> Run:
    """The run, which is the visitor's to see. Raises `NotFoundError`, or `ForbiddenError`."""
    run = await given.runs.get(run_id)
    require_owner(visitor.principal, run.owner, noun="run", subject=str(run_id))
    return run


async def seen_review(given: Services, visitor: Visitor, review_id: UUID) -> Review:
    """The review, which this visitor may see. Raises `NotFoundError`, or `ForbiddenError`."""
    review = await given.reviews.get(review_id)
    if not given.reviews.sees(sight(visitor), review):
        require_owner(visitor.principal, review.owner, noun="review", subject=str(review_id))
    return review
