"""Who is in the groups that reviews are given or escalated to, as this installation says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from storage.reviews import Review


class Groups:
    """A review that names reviewers is theirs. One that names none and is with a group is its members' alone; with a
    group that has no members here, or none who has not decided yet, it is anybody's who sees it.
    """

    def __init__(self, members: Mapping[str, Sequence[str]] | None = None) -> None:
        self._members = {name: frozenset(found) for name, found in (members or {}).items()}

    def of(self, reviewer: str | None) -> tuple[str, ...]:
        """The groups that this reviewer is in."""
        return tuple(name for name, members in self._members.items() if reviewer in members)

    def closed_to(self, reviewer: str) -> tuple[str, ...]:
        """The groups whose reviews are others'."""
        return tuple(name for name, members in self._members.items() if reviewer not in members)

    def reviewers(self, review: Review, decided: Collection[str]) -> frozenset[str]:
        """Whom the review is with now, of which these have decided; nobody named is anybody."""
        if review.reviewers:
            return frozenset(review.reviewers)
        members = self._members_of(review)
        return frozenset() if members.issubset(decided) else members

    def is_exhausted(self, review: Review, decided: Collection[str]) -> bool:
        """Whether it is with a group here of which nobody is left who could decide."""
        return not review.reviewers and bool(members := self._members_of(review)) and members.issubset(decided)

    def _members_of(self, review: Review) -> frozenset[str]:
        return frozenset() if review.group_name is None else self._members.get(review.group_name, frozenset())


ANYBODY = Groups()
