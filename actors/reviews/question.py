"""What a step asks of people, and what it is told when they have decided.

A step asks with `ask`, which is an interrupt of its run:

    question = Question(
        review_id=review_id_of(run_id, "cost_approval", 1), checkpoint="cost_approval", title="…", subject={…}
    )
    outcome = ask(question)

The run waits, without a process, until the review is settled; then the step is run again from its start, and `ask`
returns. So a step asks before it acts. A question that is asked again in other words is another one: another round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from actors.agents.documents import size_of, unstorable
from actors.reviews.agreement import Agreement
from actors.reviews.deadlines import Deadline
from actors.reviews.decisions import MAX_PAYLOAD_BYTES, Answer, digest_of
from actors.reviews.policy import Ruling

KIND = "review"
# Of what stands in the run's row and its checkpoint too; larger content is stored as a file and shown by its id.
MAX_SHOWN_BYTES = 1024 * 1024

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]


class Part(BaseModel):
    """One thing that helps to decide: inline as `content`, or by where it is kept. It is shown inert.

    `content` by kind: text and csv are text, json is any JSON, diff is a list of `Change`s, marks is a mapping of
    criterion to mark or a list of {name, mark, reason}, choices is a list of {key, title, content}. `file_id` is a
    stored file, `blob_id` a blob of this installation, `url` an address that is shown as a link and never loaded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["text", "image", "pdf", "csv", "json", "diff", "marks", "choices"]
    title: Line
    content: Any = None
    file_id: UUID | None = None
    blob_id: str | None = None
    url: str | None = None
    media_type: str | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Part:
        given = [name for name in ("content", "file_id", "blob_id", "url") if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none of them"
            raise ValueError(f"a part has one of content, file_id, blob_id and url; {self.title!r} has {said}")
        return self


class Question(BaseModel):
    """`review_id` is the same whenever the step is run again (see `review_id_of`).

    `subject` is what is decided on; an edit brings it whole, and must satisfy `edit_schema`. `reviewers` are whom it is
    for (none: anybody), `group` whom it is with. `blind`: reviewers do not see each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    review_id: UUID
    checkpoint: Name
    title: Line
    subject: dict[str, Any]
    shown: tuple[Part, ...] = ()
    edit_schema: dict[str, Any] | None = None
    ruling: Ruling | None = None
    answers: tuple[Answer, ...] = Field(default=("approve", "edit", "reject", "respond"), min_length=1)
    reviewers: tuple[Name, ...] = Field(default=(), max_length=100)
    group: Name | None = None
    agreement: Agreement = Agreement()
    deadline: Deadline = Deadline()
    blind: bool = False
    campaign_id: str | None = None
    contribution_id: str | None = None

    @field_validator("subject")
    @classmethod
    def _fits(cls, value: dict[str, Any]) -> dict[str, Any]:
        if (size := size_of(value)) > MAX_PAYLOAD_BYTES:
            raise ValueError(
                f"has {size:,} bytes of at most {MAX_PAYLOAD_BYTES:,}: keep large content as a file and name it"
            )
        if reason := unstorable(value):
            raise ValueError(reason)
        return value

    @model_validator(mode="after")
    def _shows_little(self) -> Question:
        if (size := size_of([part.content for part in self.shown])) > MAX_SHOWN_BYTES:
            raise ValueError(
                f"what is shown has {size:,} bytes of at most {MAX_SHOWN_BYTES:,}: show large content by file_id"
            )
        return self

    @model_validator(mode="after")
    def _can_be_settled(self) -> Question:
        if (fault := self.agreement.fault_among(self.reviewers)) is not None:
            raise ValueError(f"the agreement {fault}")
        return self

    @property
    def saw(self) -> str:
        """The digest of the subject, which a decision names."""
        return digest_of(self.subject)

    def written(self) -> dict[str, Any]:
        """As it stands in the run's interrupt."""
        return {"kind": KIND, **self.model_dump(mode="json", by_alias=True)}


class Outcome(BaseModel):
    """What was decided. `payload` is the edited subject, of an edit alone; `fail`: its time ran out with `on_timeout`
    (or `finally`) fail. `by` are those whose decision stands, nobody where time decided.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    review_id: UUID
    answer: Literal["approve", "edit", "reject", "respond", "fail"]
    payload: dict[str, Any] | None = None
    reason: str = ""
    message: str = ""
    by: tuple[str, ...] = ()
    settled_by: Literal["agreement", "third", "timeout"]
    at: AwareDatetime

    def written(self) -> dict[str, Any]:
        """As it is handed to the run."""
        return {"kind": KIND, **self.model_dump(mode="json")}


def review_id_of(run_id: UUID | None, checkpoint: str, round_: int = 1) -> UUID:
    """The id of this question of this run: the same each time that the step is run."""
    return uuid5(NAMESPACE_URL, f"urn:hyvve:review:{run_id}/{checkpoint}/{round_}")


def ask(question: Question) -> Outcome:
    """Wait for people's decision. In a graph's node alone, and before it acts: it is run again from its start."""
    from langgraph.types import interrupt  # noqa: PLC0415 - of runs; who only reads questions waits for no LangGraph

    return outcome_of(interrupt(question.written()))


def is_outcome(answer: Any) -> bool:
    """Whether an interrupt was answered by a review."""
    return isinstance(answer, Mapping) and answer.get("kind") == KIND


def outcome_of(answer: Any) -> Outcome:
    """The outcome that an interrupt was answered with."""
    return Outcome.model_validate({name: value for name, value in dict(answer).items() if name != "kind"})


def question_of(value: Any) -> Question | None:
    """The question in an interrupt's value; `None` where it asks in another way."""
    if not isinstance(value, Mapping) or value.get("kind") != KIND:
        return None
    return Question.model_validate({name: part for name, part in value.items() if name != "kind"})
