"""`make_verification_decision`: the verdict on a file that was scored before, or that could not be."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from actors.agents.conditions import SIGNAL_KEY
from actors.agents.deps import AthenaDeps, ToolContext
from actors.agents.state import Signal
from actors.agents.tools.scores import score_key
from actors.agents.tools.submissions import SubmissionArguments, duplicate_of, open_submission
from actors.agents.tools.tool import Tool, ToolResult
from actors.errors import ScorerError, ToolError, UnreadableError
from actors.verification.models import Brief, Content, Decision, Duplicate, Score
from actors.verification.rows import COPY
from storage.errors import BlobError, HyvveError

_SCORE = TypeAdapter(Score)
# Of a decision, in the scratchpad.
_TOLD = ("verdict", "score", "reasoning")


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


async def _run(arguments: SubmissionArguments, context: ToolContext) -> ToolResult:
    try:
        submitted = await open_submission(arguments, context)
    except (UnreadableError, BlobError) as error:
        return _decided({"verdict": "ERROR", "score": None, "reasoning": error.message, "error_code": error.code})
    duplicate = await duplicate_of(context, submitted.opened, submitted.content)
    copied = duplicate is not None and duplicate.kind == "exact"
    decision = await make_verification_decision(
        context.verification,
        brief=submitted.brief,
        outcome=COPY if copied else _outcome(arguments.reference, submitted.content, context),
        content=submitted.content,
        duplicate=duplicate,
    )
    return _decided(
        {
            "verdict": decision.verdict.value,
            "score": decision.score,
            "confidence": decision.confidence,
            "reasoning": decision.reasoning,
            "error_code": decision.error_code,
            "required": submitted.brief.accepted_from,
            "repeats": str(duplicate.contribution_id) if duplicate is not None else None,
        }
    )


def _decided(content: dict[str, Any]) -> ToolResult:
    """The decision, also for edges to route on, and for the tool that records it."""
    told = {name: content[name] for name in _TOLD}
    return ToolResult(content=content, scratchpad={SIGNAL_KEY: Signal.DECIDED.value, **told})


def _outcome(reference: str, content: Content, context: ToolContext) -> Score | HyvveError:
    """What scoring gave. Raises `ToolError` where this very content was not scored."""
    kept: Any = context.scratchpad.get(score_key(reference))
    tool = "get_text_verification_score" if content.kind == "text" else "get_image_verification_score"
    if not isinstance(kept, dict) or kept.get("content_hash") not in {content.content_hash, None}:
        raise ToolError(f"this content has no score yet: call {tool} with the same reference first")
    if isinstance(fault := kept.get("error"), dict):
        return ScorerError(str(fault.get("message"))[:500])
    try:
        score = _SCORE.validate_python(kept.get("score"))
    except ValidationError:
        raise ToolError(f"the score in the scratchpad is none: call {tool} again") from None
    if not (0 <= score.total <= 100 and 0 <= score.confidence <= 1):
        raise ToolError(f"the score in the scratchpad is out of range: call {tool} again")
    return score


TOOL = Tool(
    name="make_verification_decision",
    description="Decide on a file that was scored before: ACCEPT, REJECT, REVIEW by a person, or ERROR.",
    args_model=SubmissionArguments,
    run=_run,
    fills=(SIGNAL_KEY, *_TOLD),
)
