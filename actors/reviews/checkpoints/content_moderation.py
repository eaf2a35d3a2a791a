"""A person looks at a response that moderation marks: the provider's own where it has one, our words besides."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from actors.errors import ProviderError
from actors.reviews.checkpoints.base import Checkpoint, Measured, Moment
from actors.reviews.checkpoints.built_in import joined
from actors.reviews.safety import Scan, WordDetector, from_provider, is_flag
from actors.reviews.thresholds import Finding


class Options(BaseModel):
    """`flags`: the categories or kinds that stop a response; `provider:NAME` is one of the provider's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flags: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ("moderation", "nsfw")

    @field_validator("flags")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if not is_flag(name)]:
            raise ValueError(f"there is no flag {unknown[0]!r}")
        return value


class ContentModeration(Checkpoint):
    name = "content_moderation"
    title = "May this answer be passed on?"
    stands = "after_call"
    options_model = Options

    async def measure(self, moment: Moment) -> Measured:
        assert moment.response is not None
        text = moment.response.text
        found = await WordDetector().scan(text or moment.response.output)
        found = joined(found, await _moderated(moment, text))
        stopping = [flag for flag in found.flags if {flag.category, flag.kind} & set(self.options.flags)]
        kinds = sorted({f"{flag.category}/{flag.kind}" for flag in stopping})
        reason = f"marked: {', '.join(kinds)}" if kinds else "no mark that stops"
        if not found.complete:
            reason += "; not all of it could be looked at"
        finding = Finding(
            threshold="flags",
            limit=list(self.options.flags),
            value=len(stopping),
            passed=not stopping and found.complete,
            reason=reason,
            details={"detector": found.detector, "flags": [flag.model_dump() for flag in stopping[:50]]},
        )
        return Measured(findings=(finding,))


async def _moderated(moment: Moment, text: str) -> Scan:
    """The provider's marks; where it could not be asked, a scan that is not complete."""
    assert moment.response is not None
    name = f"{moment.provider.name}'s moderation"
    given = moment.response.flags
    if not text:
        return from_provider(name, given)
    try:
        asked = await moment.provider.moderate(text)
    except ProviderError:
        return from_provider(name, given).model_copy(update={"complete": False})
    return from_provider(name, (*given, *(asked or ())))
