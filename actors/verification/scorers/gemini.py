"""Gemini, text and vision, through langchain-google-genai over REST.

Wire format: https://ai.google.dev/api/generate-content. Errors come in Google's envelope
(https://cloud.google.com/apis/design/errors); a 429 says how long to wait in a RetryInfo detail.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

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
from actors.verification.scorers.images import presentable
from actors.verification.scorers.llm import Completion, LLMScorer
from actors.verification.scorers.pacing import Pacer
from actors.verification.scorers.prompt import SCHEMA, Prompt
from actors.verification.scorers.retrying import RetryPolicy
from actors.verification.scorers.status import classified, retry_after_s

if TYPE_CHECKING:
    from google.genai.errors import APIError
    from langchain_core.messages import AIMessage
    from langchain_google_genai import ChatGoogleGenerativeAI

DEFAULT_MODEL = "gemini-3.5-flash"

# https://ai.google.dev/api/generate-content#FinishReason: ends that another try would meet again.
_BLOCKED = frozenset({"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"})


class GeminiScorer(LLMScorer):
    """Marks texts and images. Temperature 0, and answers held to the schema by the server."""

    name = "gemini"

    def __init__(self, settings: ScorerSettings, *, pacer: Pacer, retry: RetryPolicy | None = None) -> None:
        super().__init__(settings, model=settings.model or DEFAULT_MODEL, pacer=pacer, retry=retry)
        if settings.api_key is None:
            raise MissingKeyError("the gemini scorer has no key: set GOOGLE_API_KEY", subject=self.name)
        try:
            import langchain_google_genai  # noqa: F401, PLC0415 - an extra, and seconds to import
        except ImportError as error:
            raise MissingExtraError("the gemini scorer needs: pip install 'hyvve[gemini]'", subject="gemini") from error
        self._chat: ChatGoogleGenerativeAI | None = None

    async def complete(self, prompt: Prompt, content: Content) -> Completion:
        import httpx  # noqa: PLC0415 - what the SDK speaks through
        from google.genai.errors import APIError  # noqa: PLC0415
        from langchain_core.messages import HumanMessage, SystemMessage  # noqa: PLC0415
        from langchain_google_genai.chat_models import ChatGoogleGenerativeAIError  # noqa: PLC0415

        parts: list[str | dict[Any, Any]] = [{"type": "text", "text": prompt.user}]
        if content.kind == "image":
            media_type, data = await presentable(content)
            parts.append({"type": "media", "mime_type": media_type, "data": data})
        messages = [SystemMessage(prompt.system), HumanMessage(parts)]
        try:
            answer = await self._model().ainvoke(
                messages, response_mime_type="application/json", response_json_schema=SCHEMA
            )
        except APIError as error:
            raise of_google(error) from error
        except ChatGoogleGenerativeAIError as error:
            if isinstance(error.__cause__, APIError):
                raise of_google(error.__cause__) from error
            raise ScorerAnswerError(f"gemini's answer cannot be used: {error}", subject=self.name) from error
        except (httpx.HTTPError, OSError) as error:
            cause = str(error) or type(error).__name__
            raise ScorerUnavailableError(f"no connection to gemini: {cause}", subject=self.name) from error
        except ValueError as error:  # a body that is not JSON, or not a response
            raise ScorerAnswerError(f"gemini's answer cannot be read: {error}", subject=self.name) from error
        return _completion(answer)

    async def close(self) -> None:
        await super().close()
        if self._chat is not None:
            client, self._chat = self._chat.client, None
            if client is not None:
                await client.aio.aclose()
                client.close()

    def _model(self) -> ChatGoogleGenerativeAI:
        import httpx  # noqa: PLC0415
        from google.genai import Client  # noqa: PLC0415
        from google.genai.types import HttpOptions  # noqa: PLC0415
        from langchain_google_genai import ChatGoogleGenerativeAI  # noqa: PLC0415

        if self._chat is None:
            assert self.settings.api_key is not None
            chat = ChatGoogleGenerativeAI(
                model=self.model,
                google_api_key=self.settings.api_key,
                vertexai=False,
                temperature=0,
                max_retries=1,  # the first try only: `retrying` does the others, with the pacer knowing
                timeout=self.settings.timeout_s,
            )
            # A transport of our own: over aiohttp the SDK meets a lost connection with a sleep of up to 10 s and a try
            # of its own, in the slot that others wait for.
            transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))
            options = HttpOptions(base_url=self.settings.base_url, async_client_args={"transport": transport})
            chat.client = Client(api_key=self.settings.api_key.get_secret_value(), http_options=options)
            self._chat = chat
        return self._chat


def of_google(error: APIError) -> ScorerError:
    """What an error of Google's client means for us."""
    envelope = error.details if isinstance(error.details, dict) else {}
    fault = envelope.get("error", envelope)
    fault = fault if isinstance(fault, dict) else {}
    details = [item for item in fault.get("details") or [] if isinstance(item, dict)]
    said = str(fault.get("message") or error.message or error.status)
    code = str(fault.get("status") or "")
    if error.code == 429 and any("PerDay" in str(item) for item in details):
        # The day's quota is spent: minutes of waiting do not bring it back.
        spent = f"gemini answered 429: the quota of the day is spent: {said[:500]}"
        return ScorerRefusedError(spent, subject="gemini", status=429)
    headers = getattr(error.response, "headers", None) or {}
    wait = retry_after_s(headers.get("retry-after") or headers.get("Retry-After"))
    for item in details:
        if found := re.fullmatch(r"(\d+(?:\.\d+)?)s", str(item.get("retryDelay", ""))):
            wait = float(found.group(1))
    return classified("gemini", error.code, said, code=code, wait_s=wait)


def _completion(answer: AIMessage) -> Completion:
    finish = str(answer.response_metadata.get("finish_reason") or "")
    feedback = answer.response_metadata.get("prompt_feedback") or {}
    if blocked := (finish if finish in _BLOCKED else feedback.get("block_reason")):
        reason = getattr(blocked, "value", blocked)
        raise ScorerRefusedError(f"gemini's filter stopped the answer: {reason}", subject="gemini")
    if finish == "MAX_TOKENS":
        raise ScorerAnswerError("the model's answer was cut off at its length limit", subject="gemini")
    counted = answer.usage_metadata
    usage = {}
    if counted is not None:
        usage = {"prompt_tokens": counted["input_tokens"], "completion_tokens": counted["output_tokens"]}
    return Completion(answer.text, usage)
