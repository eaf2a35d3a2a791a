"""What every AI provider must do. A test module subclasses `AIProviderSpec` and gives it a far side to talk to."""

from __future__ import annotations

import asyncio
import pickle
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import pytest
from pydantic import SecretStr

from actors.errors import (
    MissingKeyError,
    PayloadFaultsError,
    ProviderAnswerError,
    ProviderError,
    ProviderKeyError,
    ProviderModerationError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderUnavailableError,
    UnknownModelError,
)
from actors.providers.base import AIProvider
from actors.providers.files import Files
from actors.providers.models import Attachment, Payload, ProviderRequest, ProviderResponse
from actors.providers.schema import repaired
from actors.runs.retrying import classify
from actors.settings import ProviderReach, ProviderSettings
from storage.blobs.local import LocalBlobStore
from storage.errors import BlobNotFoundError
from tests.stubs.http import Reply, StubServer

PNG = b"\x89PNG\r\n\x1a\n" + b"not much of a picture" * 10
KEY = "k-secret-0123456789"


@dataclass(kw_only=True)
class FarSide:
    """A provider's stub in the words of its wire format.

    `says` answers the next call with a text; `fails` with an error of that status, message and headers (`code` is the
    provider's own for "out of money"); `answers` with whatever is given. `paid` counts the calls that cost, `received`
    are the files that arrived, `working` whether it still works on a call.
    """

    stub: StubServer
    kind: type[AIProvider]
    model: str
    says: Callable[[str], None]
    fails: Callable[..., None]
    answers: Callable[[Reply], None]
    hangs: Callable[[], None]
    refuses: Callable[[], None]
    spent: Callable[[], None]
    paid: Callable[[], int]
    received: Callable[[], list[bytes]]
    seen: Callable[[], str]
    working: Callable[[], bool]
    base_url: str
    integer: str
    number: int = 300
    operation: str | None = None
    # It answers with files: `says` puts its text behind the bytes of an image.
    draws: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    refusal_is_an_error: bool = False


Open = Callable[..., AIProvider]


def is_quiet(stub: StubServer) -> bool:
    return not stub._connections


async def said(response: ProviderResponse, store: LocalBlobStore) -> str:
    """The text that the far side was told to say, wherever the provider's answer carries it."""
    if not response.files:
        return response.text
    [file] = response.files
    assert file.ref is not None
    return (await store.get(file.ref)).removeprefix(PNG).decode()


async def until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.01)


