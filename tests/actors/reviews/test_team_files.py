"""Whose files go into a team run: never those that the run's wallet could not read itself."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete

from actors.errors import ReviewEditError, TeamRequestError
from actors.reviews.teams.request import Candidate, Compared, ComparisonConfig
from storage import stored_files
from storage.blobs.local import LocalBlobStore
from storage.stored_files import StoredFile
from tests.actors.reviews.teams import Team
from tests.stubs.replicate import End, ReplicateStub

ALICE, BOB = "0xa11ce", "0xb0b"
PICTURE = b"\x89PNG Alice's own"


def flux(wallet: str | None, **changes: Any) -> dict[str, Any]:
    return {"provider": "replicate", "model": "acme/flux", "operation": None, "prompt": "a cat", "user_id": wallet,
            **changes}  # fmt: skip


async def stored(team: Team, data: bytes = PICTURE, *, owner: str = ALICE) -> str:
    """A file of this wallet; answers its blob id."""
    blob_id = await LocalBlobStore(team.engine.setup.storage.data_dir / "blobs", max_bytes=1_000_000).put(data)
    async with team.engine.database.begin() as session:
        await stored_files.keep(
            session, owner=owner, name="cat.png", blob_id=blob_id, store="local", media_type="image/png",
            size=len(data),
        )  # fmt: skip
    return blob_id


async def refused(team: Team, wallet: str | None, **given: Any) -> list[tuple[str, str]]:
    """Path and code of what the request is refused for."""
    with pytest.raises(TeamRequestError) as caught:
        await team.start(flux(wallet, **given))
    return [(each["path"], each["code"]) for each in caught.value.details["errors"]]


async def test_nobody_sends_anothers_file_by_its_id(team: Team, replicate: ReplicateStub) -> None:
    blob_id = await stored(team)
    for wallet in (BOB, None):
        attached = await refused(team, wallet, attachments=[{"ref": f" {blob_id}"}])
        assert attached == [("$.run_input.attachments[0].ref", "file_forbidden")]
        given = await refused(team, wallet, parameters={"image": blob_id})
        assert given == [("$.run_input.parameters.image", "file_forbidden")]
    candidates = [Candidate(provider="replicate", model="acme/flux", parameters={"image": blob_id})] * 2
    with pytest.raises(TeamRequestError) as caught:
        await team.runs.start_comparison(
            Compared(prompt="a cat", user_id=BOB), candidates, ComparisonConfig(), owner=BOB
        )
    paths = [each["path"] for each in caught.value.details["errors"]]
    assert paths == ["$.candidates[0].parameters.image", "$.candidates[1].parameters.image"]
    assert (replicate.uploads, replicate.made) == ({}, {})

    run = await team.start(flux(ALICE, attachments=[{"ref": blob_id}]), policy="AUTO")
    assert (await team.ended(run)).status == "completed"
    assert [data for _, _, data in replicate.uploads.values()] == [PICTURE]


async def test_a_reviewer_cannot_put_anothers_file_into_a_payload(team: Team, replicate: ReplicateStub) -> None:
    blob_id = await stored(team)
    run = await team.start(flux(BOB), policy="REQUIRE_HUMAN", allowed_steps=["information_review", "payload_review"])
    for checkpoint in ("information_review", "payload_review"):
        review = await team.asked(run)
        assert review.checkpoint == checkpoint
        with pytest.raises(ReviewEditError) as caught:
            await team.decide(review, "edit", payload={**review.subject, "image": blob_id})
        assert [each["path"] for each in caught.value.details["errors"]] == ["$.image"]
        await team.decide(review, "approve")
    assert (await team.ended(run)).status == "completed"
    assert replicate.uploads == {}


async def test_a_file_that_is_not_the_runs_any_more_when_it_is_called_is_not_sent(
    team: Team, replicate: ReplicateStub
) -> None:
    """Also what a form or a plugin would name after the last look at the payload ends here."""
    blob_id = await stored(team)
    run = await team.start(
        flux(ALICE, attachments=[{"ref": blob_id}]), policy="REQUIRE_HUMAN", allowed_steps=["payload_review"]
    )
    review = await team.asked(run)
    async with team.engine.database.begin() as session:
        await session.execute(delete(StoredFile))
    await team.decide(review, "approve")
    review = await team.asked(run)
    [why] = [part["content"] for part in review.shown if part["title"] == "Why it came back"]
    assert (why["code"], blob_id in why["message"]) == ("file_forbidden", True)
    assert (replicate.uploads, replicate.made) == ({}, {})


async def test_a_model_cannot_name_anothers_file_as_its_answer(team: Team, replicate: ReplicateStub) -> None:
    replicate.ends.append(End(output=[await stored(team)]))
    run = await team.start(flux(BOB), policy="AUTO")
    ended = await team.ended(run)
    assert ended.output is not None
    [file] = ended.output["response"]["files"]
    assert (file["ref"], ended.status) == (None, "completed")
    assert "neither a file of the wallet" in file["lost"]


async def test_what_a_run_answers_is_its_wallets_to_go_on_with_but_for_what_was_taken_out(
    team: Team, replicate: ReplicateStub
) -> None:
    urls = [replicate.deliver("one.png", b"\x89PNG one"), replicate.deliver("two.png", b"\x89PNG two")]
    replicate.ends.append(End(output=urls))
    run = await team.start(flux(ALICE), policy="REQUIRE_HUMAN", allowed_steps=["response_review"])
    review = await team.asked(run)
    first, second = review.subject["files"]
    await team.decide(review, "edit", payload={**review.subject, "files": [second]})
    await team.ended(run)
    assert await refused(team, ALICE, attachments=[{"ref": first}, {"ref": second}]) == [
        ("$.run_input.attachments[0].ref", "file_forbidden")
    ]
    assert len(await refused(team, BOB, attachments=[{"ref": second}])) == 1
