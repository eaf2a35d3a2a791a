"""What a reviewer decides, and whether it may be done: the right review, the state that was seen, by who holds it.

On the wire a decision is one of

    {"answer": "approve", "review_id": …, "saw": …}
    {"answer": "edit",    "review_id": …, "saw": …, "payload": {…}}
    {"answer": "reject",  "review_id": …, "saw": …, "reason": "…"}
    {"answer": "respond", "review_id": …, "saw": …, "message": "…"}

where `saw` is the digest of the subject that the reviewer was shown (`digest_of`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from actors.agents.documents import MAX_DEPTH, depth_of, size_of, unstorable
from actors.errors import ReviewConflictError, ReviewEditError
from actors.reviews.changes import Change, changes
from actors.reviews.forms.validating import UnusableSchemaError, faults

MAX_PAYLOAD_BYTES = 1024 * 1024
Answer = Literal["approve", "edit", "reject", "respond"]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000)]


class _Decision(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    review_id: UUID
    saw: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Approve(_Decision):
    answer: Literal["approve"] = "approve"


class Edit(_Decision):
    """`payload` is the whole subject as it shall be."""

    answer: Literal["edit"] = "edit"
    payload: dict[str, Any]


class Reject(_Decision):
    answer: Literal["reject"] = "reject"
    reason: Reason


class Respond(_Decision):
    """`message` goes to the agent, which tries again."""

    answer: Literal["respond"] = "respond"
    message: Reason


Decision = Annotated[Approve | Edit | Reject | Respond, Field(discriminator="answer")]
DECISION: TypeAdapter[Decision] = TypeAdapter(Decision)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewState:
    """A review as it is now. `holder` has claimed it, until `lease_until`; `reviewers` are those it is for (none: all).

    `state` is open, or what became of it; `saw` is the digest of its present subject.
    """

    review_id: UUID
    state: str
    saw: str
    answers: tuple[Answer, ...] = ("approve", "edit", "reject", "respond")
    reviewers: frozenset[str] = frozenset()
    holder: str | None = None
    blind: bool = False
    lease_until: datetime | None = None
    due_at: datetime | None = None
    decided_by: frozenset[str] = frozenset()


def digest_of(subject: Any) -> str:
    """Sha-256 over the canonical JSON of what a reviewer is shown, hex: equal subjects, equal digests."""
    body = orjson.dumps(subject, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(body).hexdigest()


def admit(decision: Approve | Edit | Reject | Respond, review: ReviewState, *, by: str, at: datetime) -> None:
    """Raises `ReviewConflictError` where the decision is foreign, late, repeated or of something no longer there.

    `details["state"]` is the review's present state and `details["conflict"]` which of these it is.
    """
    refused = closed_to(review, by=by, at=at)
    if decision.review_id != review.review_id:
        refused = "foreign", f"the decision names review {decision.review_id}, and this is {review.review_id}"
    elif refused is None and decision.saw != review.saw:
        refused = "changed", f"what review {review.review_id} is about has changed since it was shown; look again"
    elif refused is None and decision.answer not in review.answers:
        refused = "answer", f"{decision.answer} is not taken here; answer one of {', '.join(review.answers)}"
    if refused is not None:
        conflict, message = refused
        raise ReviewConflictError(message, subject=str(review.review_id), state=review.state, conflict=conflict)


def closed_to(review: ReviewState, *, by: str, at: datetime) -> tuple[str, str] | None:
    """Which conflict keeps `by` from deciding on the review, or from claiming it, with the sentence that says so."""
    if by in review.decided_by:
        return "repeated", f"{by} has decided on review {review.review_id} already"
    if review.state != "open":
        return "late", f"review {review.review_id} is {review.state}: it waits for no decision"
    if review.due_at is not None and at >= review.due_at:
        return "late", f"review {review.review_id} was to be decided before {review.due_at.isoformat()}"
    if review.reviewers and by not in review.reviewers:
        return "foreign", f"review {review.review_id} is for others than {by}"
    if review.holder not in {None, by} and (review.lease_until is None or at < review.lease_until):
        holder = "somebody else" if review.blind else review.holder
        return "held", f"review {review.review_id} is held by {holder}; ask for its release, or wait"
    return None


def edited(
    edit: Edit, subject: Any, schema: dict[str, Any] | None, *, fields: Collection[str] = ()
) -> tuple[Change, ...]:
    """The differences that the edit makes, validated anew. None where it changes nothing: that is an approval.

    `schema` is a `FormSchema.document`, or any schema of an object. Where it says which top fields there are, no others
    are taken, except those in `fields`. Raises `ReviewEditError` with `details["errors"]`, each with its `path` and
    `message`.
    """
    found: list[dict[str, str]] = []
    if depth_of(edit.payload) > MAX_DEPTH:
        found.append({"path": "$", "message": f"is nested deeper than {MAX_DEPTH} levels"})
    elif (reason := unstorable(edit.payload)) is not None:
        found.append({"path": "$", "message": reason})
    elif size_of(edit.payload) > MAX_PAYLOAD_BYTES:
        found.append({"path": "$", "message": f"is larger than {MAX_PAYLOAD_BYTES:,} bytes"})
    elif schema is not None:
        try:
            found += [fault.model_dump() for fault in faults(edit.payload, _closed(schema, fields))]
        except UnusableSchemaError as error:
            found.append(
                {"path": "$", "message": f"cannot be held against the model's schema, which is no good: {error}"}
            )
    if found:
        said = "; ".join(f"{each['path']} {each['message']}" for each in found[:5])
        raise ReviewEditError(f"the edit is not what the step takes: {said}", subject=str(edit.review_id), errors=found)
    return changes(subject, edit.payload)


def _closed(schema: dict[str, Any], fields: Collection[str]) -> dict[str, Any]:
    known = schema.get("properties")
    if (
        not isinstance(known, dict)
        or "additionalProperties" in schema
        or {"allOf", "anyOf", "oneOf", "$ref"} & set(schema)
    ):
        return schema
    return {**schema, "properties": {**dict.fromkeys(fields, True), **known}, "additionalProperties": False}