class AIProviderSpec:
    """Fixtures to give: `far`, a `FarSide` with its stub running; `store` and `files`, which may fetch from it."""

    @pytest.fixture
    async def opened(self, far: FarSide, files: Files) -> AsyncIterator[Open]:
        made: list[AIProvider] = []

        def open_(*, key: str | None = KEY, base_url: str | None = None, **settings: Any) -> AIProvider:
            quick = {"timeout_s": 20.0, "poll_s": 0.01, "poll_patience_s": 0.0, **far.settings, **settings}
            reach = ProviderReach(base_url=base_url or far.base_url, api_key=None if key is None else SecretStr(key))
            made.append(far.kind(reach, ProviderSettings(**quick), files))
            return made[-1]

        yield open_
        for each in made:
            await each.close()

    @pytest.fixture
    def provider(self, opened: Open) -> AIProvider:
        return opened()

    @pytest.fixture
    async def payload(self, far: FarSide, provider: AIProvider) -> Payload:
        return await provider.create_payload(
            ProviderRequest(model=far.model, operation=far.operation, prompt="What is the capital of Peru?")
        )

    async def test_it_says_what_it_can_without_asking_anybody(self, far: FarSide, opened: Open) -> None:
        found = await opened(base_url="http://127.0.0.1:9").get_capabilities()
        assert found.available
        assert found.missing is None
        assert found.provider == far.kind.name
        assert found.operations
        assert found.models

    async def test_without_a_key_the_setting_is_named_and_nothing_is_sent(
        self, far: FarSide, opened: Open, payload: Payload
    ) -> None:
        keyless = opened(key=None)
        found = await keyless.get_capabilities()
        assert not found.available
        assert far.kind.key_setting is not None
        assert far.kind.key_setting in (found.missing or "")
        before = far.paid()
        with pytest.raises(MissingKeyError, match=re.escape(far.kind.key_setting)):
            await keyless.execute(payload)
        assert far.paid() == before

    async def test_a_model_says_what_it_takes(self, far: FarSide, provider: AIProvider) -> None:
        [model] = (await provider.get_capabilities(far.model, far.operation)).models
        assert model.id == far.model
        assert model.input_schema is not None
        jsonschema.Draft202012Validator.check_schema(model.input_schema)
        assert far.integer in model.input_schema["properties"]
        assert "text" in model.takes

    async def test_a_model_that_is_none_is_named(self, far: FarSide, provider: AIProvider) -> None:
        with pytest.raises(UnknownModelError, match="no-such-model"):
            await provider.get_capabilities("acme/no-such-model")
        assert far.paid() == 0

    async def test_a_prompt_becomes_a_payload_that_may_be_sent_and_is_answered(
        self, far: FarSide, provider: AIProvider, payload: Payload, store: LocalBlobStore
    ) -> None:
        assert await provider.validate_payload(payload) == []
        far.says("Lima, of course.")
        response = await provider.execute(payload, idempotency_key="run-1/step-1")
        assert await said(response, store) == "Lima, of course."
        assert "What is the capital of Peru?" in far.seen()
        audit = await provider.audit_response(response)
        assert audit.usable, audit.findings
        assert far.paid() == 1

    async def test_payload_and_response_survive_a_checkpoint(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        kept = Payload.model_validate_json(payload.model_dump_json())
        assert kept == payload
        far.says("Lima.")
        response = await provider.execute(kept)
        assert ProviderResponse.model_validate_json(response.model_dump_json()) == response

    async def test_what_a_call_used_is_told(self, far: FarSide, opened: Open, payload: Payload) -> None:
        far.says("Lima.")
        provider = opened(prices=(f"{far.model}=1/4", f"{far.model}=0.001"))
        used = (await provider.execute(payload)).usage
        assert used.input_tokens or used.seconds
        assert used.cost_micro_usd is not None
        assert used.cost_micro_usd > 0

    async def test_a_field_that_the_model_lacks_is_named_and_can_be_taken_out(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        edited = payload.model_copy(update={"input": {**payload.input, "no_such_field": 1}})
        [issue] = await provider.validate_payload(edited)
        assert (issue.field, issue.severity, issue.auto_fixable) == ("$.input.no_such_field", "error", True)
        with pytest.raises(PayloadFaultsError) as caught:
            await provider.execute(edited)
        assert caught.value.details["errors"][0]["field"] == "$.input.no_such_field"
        assert far.paid() == 0
        assert repaired(edited, [issue]) == payload

    async def test_a_number_written_as_a_text_is_mended_and_nonsense_is_not(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        written = payload.model_copy(update={"input": {**payload.input, far.integer: str(far.number)}})
        issues = await provider.validate_payload(written)
        assert [issue.field for issue in issues] == [f"$.input.{far.integer}"]
        mended = repaired(written, issues)
        assert mended.input[far.integer] == far.number
        assert await provider.validate_payload(mended) == []
        nonsense = payload.model_copy(update={"input": {**payload.input, far.integer: "many"}})
        [issue] = await provider.validate_payload(nonsense)
        assert not issue.auto_fixable
        assert issue.fix

    async def test_a_payload_of_another_provider_is_not_sent(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        with pytest.raises(UnknownModelError):
            await provider.execute(payload.model_copy(update={"provider": "another"}))
        assert far.paid() == 0

    async def test_too_many_requests_is_said_with_the_wait_and_not_repeated(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        far.fails(429, "slow down", retry_after="7")
        with pytest.raises(ProviderRateLimitedError) as caught:
            await provider.execute(payload)
        assert caught.value.details["retry_after_s"] == 7
        assert classify(caught.value) == "retryable"
        assert far.paid() == 1

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    async def test_a_provider_in_trouble_can_be_tried_again_by_whoever_calls(
        self, far: FarSide, provider: AIProvider, payload: Payload, store: LocalBlobStore, status: int
    ) -> None:
        far.fails(status, "overloaded")
        with pytest.raises(ProviderUnavailableError) as caught:
            await provider.execute(payload)
        assert not isinstance(caught.value, ProviderRateLimitedError)
        assert classify(caught.value) == "retryable"
        assert far.paid() == 1, "the library repeated the call by itself"
        far.says("Lima.")
        assert await said(await provider.execute(payload), store) == "Lima."

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_key_that_is_not_accepted_needs_a_person(
        self, far: FarSide, provider: AIProvider, payload: Payload, status: int
    ) -> None:
        far.fails(status, "this key may not")
        with pytest.raises(ProviderKeyError) as caught:
            await provider.execute(payload)
        assert classify(caught.value) == "needs_person"
        assert KEY not in repr(caught.value) + str(caught.value.details)

    async def test_money_that_is_spent_needs_a_person(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        far.spent()
        with pytest.raises(ProviderQuotaError) as caught:
            await provider.execute(payload)
        assert classify(caught.value) == "needs_person"

    @pytest.mark.parametrize("status", [400, 422])
    async def test_a_refused_request_is_shown_with_its_field_and_not_repeated(
        self, far: FarSide, provider: AIProvider, payload: Payload, status: int
    ) -> None:
        far.fails(status, "this is beyond what this model takes", field=far.integer)
        with pytest.raises(ProviderRefusedError, match="beyond what this model takes") as caught:
            await provider.execute(payload)
        assert caught.value.details["field"] == far.integer
        assert classify(caught.value) == "permanent"
        assert far.paid() == 1

    async def test_what_is_no_answer_can_be_tried_again(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        for nonsense in (b"<html>a proxy's page</html>", b'{"id": ', b"[]", b'{"unheard": "of"}'):
            far.answers(Reply(nonsense))
            with pytest.raises(ProviderAnswerError) as caught:
                await provider.execute(payload)
            assert classify(caught.value) == "retryable"

    async def test_a_lost_connection_can_be_tried_again(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        far.answers(Reply(b'{"id": "x", "object": "response"}', cut=5))
        with pytest.raises(ProviderUnavailableError):
            await provider.execute(payload)
        assert far.paid() == 1

    async def test_a_server_that_is_down_is_said_so(self, far: FarSide, provider: AIProvider, payload: Payload) -> None:
        await far.stub.close()
        with pytest.raises(ProviderUnavailableError, match=far.kind.name):
            await provider.execute(payload)

    async def test_an_address_that_is_none_is_not_tried_again(
        self, opened: Open, provider: AIProvider, payload: Payload
    ) -> None:
        lost = opened(base_url="gopher://nowhere")
        lost._models = dict(provider._models)
        with pytest.raises(ProviderRefusedError, match="setting"):
            await lost.execute(payload)

    async def test_a_slow_call_ends_at_its_limit_and_so_does_the_work(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        far.hangs()
        begun = time.monotonic()
        with pytest.raises(ProviderUnavailableError, match=r"within 0\.3 s"):
            await provider.execute(payload, timeout_s=0.3)
        assert time.monotonic() - begun < 30
        await until(lambda: not far.working())

    async def test_a_cancelled_call_is_stopped_at_the_provider(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        far.hangs()
        calling = asyncio.create_task(provider.execute(payload))
        await until(lambda: far.paid() == 1 and far.working())
        await asyncio.sleep(0.05)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await until(lambda: not far.working())

    async def test_an_attached_file_arrives_as_it_is(
        self, far: FarSide, provider: AIProvider, store: LocalBlobStore
    ) -> None:
        attached = Attachment(ref=await store.put(PNG), name="cat.png", media_type="image/png")
        request = ProviderRequest(
            model=far.model, operation=far.operation, prompt="What is it?", attachments=(attached,)
        )
        payload = await provider.create_payload(request)
        assert payload.unplaced == ()
        assert await provider.validate_payload(payload) == []
        assert PNG not in payload.model_dump_json().encode(), "a payload names files"
        far.says("A cat.")
        await provider.execute(payload)
        assert far.received() == [PNG]

    async def test_a_file_that_is_not_there_is_named_before_anything_is_paid(
        self, far: FarSide, provider: AIProvider
    ) -> None:
        attached = Attachment(ref="0" * 64, name="cat.png", media_type="image/png")
        request = ProviderRequest(
            model=far.model, operation=far.operation, prompt="What is it?", attachments=(attached,)
        )
        payload = await provider.create_payload(request)
        with pytest.raises(BlobNotFoundError, match="0" * 64):
            await provider.execute(payload)
        assert far.paid() == 0

    async def test_a_refusal_is_a_response_that_the_audit_marks(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        far.refuses()
        if far.refusal_is_an_error:
            with pytest.raises(ProviderModerationError) as caught:
                await provider.execute(payload)
            assert classify(caught.value) == "permanent"
            return
        response = await provider.execute(payload)
        audit = await provider.audit_response(response)
        assert not audit.usable
        assert {finding.code for finding in audit.findings} & {"refusal", "moderation"}

    async def test_an_empty_answer_is_marked(self, far: FarSide, provider: AIProvider, payload: Payload) -> None:
        far.says("")
        audit = await provider.audit_response(await provider.execute(payload))
        assert not audit.usable
        assert "empty" in {finding.code for finding in audit.findings}

    async def test_many_calls_at_once_do_not_mix(
        self, far: FarSide, provider: AIProvider, payload: Payload, store: LocalBlobStore
    ) -> None:
        for number in range(20):
            far.says(f"answer {number}")
        answers = await asyncio.gather(*(provider.execute(payload) for _ in range(20)))
        told = [await said(each, store) for each in answers]
        assert sorted(told) == sorted(f"answer {number}" for number in range(20))

    async def test_errors_cross_processes(self, far: FarSide, provider: AIProvider, payload: Payload) -> None:
        far.fails(429, "slow down", retry_after="7")
        with pytest.raises(ProviderError) as caught:
            await provider.execute(payload)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), again.message, again.details) == (
            type(caught.value),
            caught.value.message,
            caught.value.details,
        )

    async def test_the_key_goes_to_the_provider_and_into_no_value(
        self, far: FarSide, provider: AIProvider, payload: Payload
    ) -> None:
        far.says("Lima.")
        response = await provider.execute(payload)
        capabilities = await provider.get_capabilities(far.model, far.operation)
        assert KEY not in payload.model_dump_json() + response.model_dump_json() + capabilities.model_dump_json()

    async def test_closing_twice_is_no_error(self, far: FarSide, provider: AIProvider, payload: Payload) -> None:
        far.says("Lima.")
        await provider.execute(payload)
        await provider.close()
        await provider.close()
