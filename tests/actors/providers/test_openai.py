"""OpenAI's responses, chat and images, each under the one spec, and what is each one's own."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from actors.errors import ProviderModerationError, ProviderUnavailableError, UnknownModelError
from actors.providers.base import AIProvider
from actors.providers.models import Attachment, Payload, ProviderRequest, Turn
from actors.providers.openai import OpenAIProvider
from storage.blobs.local import LocalBlobStore
from tests.conformance.ai_provider import KEY, PNG, AIProviderSpec, FarSide, Open, is_quiet
from tests.stubs import openai, openai_platform
from tests.stubs.http import Reply
from tests.stubs.openai_platform import OpenAIPlatformStub, form

_INLINE = re.compile(rb"data:[a-z/-]+;base64,([A-Za-z0-9+/=]+)")


@pytest.fixture
async def stub() -> AsyncIterator[OpenAIPlatformStub]:
    async with OpenAIPlatformStub(KEY) as stub:
        yield stub


def far_side(stub: OpenAIPlatformStub, says: Callable[[str], Reply], refuses: Reply, **changed: Any) -> FarSide:
    def fails(status: int, said: str, *, field: str | None = None, **headers: str) -> None:
        stub.script.append(openai.error(status, said, param=field, **headers))

    def received() -> list[bytes]:
        found = [base64.b64decode(each) for call in stub.paid for each in _INLINE.findall(call.body)]
        forms = [form(call) for call in stub.paid if call.path.endswith("/edits")]
        return [*found, *(data for each in forms for data in each["image[]"])]

    return FarSide(
        stub=stub,
        kind=OpenAIProvider,
        says=lambda text: stub.script.append(says(text)),
        fails=fails,
        answers=stub.script.append,
        hangs=lambda: stub.script.append(Reply(delay_s=60)),
        refuses=lambda: stub.script.append(refuses),
        spent=lambda: stub.script.append(openai.error(429, "You exceeded your quota", code="insufficient_quota")),
        paid=lambda: len(stub.paid),
        received=received,
        seen=lambda: str(stub.paid[-1].body),
        working=lambda: not is_quiet(stub),
        base_url=stub.base_url,
        **changed,
    )


class TestResponses(AIProviderSpec):
    @pytest.fixture
    def far(self, stub: OpenAIPlatformStub) -> FarSide:
        return far_side(
            stub,
            openai_platform.response,
            openai_platform.response(None, refusal="I can't help with that."),
            model="gpt-5-mini",
            operation="responses",
            integer="max_output_tokens",
        )

    async def test_a_conversation_keeps_its_turns_and_its_instructions(
        self, stub: OpenAIPlatformStub, provider: AIProvider
    ) -> None:
        turns = (
            Turn(role="system", text="Be terse."),
            Turn(role="user", text="Hello"),
            Turn(role="assistant", text="Hi"),
        )
        payload = await provider.create_payload(
            ProviderRequest(model="gpt-5-mini", prompt="Capital of Peru?", conversation=turns, operation="responses")
        )
        assert payload.input["instructions"] == "Be terse."
        assert [(each["role"], each["content"]) for each in payload.input["input"]] == [
            ("user", "Hello"), ("assistant", "Hi"), ("user", "Capital of Peru?"),
        ]  # fmt: skip
        assert await provider.validate_payload(payload) == []
        await provider.execute(payload)
        assert '"Be terse."' in stub.paid[-1].body.decode()

    async def test_cached_tokens_cost_less(self, opened: Open, payload: Payload) -> None:
        provider = opened(prices=("gpt-5-mini=10/100/1",))
        used = (await provider.execute(payload)).usage
        assert (used.input_tokens, used.cached_input_tokens, used.output_tokens) == (40, 10, 12)
        assert used.cost_micro_usd == 30 * 10 + 10 * 1 + 12 * 100

    async def test_an_answer_that_was_cut_off_is_marked_and_may_be_used(
        self, stub: OpenAIPlatformStub, provider: AIProvider, payload: Payload
    ) -> None:
        stub.script.append(openai_platform.response("Li", status="incomplete", reason="max_output_tokens"))
        audit = await provider.audit_response(await provider.execute(payload))
        assert audit.usable
        assert [finding.code for finding in audit.findings] == ["cut_off"]

    @pytest.mark.parametrize(
        ("code", "kind"), [("server_error", ProviderUnavailableError), ("invalid_prompt", ProviderModerationError)]
    )
    async def test_a_response_that_failed_is_an_error_of_its_class(
        self, stub: OpenAIPlatformStub, provider: AIProvider, payload: Payload, code: str, kind: type[Exception]
    ) -> None:
        stub.script.append(openai_platform.response(None, status="failed", error={"code": code, "message": "no"}))
        with pytest.raises(kind):
            await provider.execute(payload)

    async def test_a_pdf_goes_whole_with_its_name_and_a_web_one_by_its_address(
        self, stub: OpenAIPlatformStub, provider: AIProvider, store: LocalBlobStore
    ) -> None:
        pdf = b"%PDF-1.7 not much of one"
        ours = Attachment(ref=await store.put(pdf), name="terms.pdf", media_type="application/pdf")
        web = Attachment(ref="https://files.example.com/annex.pdf")
        payload = await provider.create_payload(
            ProviderRequest(model="gpt-5-mini", prompt="Compare", attachments=(ours, web), operation="responses")
        )
        await provider.execute(payload)
        _, first, second = stub.paid[-1].json()["input"][0]["content"]
        assert first["filename"] == "terms.pdf"
        assert first["file_data"] == "data:application/pdf;base64," + base64.b64encode(pdf).decode()
        assert "file_url" not in first
        assert second["file_url"] == web.ref

    async def test_what_it_draws_is_kept_and_not_in_the_checkpoint(
        self, stub: OpenAIPlatformStub, provider: AIProvider, payload: Payload, store: LocalBlobStore
    ) -> None:
        stub.script.append(openai_platform.response("Here it is.", drawn=PNG))
        response = await provider.execute(payload)
        assert [await store.get(file.ref or "") for file in response.files] == [PNG]
        assert base64.b64encode(PNG).decode() not in response.model_dump_json()

    async def test_the_idempotency_key_goes_along_as_the_request_id(
        self, stub: OpenAIPlatformStub, provider: AIProvider, payload: Payload
    ) -> None:
        await provider.execute(payload, idempotency_key="run 1/Schritt ä")
        assert stub.paid[-1].headers["x-client-request-id"] == "run-1/Schritt--"

    async def test_fields_that_only_the_library_knows_are_taken(
        self, stub: OpenAIPlatformStub, provider: AIProvider, payload: Payload
    ) -> None:
        more = payload.model_copy(update={"input": {**payload.input, "service_tier": "flex"}})
        assert await provider.validate_payload(more) == []
        await provider.execute(more)
        assert stub.paid[-1].json()["service_tier"] == "flex"

    @pytest.mark.parametrize("field", ["model", "stream", "background"])
    async def test_what_would_change_how_the_answer_comes_is_not(
        self, provider: AIProvider, payload: Payload, field: str
    ) -> None:
        edited = payload.model_copy(update={"input": {**payload.input, field: True}})
        assert [issue.field for issue in await provider.validate_payload(edited)] == [f"$.input.{field}"]

    async def test_its_moderation_names_what_it_marks(self, stub: OpenAIPlatformStub, provider: AIProvider) -> None:
        assert await provider.moderate("good morning") == ()
        stub.flagged = ("violence", "hate")
        assert await provider.moderate("…") == ("hate", "violence")

    async def test_an_operation_that_there_is_not_is_named(self, provider: AIProvider) -> None:
        with pytest.raises(UnknownModelError, match="responses, chat, images"):
            await provider.get_capabilities("gpt-5-mini", "embeddings")


class TestChat(AIProviderSpec):
    @pytest.fixture
    def far(self, stub: OpenAIPlatformStub) -> FarSide:
        return far_side(
            stub,
            openai.completion,
            openai.completion(None, refusal="I can't help with that."),
            model="gpt-4.1",
            operation=None,  # what a server that is not OpenAI's own is asked by
            integer="max_completion_tokens",
        )

    async def test_a_filtered_answer_is_marked(
        self, stub: OpenAIPlatformStub, provider: AIProvider, payload: Payload
    ) -> None:
        stub.script.append(openai.completion("I", finish="content_filter"))
        audit = await provider.audit_response(await provider.execute(payload))
        assert not audit.usable
        assert "moderation" in {finding.code for finding in audit.findings}


class TestImages(AIProviderSpec):
    @pytest.fixture
    def far(self, stub: OpenAIPlatformStub) -> FarSide:
        stub.default = openai_platform.images(PNG)
        return far_side(
            stub,
            lambda text: openai_platform.images(*([PNG + text.encode()] if text else [])),
            openai.error(400, "Your request was rejected by the safety system.", code="moderation_blocked"),
            model="gpt-image-1",
            operation="images",
            integer="n",
            number=3,
            refusal_is_an_error=True,
            draws=True,
        )

    async def test_a_url_to_edit_is_fetched_under_the_guard(
        self, stub: OpenAIPlatformStub, provider: AIProvider
    ) -> None:
        attached = Attachment(ref="https://169.254.169.254/latest/meta-data/cat.png")
        payload = await provider.create_payload(
            ProviderRequest(model="gpt-image-1", prompt="in winter", attachments=(attached,))
        )
        with pytest.raises(Exception, match=r"169\.254\.169\.254") as caught:
            await provider.execute(payload)
        assert type(caught.value).__name__ == "AddressRefusedError"
        assert stub.paid == []
