from __future__ import annotations

from actors.agents.deps import AthenaDeps
from actors.verification.models import Brief, Content, Decision, Duplicate, Score
from storage.errors import HyvveError


async def make_verification_decision(
    deps: AthenaDeps,
    *,
    brief: Brief,
    outcome: Score | HyvveError,
    content: Content | None,
    duplicate: Duplicate | None,
) -> Decision:
    """The verdict on a score, or on the error that stands in its place."""
    content_hash = content.content_hash if content is not None else None
    return deps.decide(brief, outcome, content_hash=content_hash, duplicate=duplicate, settings=deps.settings)
