"""The agents' graph judges one contribution exactly as the fan-out does, and any content ends in a decision."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from PIL import Image

from actors.agents import athena
from actors.agents.deps import AthenaDeps
from actors.agents.state import Signal
from actors.agents.tools.read_file_content import read_file_content
from actors.agents.tools.scores import get_image_verification_score
from actors.errors import ScorerUnavailableError, UnsupportedTypeError
from actors.settings import VerificationSettings
from actors.verification.decide import decide
from actors.verification.models import Brief, Content, Criterion, Duplicate, Mark, Score, Verdict
from actors.verification.read import read
from storage.errors import DatabaseUnavailableError, HyvveError

SETTINGS = VerificationSettings()
BRIEF = Brief(title="Recipes", description="Home cooking", data_requirements=("steps",), quality_criteria=("clear",))
RECIPE = b"Boil the rice for twelve minutes. Drain it, add butter and salt, and serve it with the stewed beans."


@dataclass
class LengthScorer:
    """Marks by length, so that the same content always scores the same; `fails` is given instead."""

    name: str = "length"
    version: str = "1"
    fails: Exception | None = None
    asked: list[Content] = field(default_factory=list)

    async def score_many(self, brief: Brief, contents: Sequence[Content]) -> list[Score | HyvveError]:  # noqa: ARG002 - `Scorer`
        self.asked += contents
        if isinstance(self.fails, HyvveError):
            return [self.fails for _ in contents]
        if self.fails is not None:
            raise self.fails
        total = [min(100.0, float(len(content.text) or 40)) for content in contents]
        return [
            Score(
                marks=tuple(Mark(criterion, value, "by length") for criterion in Criterion),
                total=value, confidence=0.9, reasoning="long enough", scorer=self.name, scorer_version=self.version,
            )
            for value in total
        ]  # fmt: skip

    async def close(self) -> None: ...


async def verify(scorer: LengthScorer, data: bytes, **changes: object) -> athena.AthenaOutcome:
    find = changes.pop("find_duplicate", None)
    deps = AthenaDeps.of(SETTINGS, scorer, find_duplicate=find)  # type: ignore[arg-type]  # passed through
    arguments = {"file_name": "a.txt", "declared_type": None, "contributor": "0xa"} | changes
    return await athena.verify(deps, brief=BRIEF, data=data, **arguments)  # type: ignore[arg-type]  # passed through


def png(width: int = 64, height: int = 48) -> bytes:
    image = Image.new("RGB", (width, height), (20, 80, 140))
    image.putpixel((3, 4), (250, 10, 10))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


async def test_a_text_goes_through_all_three_agents_and_gets_the_fan_outs_decision() -> None:
    outcome = await verify(LengthScorer(), RECIPE)
    content = await read(RECIPE, SETTINGS.read, file_name="a.txt")
    score = (await LengthScorer().score_many(BRIEF, [content]))[0]
    expected = decide(BRIEF, score, content_hash=content.content_hash, duplicate=None, settings=SETTINGS)
    assert outcome.decision == expected
    assert outcome.decision.verdict is Verdict.ACCEPT
    assert outcome.score == score
    assert outcome.content == content
    assert [(step.agent, step.tool, step.signal) for step in outcome.trace] == [
        ("FileProcessorAgent", "read_file_content", Signal.TEXT_READY),
        ("AIVerificationScorerAgent", "get_text_verification_score", Signal.SCORED),
        ("DecisionMakerAgent", "make_verification_decision", Signal.DECIDED),
    ]
    assert all(step.note and step.seconds >= 0 for step in outcome.trace)


async def test_an_image_is_scored_by_the_image_tool() -> None:
    scorer = LengthScorer()
    outcome = await verify(scorer, png(), file_name="a.png")
    assert [step.signal for step in outcome.trace] == [Signal.IMAGE_READY, Signal.SCORED, Signal.DECIDED]
    assert outcome.trace[1].tool == "get_image_verification_score"
    assert scorer.asked[0].kind == "image"
    assert outcome.decision.verdict is Verdict.REJECT


@pytest.mark.parametrize(
    ("data", "file_name"), [(b"", "a.txt"), (b"PK\x03\x04" + bytes(200), "a.zip"), (RECIPE, "a.png")]
)
async def test_what_cannot_be_read_goes_straight_to_an_error_decision(data: bytes, file_name: str) -> None:
    scorer = LengthScorer()
    outcome = await verify(scorer, data, file_name=file_name)
    assert scorer.asked == []
    assert [step.signal for step in outcome.trace] == [Signal.UNREADABLE, Signal.DECIDED]
    assert outcome.decision.verdict is Verdict.ERROR
    assert outcome.decision.score is None
    assert outcome.error is not None
    assert outcome.decision.error_code == outcome.error.code
    assert outcome.content is None


@pytest.mark.parametrize(
    "fails", [ScorerUnavailableError("the provider is down"), RuntimeError("a library's surprise")]
)
async def test_a_failing_scorer_gives_an_error_and_never_a_score(fails: Exception) -> None:
    outcome = await verify(LengthScorer(fails=fails), RECIPE)
    assert [step.signal for step in outcome.trace] == [Signal.TEXT_READY, Signal.SCORING_FAILED, Signal.DECIDED]
    assert outcome.decision.verdict is Verdict.ERROR
    assert outcome.decision.score is None
    assert outcome.score is None
    assert str(fails) in outcome.decision.reasoning.replace("The provider", "the provider")


async def test_an_equal_copy_is_rejected_without_paying_for_a_score() -> None:
    original = Duplicate(contribution_id=uuid4(), contributor="0xb", kind="exact", similarity=1.0)
    looked: list[str] = []

    async def find(content: Content) -> Duplicate:
        looked.append(content.content_hash)
        return original

    for changes in ({"find_duplicate": find}, {"duplicate": original}):
        scorer = LengthScorer()
        outcome = await verify(scorer, RECIPE, **changes)
        assert scorer.asked == []
        assert [step.signal for step in outcome.trace] == [Signal.DUPLICATE, Signal.DECIDED]
        assert outcome.decision.verdict is Verdict.REJECT
        assert str(original.contribution_id) in outcome.decision.reasoning
        assert outcome.duplicate == original
    assert len(looked) == 1


async def test_a_near_copy_is_scored_and_decided_with_its_original() -> None:
    near = Duplicate(contribution_id=uuid4(), contributor="0xb", kind="near", similarity=0.85)
    outcome = await verify(LengthScorer(), RECIPE, duplicate=near)
    assert outcome.score is not None
    assert outcome.decision.verdict is Verdict.REVIEW
    assert str(near.contribution_id) in outcome.decision.reasoning


async def test_a_lost_database_is_raised_for_the_caller_to_try_again() -> None:
    async def find(content: Content) -> Duplicate | None:
        raise DatabaseUnavailableError("no connection")

    with pytest.raises(DatabaseUnavailableError):
        await verify(LengthScorer(), RECIPE, find_duplicate=find)


async def test_one_graph_serves_many_contributions_without_mixing_them() -> None:
    scorer = LengthScorer()
    deps = AthenaDeps.of(SETTINGS, scorer)
    graph = athena.build(deps)
    first, second = [
        await athena.verify(
            deps, brief=BRIEF, data=data, file_name="a.txt", declared_type=None, contributor="0xa", graph=graph
        )
        for data in (RECIPE, b"Too short a text to be of use to anyone.")
    ]
    assert len(first.trace) == len(second.trace) == 3
    assert first.decision.verdict is Verdict.ACCEPT
    assert second.decision.verdict is Verdict.REJECT


async def test_a_tool_refuses_content_of_the_other_kind() -> None:
    deps = AthenaDeps.of(SETTINGS, LengthScorer())
    preview = await read_file_content(
        deps, data=b"First paragraph here.\n\nSecond one.", file_name=None, declared_type=None, extract="preview"
    )
    assert preview.text == "First paragraph here."
    with pytest.raises(UnsupportedTypeError):
        await get_image_verification_score(deps, brief=BRIEF, content=preview, contributor="0xa")
