"""Atoma: its plain chat is OpenAI-compatible; its confidential mode is encrypted end to end by atoma-sdk.

In confidential mode each call first asks for a node's key (`POST /v1/nodes/lock`) and sends the prompt encrypted for
that node (X25519, AES-GCM) to `/v1/confidential/chat/completions`. The SDK (0.1.3) asks for the key with a blocking
call even in its async methods, so the synchronous ones run in threads of their own.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from actors.errors import (
    MissingExtraError,
    MissingKeyError,
    ScorerAnswerError,
    ScorerError,
    ScorerRefusedError,
    ScorerUnavailableError,
)
from actors.settings import ScorerSettings
from actors.verification.models import Content
from actors.verification.scorers.llm import Completion, LLMScorer
from actors.verification.scorers.openai_compatible import OpenAICompatibleScorer
from actors.verification.scorers.pacing import Pacer
from actors.verification.scorers.prompt import Prompt
from actors.verification.scorers.retrying import RetryPolicy
from actors.verification.scorers.status import classified, retry_after_s

if TYPE_CHECKING:
    from atoma_sdk.models import APIError

SERVER = "https://api.atoma.network"
DEFAULT_MODEL = "meta-llama/Llama-3.3-70B-Instruct"
_MOST_THREADS = 64
# The node is paid by tokens reserved ahead, so the SDK wants a bound; a judgement takes about 400.
_MAX_TOKENS = 2_000


def open_atoma(settings: ScorerSettings, *, pacer: Pacer, retry: RetryPolicy | None = None) -> LLMScorer:
    """The plain or, by `settings.confidential`, the confidential scorer."""
    if settings.api_key is None:
        raise MissingKeyError("the atoma scorer has no key: set ATOMASDK_BEARER_AUTH", subject="atoma")
    scorer = AtomaConfidentialScorer if settings.confidential else AtomaScorer
    return scorer(settings, pacer=pacer, retry=retry)


class AtomaScorer(OpenAICompatibleScorer):
    name = "atoma"

    def __init__(self, settings: ScorerSettings, *, pacer: Pacer, retry: RetryPolicy | None = None) -> None:
        super().__init__(settings, pacer=pacer, retry=retry, base_url=f"{SERVER}/v1", model=DEFAULT_MODEL)


class AtomaConfidentialScorer(LLMScorer):
    """Marks texts; the SDK's messages carry no images, so those are left to a person."""

    name = "atoma-confidential"

    def __init__(self, settings: ScorerSettings, *, pacer: Pacer, retry: RetryPolicy | None = None) -> None:
        text_only = settings.model_copy(update={"vision": False})
        super().__init__(text_only, model=settings.model or DEFAULT_MODEL, pacer=pacer, retry=retry)
        try:
            import atoma_sdk  # noqa: PLC0415 - an extra
            import httpx  # noqa: PLC0415 - what the SDK speaks through
        except ImportError as error:
            raise MissingExtraError(
                "the atoma scorer's confidential mode needs: pip install 'hyvve[atoma]'", subject="atoma"
            ) from error
        assert settings.api_key is not None
        threads = min(settings.concurrency, _MOST_THREADS)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="atoma")
        limits = httpx.Limits(max_connections=threads, max_keepalive_connections=threads)
        self._http = httpx.Client(limits=limits, timeout=settings.timeout_s)
        self._sdk = atoma_sdk.AtomaSDK(
            bearer_auth=settings.api_key.get_secret_value(),
            # A setting made for the plain endpoint ends in /v1; the SDK adds that itself.
            server_url=(settings.base_url or SERVER).rstrip("/").removesuffix("/v1"),
            client=self._http,
            timeout_ms=int(settings.timeout_s * 1000),
        )

    async def complete(self, prompt: Prompt, content: Content) -> Completion:  # noqa: ARG002 - text is all in the prompt
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._create, prompt)

    async def close(self) -> None:
        await super().close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    def _create(self, prompt: Prompt) -> Completion:
        import httpx  # noqa: PLC0415
        from atoma_sdk.models import APIError, ChatCompletionMessage  # noqa: PLC0415
        from pydantic import ValidationError  # noqa: PLC0415

        messages = [
            ChatCompletionMessage(role="system", content=prompt.system),
            ChatCompletionMessage(role="user", content=prompt.user),
        ]
        try:
            answer = self._sdk.confidential_chat.create(
                model=self.model,
                messages=messages,
                temperature=0,
                max_tokens=_MAX_TOKENS,
                response_format={"type": "json_object"},
            )
        except APIError as error:
            raise _of_atoma(error) from error
        except httpx.HTTPError as error:
            raise ScorerUnavailableError(
                f"no connection to atoma: {type(error).__name__}: {error}", subject=self.name
            ) from error
        except (ValidationError, ValueError) as error:
            raise ScorerAnswerError(f"atoma's answer cannot be read: {error}", subject=self.name) from error
        if not answer.choices:
            raise ScorerAnswerError("atoma's answer has no choice", subject=self.name)
        choice = answer.choices[0]
        if choice.finish_reason == "length":
            raise ScorerAnswerError("the model's answer was cut off at its length limit", subject=self.name)
        if choice.finish_reason == "content_filter":
            raise ScorerRefusedError("the provider's content filter stopped the answer", subject=self.name)
        counted = answer.usage
        usage = (
            {"prompt_tokens": counted.prompt_tokens, "completion_tokens": counted.completion_tokens} if counted else {}
        )
        return Completion(choice.message.content, usage)


def _of_atoma(error: APIError) -> ScorerError:
    if error.raw_response is not None:
        if error.raw_response.status_code == 200:
            # It came, but cannot be decrypted or is no completion (a tool call, say); the SDK calls that a 500 too.
            return ScorerAnswerError(f"atoma's answer cannot be read: {error.message[:500]}", subject="atoma")
        said = f"{error.message}: {error.body}"
        wait = retry_after_s(error.raw_response.headers.get("retry-after"))
        return classified("atoma", error.status_code, said, wait_s=wait)
    # The node's key could not be had; the SDK calls that a 500 and leaves the true status in its text.
    found = re.search(r"Status (\d{3})", error.message)
    if found is None:
        return ScorerUnavailableError(f"atoma gave no node's key: {error.message[:500]}", subject="atoma")
    return classified("atoma", int(found.group(1)), error.message)
