"""What became of a submission, as the row that says it and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from uuid import UUID

from actors.errors import UnexpectedItemError
from actors.settings import VerificationSettings
from actors.verification.decide import decide
from actors.verification.models import Brief, Content, Decision, Duplicate, Score, Verdict
from storage.contributions import Source
from storage.errors import HyvveError
from storage.fingerprints import FingerprintRow
from storage.verifications import ResultRow

log = logging.getLogger(__name__)

# Stands where a score would be; `decide` rejects a copy whatever stands there.
COPY = UnexpectedItemError("a copy of an earlier contribution needs no score")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A contribution to verify. `contribution_id` stands in its row; `None` for a loose file, which has none.

    `note` is a sentence that its row's reasoning begins with.
    """

    contribution_id: UUID | None
    seq: int
    contributor: str
    data_url: str
    blob_id: str | None = None
    file_type: str | None = None
    note: str = ""

    @classmethod
    def of(cls, source: Source) -> Submission:
        return cls(
            contribution_id=source.contribution_id,
            seq=source.seq,
            contributor=source.contributor,
            data_url=source.data_url,
            blob_id=source.blob_id,
            file_type=source.file_type,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission as read and fingerprinted, or the error that became of it. The fingerprint holds the place that it
    was registered in.
    """

    submission: Submission
    content: Content | None
    fingerprint: FingerprintRow | None
    error: HyvveError | None
    seconds: float

    @property
    def moved(self) -> bool:
        """Whether its content has changed since it was read first, so that it comes after what was submitted later."""
        return self.fingerprint is not None and self.fingerprint.seq != self.submission.seq


def judged_row(
    settings: VerificationSettings,
    campaign_id: UUID,
    brief: Brief,
    item: Prepared,
    outcome: Score | HyvveError,
    *,
    duplicate: Duplicate | None,
    seconds: float,
) -> ResultRow:
    """Decide, and say it in a row. Total: it raises nothing."""
    try:
        decision = decide(
            brief,
            outcome,
            content_hash=item.content.content_hash if item.content else None,
            duplicate=duplicate,
            settings=settings,
        )
    except Exception as error:
        log.exception("no decision on contribution %s", item.submission.contribution_id)
        return error_row(campaign_id, item.submission, unexpected(f"{type(error).__name__}: {error}"))
    return result_row(
        campaign_id, item.submission, item.content, outcome, decision, duplicate=duplicate, seconds=seconds
    )


def result_row(
    campaign_id: UUID,
    submission: Submission,
    content: Content | None,
    outcome: Score | HyvveError,
    decision: Decision,
    *,
    duplicate: Duplicate | None,
    seconds: float,
) -> ResultRow:
    """The row that says what became of one submission, and why."""
    row = ResultRow(
        campaign_id=campaign_id,
        contribution_id=submission.contribution_id,
        contributor=submission.contributor,
        verdict=decision.verdict.value,
        reasoning=_reasoning(submission, decision.reasoning),
        score=decision.score,
        raw_score=decision.raw_score,
        adjustment=decision.adjustment,
        confidence=decision.confidence,
        error_code=decision.error_code,
        duration_ms=round(seconds * 1000, 3),
    )
    if content is not None:
        row.content_hash, row.media_type = content.content_hash, content.media_type
        row.left_out = [storable(each) for each in content.left_out]
    if isinstance(outcome, Score):
        row.scorer, row.scorer_version, row.usage = outcome.scorer, outcome.scorer_version, dict(outcome.usage)
        row.marks = [
            {"criterion": mark.criterion.value, "value": mark.value, "reason": storable(mark.reason)}
            for mark in outcome.marks
        ]
    if duplicate is not None:
        row.duplicate_of, row.duplicate_kind = duplicate.contribution_id, duplicate.kind
        row.similarity = duplicate.similarity
    return row


def error_row(campaign_id: UUID, submission: Submission, error: HyvveError) -> ResultRow:
    """The ERROR row of a submission that nothing could even prepare."""
    return ResultRow(
        campaign_id=campaign_id,
        contribution_id=submission.contribution_id,
        contributor=submission.contributor,
        verdict=Verdict.ERROR.value,
        reasoning=_reasoning(submission, error.message),
        error_code=error.code,
    )


def _reasoning(submission: Submission, words: str) -> str:
    return storable(f"{submission.note} {words}" if submission.note else words)


def storable(words: str) -> str:
    """The words as PostgreSQL takes them: no NUL, no lone surrogates."""
    if words.isascii() and "\x00" not in words:
        return words
    return words.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def unexpected(what: str) -> UnexpectedItemError:
    return UnexpectedItemError(f"an unforeseen error: {what[:500]}")
