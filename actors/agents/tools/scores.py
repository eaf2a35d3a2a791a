"""`get_text_verification_score` and `get_image_verification_score`: a file marked against its campaign's brief.

The score stays in the scratchpad under the file's reference and content, where `make_verification_decision` finds it: a
model that passes marks on may change them.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from actors.agents.conditions import SIGNAL_KEY
from actors.agents.deps import AthenaDeps, ToolContext
from actors.agents.state import Signal
from actors.agents.tools.submissions import SubmissionArguments, open_submission
from actors.agents.tools.tool import Tool, ToolResult
from actors.errors import UnreadableError, UnsupportedTypeError
from actors.verification.models import Brief, Content, ContentKind, Score
from storage.errors import BlobError, HyvveError

_TIMEOUT_S = 300.0


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


def score_key(reference: str) -> str:
    """Where in the scratchpad the score of this file stands."""
    return f"verification_score:{reference}"


async def _run(kind: ContentKind, arguments: SubmissionArguments, context: ToolContext) -> ToolResult:
    key = score_key(arguments.reference)
    try:
        submitted = await open_submission(arguments, context)
    except (UnreadableError, BlobError) as error:
        return _failed(key, error, Signal.UNREADABLE)
    content = submitted.content
    try:
        score = await _score(context.verification, kind, submitted.brief, content, submitted.contributor)
    except UnsupportedTypeError as error:
        # The other tool's business: nothing has failed yet.
        return ToolResult.failed(error)
    except HyvveError as error:
        return _failed(key, error, Signal.SCORING_FAILED, content_hash=content.content_hash)
    marked = asdict(score)
    found = {
        "total": score.total,
        "required": submitted.brief.accepted_from,
        "confidence": score.confidence,
        "marks": [
            {"criterion": mark.criterion.value, "value": mark.value, "reason": mark.reason} for mark in score.marks
        ],
        "reasoning": score.reasoning,
        "scorer": f"{score.scorer} {score.scorer_version}",
        "notes": list(content.notes),
    }
    return ToolResult(
        content=found,
        left_out=content.left_out,
        scratchpad={
            SIGNAL_KEY: Signal.SCORED.value,
            key: {"content_hash": content.content_hash, "score": {**marked, "marks": found["marks"]}},
        },
    )


def _failed(key: str, error: HyvveError, signal: Signal, *, content_hash: str | None = None) -> ToolResult:
    note: dict[str, Any] = {"content_hash": content_hash, "error": {"code": error.code, "message": error.message}}
    return ToolResult.failed(error, scratchpad={SIGNAL_KEY: signal.value, key: note})


TEXT = Tool(
    name="get_text_verification_score",
    description="Mark a text, table or PDF against the campaign's requirements, 0 to 100, with reasons.",
    args_model=SubmissionArguments,
    run=partial(_run, "text"),
    timeout_s=_TIMEOUT_S,
    fills=(SIGNAL_KEY,),
)
IMAGE = Tool(
    name="get_image_verification_score",
    description="Mark a picture against the campaign's requirements, 0 to 100, with reasons.",
    args_model=SubmissionArguments,
    run=partial(_run, "image"),
    timeout_s=_TIMEOUT_S,
    fills=(SIGNAL_KEY,),
)
