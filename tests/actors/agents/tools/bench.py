"""A process with tools at hand: real database, Redis, blobs and fetcher, a scorer that obeys, a stub's web."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from PIL import Image

from actors.agents.deps import ToolContext
from actors.agents.search.base import Found, Search
from actors.agents.tools.registry import TOOLS
from actors.agents.tools.tool import ToolResult
from actors.settings import ScorerSettings, ToolSettings, VerificationSettings
from actors.verification.workplace import Setup, Workplace
from storage import campaigns, contributions
from storage.settings import FetchSettings, StorageSettings
from tests.actors.verification.scripted_scorer import ScriptedScorer
from tests.storage.test_campaigns import campaign_body

CREATOR, ALICE, BOB = "0xc", "0xa11ce", "0xb0b"


class Nothing:
    """A search that finds nothing."""

    name = "nothing"

    async def search(self, query: str, *, limit: int) -> Found:  # noqa: ARG002 - `Search`
        return Found((), self.name)

    async def close(self) -> None: ...


@dataclass
class Bench:
    workplace: Workplace
    search: Search = field(default_factory=Nothing)
    limits: ToolSettings = field(default_factory=ToolSettings)

    @classmethod
    async def open(cls, *, database_url: str, redis_url: str, data_dir: Path) -> Bench:
        storage = StorageSettings(
            database_url=database_url,
            redis_url=redis_url,
            data_dir=data_dir,
            fetch=FetchSettings(allowed_networks=("127.0.0.1/32",), retries=0),
        )
        verification = VerificationSettings(scorer=ScorerSettings(kind="openai"))
        workplace = Workplace(Setup(storage=storage, verification=verification, open_scorer=ScriptedScorer))
        return cls(workplace)

    def context(
        self, wallet: str | None, *, scratchpad: Mapping[str, Any] | None = None, key: str | None = None
    ) -> ToolContext:
        return ToolContext.at(
            self.workplace,
            wallet=wallet,
            search=self.search,
            limits=self.limits,
            scratchpad=scratchpad,
            idempotency_key=key,
        )

    async def call(
        self,
        tool: str,
        wallet: str | None,
        *,
        scratchpad: Mapping[str, Any] | None = None,
        key: str | None = None,
        **arguments: Any,
    ) -> ToolResult:
        return await TOOLS[tool].call(arguments, self.context(wallet, scratchpad=scratchpad, key=key))

    async def campaign(self, onchain_id: str = "campaign_1", **changes: Any) -> str:
        async with self.workplace.database.begin() as session:
            made, _ = await campaigns.create(session, campaign_body(onchain_id, **changes))
        return made.onchain_campaign_id

    async def contribute(self, data: bytes | str, *, by: str = ALICE, campaign: str = "campaign_1") -> UUID:
        """A contribution of these bytes; a text is its `data_url` as it stands."""
        url = await self.workplace.store.put(data) if isinstance(data, bytes) else data
        body = {
            "onchain_contribution_id": "", "contributor": by, "data_url": url, "blob_id": None, "file_type": None,
            "transaction_hash": "", "claimed_quality_score": None, "claimed_ai_verification_score": None,
            "reputation_score": None,
        }  # fmt: skip
        async with self.workplace.database.begin() as session:
            of = await campaigns.by_onchain_id(session, campaign, lock=True)
            made, _ = await contributions.submit(session, {**body, "campaign_id": of.campaign_id})
        return made.contribution_id


def png(color: tuple[int, int, int] = (20, 80, 140), size: int = 48) -> bytes:
    image = Image.new("RGB", (size, size), color)
    image.putpixel((3, 4), (250, 10, 10))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
