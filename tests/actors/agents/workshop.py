"""What agents work with in tests: models behind a stub server over HTTP, and tools whose calls are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel, Field, SecretStr

from actors.agents.deps import ToolContext
from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.node_step import Workshop
from actors.agents.tools.tool import Tool, ToolResult
from actors.errors import ToolArgumentsError
from actors.settings import LLMProviderSettings, LLMSettings, ToolSettings
from storage.errors import BlobUnavailableError
from tests.stubs.openai import OpenAIStub


class Query(BaseModel):
    query: str = Field(min_length=1)


class Note(BaseModel):
    key: str
    value: Any


@dataclass
class Bench:
    """`searches` and `notes` are the calls that the tools really got, with the wallet that they were made for.

    While it is `down`, no note can be taken; one without a key passes the schema and is refused by the tool.
    """

    stub: OpenAIStub
    searches: list[str] = field(default_factory=list)
    notes: list[tuple[str, Any]] = field(default_factory=list)
    wallets: list[str | None] = field(default_factory=list)
    down: bool = False

    async def search(self, query: Query, context: ToolContext) -> ToolResult:
        self.searches.append(query.query)
        self.wallets.append(context.wallet)
        return ToolResult(content={"results": [f"a page about {query.query}"]})

    async def note(self, note: Note, context: ToolContext) -> ToolResult:
        if self.down:
            raise BlobUnavailableError("the notes are not to be reached")
        if not note.key:
            raise ToolArgumentsError("a note needs a key")
        self.notes.append((note.key, note.value))
        self.wallets.append(context.wallet)
        # A number stands for so many characters.
        value = "x" * note.value if isinstance(note.value, int) else note.value
        return ToolResult(content={"noted": note.key}, scratchpad={note.key: value})

    def open_context(
        self, *, wallet: str | None, scratchpad: Mapping[str, Any], idempotency_key: str | None
    ) -> ToolContext:
        # The tools here look at nothing else.
        unused = cast(Any, None)
        return ToolContext(
            wallet=wallet, verification=unused, database=unused, store=unused, fetcher=unused, search=unused,
            limits=ToolSettings(), scratchpad=scratchpad, idempotency_key=idempotency_key,
        )  # fmt: skip

    def workshop(self, **settings: Any) -> Workshop:
        tools = (
            Tool(name="web_search", description="search the web", args_model=Query, run=self.search),
            Tool(name="note", description="note a value", args_model=Note, run=self.note, effect="writes"),
        )
        return Workshop(
            llms=LLMCatalogue(llm_settings(self.stub, **settings)),
            tools={tool.name: tool for tool in tools},
            open_context=self.open_context,
        )


def llm_settings(stub: OpenAIStub, **changes: Any) -> LLMSettings:
    reach = LLMProviderSettings(base_url=stub.base_url, api_key=SecretStr("key"))
    return LLMSettings(openai=reach, models=("openai:stub-model",), **changes)


@asynccontextmanager
async def opened(bench: Bench, **settings: Any) -> AsyncIterator[Workshop]:
    workshop = bench.workshop(**settings)
    yield workshop
    await workshop.llms.close()
