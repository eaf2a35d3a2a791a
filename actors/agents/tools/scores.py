from __future__ import annotations

from actors.agents.deps import AthenaDeps
from actors.errors import UnsupportedTypeError
from actors.verification.models import Brief, Content, ContentKind, Score
from storage.errors import HyvveError


async def get_text_verification_score(deps: AthenaDeps, *, brief: Brief, content: Content, contributor: str) -> Score:
    """The score of a text, a table or a PDF's text. Raises the scorer's error, or for an image."""
    return await _score(deps, "text", brief, content, contributor)


async def get_image_verification_score(deps: AthenaDeps, *, brief: Brief, content: Content, contributor: str) -> Score:
    """The score of an image. Raises the scorer's error, or for a text."""
    return await _score(deps, "image", brief, content, contributor)


async def _score(deps: AthenaDeps, kind: ContentKind, brief: Brief, content: Content, contributor: str) -> Score:
    if content.kind != kind:
        raise UnsupportedTypeError(f"this tool scores {kind} content; it was given {content.kind}")
    outcome = await deps.score(brief, content, contributor)
    if isinstance(outcome, HyvveError):
        raise outcome
    return outcome
