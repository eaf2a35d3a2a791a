"""Who is in the groups that reviews are given or escalated to, as this installation says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from storage.reviews import Review


class Groups:
    """A review that names reviewers is theirs. One that names none and is with a group is its members' alone; with a
    group that has no members here, it is anybody's who sees it.
    """

    def __init__(self, members: Mapping[str, Sequence[str]] | None = None) -> None:
        self._members = {name: frozenset(found) for name, found in (members or {}).items()}

    def of(self, reviewer: str | None) -> tuple[str, ...]:
        """The groups that this reviewer is in."""
        return tuple(name for name, members in self._members.items() if reviewer in members)

    def closed_to(self, reviewer: str) -> tuple[str, ...]:
        """The groups whose reviews are others'."""
        return tuple(name for name, members in self._members.items() if reviewer not in members)

    def reviewers(self, review: Review) -> frozenset[str]:
        """Whom the review is with now; nobody named is anybody."""
        if review.reviewers or review.group_name is None:
            return frozenset(review.reviewers)
        return self._members.get(review.group_name, frozenset())


ANYBODY = Groups()
