"""A vote: agreement is a median, disagreement goes to a person, a failed member is named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack

import pytest

from actors.errors import ActorsError, ScorerError, ScorerRefusedError, ScorerUnavailableError
from actors.settings import ScorerSettings
from actors.verification.models import Score
from actors.verification.scorers.base import Scorer
from actors.verification.scorers.registry import open_scorer
from actors.verification.scorers.vote import VoteScorer
from storage.errors import HyvveError
from tests.actors.verification.scoring import BRIEF, failed, image, scored, text
from tests.stubs.http import Reply
from tests.stubs.openai import OpenAIStub, error, judgement


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def vote(stack: AsyncExitStack, replies: Iterable[Reply], *, most: float = 20, vision: bool = True) -> Scorer:
    """A vote of one model per reply, each on a server of its own."""
    members = []
    for number, reply in enumerate(replies):
        stub = await stack.enter_async_context(OpenAIStub(lambda _, reply=reply: reply))  # type: ignore[misc]  # bound now
        members.append(
            ScorerSettings(kind="openai", base_url=stub.base_url, model=f"m{number}", retries=0, vision=vision)
        )
    scorer = open_scorer(ScorerSettings(kind="vote", members=tuple(members), max_disagreement=most), redis_url=None)
    stack.push_async_callback(scorer.close)
    return scorer


async def outcome(stack: AsyncExitStack, *replies: Reply) -> Score | HyvveError:
    scorer = await vote(stack, replies)
    [found] = await scorer.score_many(BRIEF, [text()])
    return found


async def test_members_who_agree_give_their_median(stack: AsyncExitStack) -> None:
    score = scored(await outcome(stack, judgement(70, 0.9), judgement(80, 0.8, accuracy=90), judgement(88, 0.6)))
    assert score.total == 82.0
    assert score.confidence == 0.8
    assert {mark.criterion: mark.value for mark in score.marks}["accuracy"] == 88.0  # type: ignore[index]  # a str enum
    assert score.usage == {"calls": 3, "prompt_tokens": 1200, "completion_tokens": 360}
    assert score.scorer == "vote"


async def test_members_who_disagree_leave_it_to_a_person_and_say_by_how_much(stack: AsyncExitStack) -> None:
    score = scored(await outcome(stack, judgement(60), judgement(75), judgement(81)))
    assert score.confidence == 0.0
    assert "disagree by 21 points (60 to 81)" in score.reasoning


async def test_a_disagreement_of_just_the_limit_is_agreement(stack: AsyncExitStack) -> None:
    assert scored(await outcome(stack, judgement(60), judgement(80))).confidence == 0.9


async def test_a_failed_member_is_named_and_the_others_decide(stack: AsyncExitStack) -> None:
    score = scored(await outcome(stack, judgement(80), error(401, "bad key"), judgement(84)))
    assert (score.total, score.confidence) == (82.0, 0.9)
    assert "openai failed (scorer_refused): openai answered 401: bad key" in score.reasoning


async def test_a_minority_that_could_judge_does_not_decide(stack: AsyncExitStack) -> None:
    score = scored(await outcome(stack, judgement(80), error(401), error(401)))
    assert score.confidence == 0.0
    assert "Only 1 of 3" in score.reasoning


async def test_one_of_two_does_not_decide_alone(stack: AsyncExitStack) -> None:
    """A second opinion that can be made to fail, by a text that its filter refuses, would be none."""
    score = scored(await outcome(stack, judgement(90, 0.95), error(400, "content filter", code="content_filter")))
    assert (score.confidence, score.partial) == (0.0, True)
    assert "Only 1 of 2 scorers could judge." in score.reasoning


async def test_when_all_fail_it_is_an_error_worth_another_try_if_one_was(stack: AsyncExitStack) -> None:
    lasting = failed(await outcome(stack, error(401), error(404)), ScorerRefusedError)
    assert "every scorer of the vote failed" in str(lasting)
    assert "404" in str(lasting)
    failed(await outcome(stack, error(401), error(503)), ScorerUnavailableError)


async def test_when_no_member_can_see_an_image_a_person_decides(stack: AsyncExitStack) -> None:
    scorer = await vote(stack, [judgement(), judgement()], vision=False)
    [found] = await scorer.score_many(BRIEF, [image()])
    assert (scored(found).marks, scored(found).confidence) == ((), 0.0)


async def test_contents_keep_their_order(stack: AsyncExitStack) -> None:
    scorer = await vote(stack, [judgement(70), judgement(74)])
    outcomes = await scorer.score_many(BRIEF, [text("a"), text("b"), text("c")])
    assert [scored(found).total for found in outcomes] == [72.0] * 3


async def test_a_member_that_raises_is_a_failed_vote_not_a_lost_batch(stack: AsyncExitStack) -> None:
    good = (await vote(stack, [judgement(80), judgement(80)]), await vote(stack, [judgement(80), judgement(80)]))

    class Broken:
        name, version = "broken", "1"

        async def score_many(self, *_: object) -> list[Score | HyvveError]:
            raise RuntimeError("bug")

        async def close(self) -> None: ...

    [found] = await VoteScorer([*good, Broken()], max_disagreement=20).score_many(BRIEF, [text()])
    assert "broken failed (scorer): RuntimeError: bug" in scored(found).reasoning
    [found] = await VoteScorer([Broken(), Broken()], max_disagreement=20).score_many(BRIEF, [text()])
    failed(found, ScorerError)


async def test_the_version_follows_the_members(stack: AsyncExitStack) -> None:
    two, three = [judgement()] * 2, [judgement()] * 3
    versions = [(await vote(stack, replies, most=most)).version for replies, most in ((two, 20), (three, 20), (two, 5))]
    assert len(set(versions)) == 3


def test_a_vote_of_one_is_refused() -> None:
    with pytest.raises(ActorsError, match="at least two members"):
        open_scorer(ScorerSettings(kind="vote"), redis_url=None)
