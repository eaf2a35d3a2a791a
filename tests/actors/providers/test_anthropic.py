"""Claude's messages: conversations, documents, refusals, what the cache saves."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from actors.errors import ProviderUnavailableError
from actors.providers.anthropic import AnthropicProvider
from actors.providers.base import AIProvider
from actors.providers.models import Attachment, Payload, ProviderRequest, Turn
from storage.blobs.local import LocalBlobStore
from tests.conformance.ai_provider import KEY, AIProviderSpec, FarSide, Open, is_quiet
from tests.stubs import anthropic
from tests.stubs.anthropic import AnthropicStub
from tests.stubs.http import Reply

MODEL = "claude-haiku-4-5"


@pytest.fixture
async def stub() -> AsyncIterator[AnthropicStub]:
    async with AnthropicStub(KEY) as stub:
        yield stub


@pytest.fixture
def far(stub: AnthropicStub) -> FarSide:
    def fails(status: int, said: str, *, field: str | None = None, **headers: str) -> None:
        stub.script.append(anthropic.error(status, f"{field}: {said}" if field else said, **headers))

    def received() -> list[bytes]:
        parts = [part for call in stub.paid for part in call.json()["messages"][-1]["content"] if "source" in part]
        return [base64.b64decode(part["source"]["data"]) for part in parts]

    return FarSide(
        stub=stub,
        kind=AnthropicProvider,
        model=MODEL,
        says=lambda text: stub.script.append(anthropic.message(text)),
        fails=fails,
        answers=stub.script.append,
        hangs=lambda: stub.script.append(Reply(delay_s=60)),
        refuses=lambda: stub.script.append(
            anthropic.message(
                None, stop="refusal", details={"type": "refusal", "category": "cyber", "explanation": None}
            )
        ),
        spent=lambda: stub.script.append(anthropic.error(400, "Your credit balance is too low to access the API.")),
        paid=lambda: len(stub.paid),
        received=received,
        seen=lambda: str(stub.paid[-1].body),
        working=lambda: not is_quiet(stub),
        base_url=stub.url,
        integer="max_tokens",
    )


class TestAnthropic(AIProviderSpec):
    async def test_a_conversation_keeps_its_turns_and_its_instructions(
        self, stub: AnthropicStub, provider: AIProvider
    ) -> None:
        turns = (
            Turn(role="system", text="Be terse."),
            Turn(role="user", text="Hello"),
            Turn(role="assistant", text="Hi"),
        )
        payload = await provider.create_payload(
            ProviderRequest(model=MODEL, prompt="Capital of Peru?", conversation=turns)
        )
        await provider.execute(payload)
        sent = stub.paid[-1].json()
        assert sent["system"] == "Be terse."
        assert [each["content"] for each in sent["messages"]] == ["Hello", "Hi", "Capital of Peru?"]
        assert sent["max_tokens"] == 4096

    async def test_what_the_cache_holds_costs_less(self, opened: Open, payload: Payload) -> None:
        used = (await opened(prices=(f"{MODEL}=10/100/1",)).execute(payload)).usage
        assert (used.input_tokens, used.cached_input_tokens) == (40, 10)
        assert used.cost_micro_usd == 30 * 10 + 10 * 1 + 12 * 100

    async def test_the_price_is_known_by_the_name_without_its_date(self, provider: AIProvider) -> None:
        known = provider.prices.of(MODEL)
        assert known
        assert provider.prices.of(f"{MODEL}-20251001") == known

    async def test_documents_go_as_what_they_are(
        self, stub: AnthropicStub, provider: AIProvider, store: LocalBlobStore
    ) -> None:
        files = (
            Attachment(ref=await store.put(b"%PDF-1.7 ..."), name="terms.pdf"),
            Attachment(ref=await store.put(b"plain words"), name="notes.txt"),
            Attachment(ref="https://files.example.com/annex.pdf"),
        )
        payload = await provider.create_payload(ProviderRequest(model=MODEL, prompt="Compare", attachments=files))
        assert await provider.validate_payload(payload) == []
        await provider.execute(payload)
        sources = [part["source"] for part in stub.paid[-1].json()["messages"][0]["content"][:3]]
        assert [source["type"] for source in sources] == ["base64", "text", "url"]
        assert [source.get("media_type") for source in sources] == ["application/pdf", "text/plain", None]

    async def test_a_model_that_cannot_see_is_sent_no_picture(self, provider: AIProvider) -> None:
        picture = Attachment(ref="https://files.example.com/cat.png")
        payload = await provider.create_payload(
            ProviderRequest(model="claude-blind", prompt="What is it?", attachments=(picture,))
        )
        assert payload.unplaced == (picture,)
        assert [issue.severity for issue in await provider.validate_payload(payload)] == ["warning"]

    async def test_the_models_own_limit_bounds_the_answers_length(self, provider: AIProvider, payload: Payload) -> None:
        edited = payload.model_copy(update={"input": {**payload.input, "max_tokens": 1_000_000}})
        [issue] = await provider.validate_payload(edited)
        assert (issue.field, issue.value, issue.auto_fixable) == ("$.input.max_tokens", 64_000, True)

    async def test_an_overloaded_provider_can_be_tried_again(
        self, stub: AnthropicStub, provider: AIProvider, payload: Payload
    ) -> None:
        stub.script.append(anthropic.error(529, "Overloaded"))
        with pytest.raises(ProviderUnavailableError):
            await provider.execute(payload)

    async def test_a_long_answer_may_come_in_one_piece(self, provider: AIProvider, payload: Payload) -> None:
        long = payload.model_copy(update={"input": {**payload.input, "max_tokens": 64_000}})
        assert (await provider.execute(long)).text == "Lima."
