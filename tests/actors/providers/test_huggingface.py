"""Hugging Face: chat by the router, tasks by the endpoints, and nothing of this machine read for a text."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import AsyncIterator

import pytest
from PIL import Image

from actors.errors import PayloadFaultsError, ProviderAnswerError, ProviderRefusedError, UnknownModelError
from actors.providers.base import AIProvider
from actors.providers.huggingface import HuggingFaceProvider
from actors.providers.models import Attachment, Payload, ProviderRequest
from storage.blobs.local import LocalBlobStore
from tests.conformance.ai_provider import KEY, AIProviderSpec, FarSide, Open, is_quiet
from tests.stubs import huggingface, openai
from tests.stubs.http import Reply
from tests.stubs.huggingface import HuggingFaceStub

_INLINE = re.compile(rb"data:[a-z/-]+;base64,([A-Za-z0-9+/=]+)")


@pytest.fixture
async def stub() -> AsyncIterator[HuggingFaceStub]:
    async with HuggingFaceStub(KEY) as stub:
        yield stub


@pytest.fixture
async def hub() -> AsyncIterator[HuggingFaceStub]:
    """A server of its own, as the Hub is: its connections are kept, those of a cancelled call are not."""
    async with HuggingFaceStub(KEY) as stub:
        yield stub


@pytest.fixture
def far(stub: HuggingFaceStub, hub: HuggingFaceStub) -> FarSide:
    def fails(status: int, said: str, *, field: str | None = None, **headers: str) -> None:
        words = f"Input validation error: `{field}`: {said}" if field else said
        stub.script.append(huggingface.error(status, words, **headers))

    return FarSide(
        stub=stub,
        kind=HuggingFaceProvider,
        model="acme/talk",
        says=lambda text: stub.script.append(openai.completion(text)),
        fails=fails,
        answers=stub.script.append,
        hangs=lambda: stub.script.append(Reply(delay_s=60)),
        refuses=lambda: stub.script.append(openai.completion("", finish="content_filter")),
        spent=lambda: stub.script.append(
            huggingface.error(402, "You have exceeded your monthly included credits for Inference Providers.")
        ),
        paid=lambda: len(stub.paid),
        received=lambda: [base64.b64decode(each) for call in stub.paid for each in _INLINE.findall(call.body)],
        seen=lambda: str(stub.paid[-1].body),
        working=lambda: not is_quiet(stub),
        base_url=stub.url,
        integer="max_tokens",
        settings={"huggingface_hub": hub.url},
    )


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), "teal").save(out, format="JPEG")
    return out.getvalue()


async def asked(
    provider: AIProvider, model: str, prompt: str = "", *attachments: Attachment, **fields: object
) -> Payload:
    return await provider.create_payload(
        ProviderRequest(model=model, prompt=prompt, attachments=attachments, parameters=fields)
    )


class TestHuggingFace(AIProviderSpec):
    async def test_the_task_of_a_model_is_what_the_hub_says(self, provider: AIProvider) -> None:
        [talk] = (await provider.get_capabilities("acme/talk")).models
        [draw] = (await provider.get_capabilities("acme/draw")).models
        assert (talk.operation, draw.operation, draw.gives) == ("chat-completion", "text-to-image", ("image",))
        assert draw.input_schema is not None
        assert draw.input_schema["properties"]["width"] == {"type": "integer"}
        with pytest.raises(UnknownModelError, match="protein-folding"):
            await provider.get_capabilities("acme/fold")

    async def test_a_picture_is_drawn_and_kept(
        self, stub: HuggingFaceStub, provider: AIProvider, store: LocalBlobStore
    ) -> None:
        payload = await asked(provider, "acme/draw", "a tram in Lima", width=512)
        assert await provider.validate_payload(payload) == []
        stub.script.append(Reply(picture(), headers={"content-type": "image/jpeg"}))
        [file] = (await provider.execute(payload)).files
        assert (await store.get(file.ref or "")).startswith(b"\x89PNG")
        assert stub.paid[-1].path == "/hf-inference/models/acme/draw"
        assert stub.paid[-1].json() == {"inputs": "a tram in Lima", "parameters": {"width": 512}}

    async def test_what_is_no_picture_is_no_answer(self, stub: HuggingFaceStub, provider: AIProvider) -> None:
        payload = await asked(provider, "acme/draw", "a tram in Lima")
        stub.script.append(Reply(b"not a picture", headers={"content-type": "image/jpeg"}))
        with pytest.raises(ProviderAnswerError):
            await provider.execute(payload)

    async def test_speech_is_heard_from_a_blob(
        self, stub: HuggingFaceStub, provider: AIProvider, store: LocalBlobStore
    ) -> None:
        sound = b"fLaC" + b"not much of a sound" * 4
        payload = await asked(
            provider, "acme/hear", "", Attachment(ref=await store.put(sound), media_type="audio/flac")
        )
        stub.script.append(huggingface.answer({"text": "buenos días"}))
        response = await provider.execute(payload)
        assert response.text == "buenos días"
        assert sound in stub.paid[-1].body or base64.b64encode(sound) in stub.paid[-1].body

    async def test_speech_is_made_and_kept(
        self, stub: HuggingFaceStub, provider: AIProvider, store: LocalBlobStore
    ) -> None:
        payload = await asked(provider, "acme/speak", "buenos días")
        stub.script.append(Reply(b"RIFF....WAVEfmt ", headers={"content-type": "audio/wav"}))
        [file] = (await provider.execute(payload)).files
        assert await store.get(file.ref or "") == b"RIFF....WAVEfmt "

    async def test_a_summary_and_a_classification_are_read(
        self, stub: HuggingFaceStub, provider: AIProvider, store: LocalBlobStore
    ) -> None:
        stub.script.append(huggingface.answer([{"summary_text": "Short."}]))
        assert (await provider.execute(await asked(provider, "acme/sum", "Long, long, long."))).text == "Short."
        stub.script.append(huggingface.answer([{"label": "cat", "score": 0.9}]))
        attached = Attachment(ref=await store.put(picture()), name="cat.jpg")
        response = await provider.execute(await asked(provider, "acme/sort", "", attached))
        assert response.output == [{"label": "cat", "score": 0.9}]
        assert (await provider.audit_response(response)).usable

    @pytest.mark.parametrize("ref", ["/etc/passwd", "file:///etc/passwd", "secret.txt"])
    async def test_no_file_of_this_machine_is_read_for_a_text(
        self, stub: HuggingFaceStub, provider: AIProvider, ref: str
    ) -> None:
        payload = Payload(
            provider="huggingface", model="acme/hear", operation="automatic-speech-recognition", input={"audio": ref}
        )
        with pytest.raises(PayloadFaultsError, match=r"\$\.input\.audio"):
            await provider.execute(payload)
        assert stub.paid == []

    async def test_an_address_of_the_cloud_is_not_fetched(self, stub: HuggingFaceStub, provider: AIProvider) -> None:
        ref = "https://169.254.169.254/latest/meta-data/voice.flac"
        payload = await asked(provider, "acme/hear", "", Attachment(ref=ref))
        with pytest.raises(Exception, match=r"169\.254\.169\.254") as caught:
            await provider.execute(payload)
        assert type(caught.value).__name__ == "AddressRefusedError"
        assert stub.paid == []

    @pytest.mark.parametrize("model", ["", "gpt2", "http://127.0.0.1:1/x", "../../api/whoami-v2", "a/b/c", "a/..b"])
    async def test_what_is_no_models_name_is_never_an_address(
        self, stub: HuggingFaceStub, hub: HuggingFaceStub, provider: AIProvider, model: str
    ) -> None:
        with pytest.raises(UnknownModelError):
            await provider.get_capabilities(model)
        assert stub.asked == hub.asked == []

    async def test_an_address_that_is_none_sends_the_key_nowhere(self, opened: Open, provider: AIProvider) -> None:
        payload = await asked(provider, "acme/sum", "Long.")
        with pytest.raises(ProviderRefusedError, match="setting"):
            await opened(base_url="acme/talk").execute(payload)
