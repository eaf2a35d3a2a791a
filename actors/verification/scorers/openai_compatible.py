"""Any endpoint that speaks OpenAI's chat completions, through langchain-openai.

`ChatOpenAI` holds the model's configuration and the client; the request goes out by that client's untyped `post`, which
keeps its authentication, proxies, connections and errors. A whole `ainvoke` costs 2 ms of CPU a call, `post` over
aiohttp 0.7; calls that go out together come back together, so this time is paid 64 times over in each round.
Wire format: https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import SecretStr

from actors.errors import (
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
    import openai

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4.1-mini"

# From the strictest to none; a server that answers 400 to one is asked with the next, and that is remembered.
_FORMATS: tuple[dict[str, Any] | None, ...] = (
    {"type": "json_schema", "json_schema": {"name": "judgement", "strict": True, "schema": SCHEMA}},
    {"type": "json_object"},
    None,
)
# What a 400 may be about that no other format can cure.
_NOT_THE_FORMAT = frozenset({"context_length_exceeded", "content_policy_violation", "content_filter", "invalid_image"})


class OpenAICompatibleScorer(LLMScorer):
    """Marks texts and, by vision models, images. Temperature 0; structured output where the server has it."""

    name = "openai"

    def __init__(
        self,
        settings: ScorerSettings,
        *,
        pacer: Pacer,
        retry: RetryPolicy | None = None,
        base_url: str = DEFAULT_BASE_URL,
        model: str = DEFAULT_MODEL,
    ) -> None:
        super().__init__(settings, model=settings.model or model, pacer=pacer, retry=retry)
        if settings.api_key is None and settings.base_url is None:
            raise MissingKeyError(
                f"the {self.name} scorer has no key: set OPENAI_API_KEY, or OPENAI_BASE_URL of a server without keys",
                subject=self.name,
            )
        self._base_url = (settings.base_url or base_url).rstrip("/")
        self._client: openai.AsyncOpenAI | None = None
        self._format = 0
        # Some reasoning models refuse any temperature but their own.
        self._sampling: dict[str, Any] = {"temperature": 0}

    async def complete(self, prompt: Prompt, content: Content) -> Completion:
        messages = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": await self._user(prompt, content)},
        ]
        level = self._format
        sampling = self._sampling
        while True:
            body: dict[str, Any] = {"model": self.model, "messages": messages, **sampling}
            if wanted := _FORMATS[level]:
                body["response_format"] = wanted
            try:
                answer = await self._post(body)
            except _RefusedRequestError as refused:
                if refused.names("temperature") and sampling:
                    sampling = {}
                elif refused.may_be_the_format and level + 1 < len(_FORMATS):
                    level += 1
                else:
                    raise refused.error from None
            else:
                self._format, self._sampling = max(level, self._format), sampling
                return _completion(answer)

    async def close(self) -> None:
        await super().close()
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _user(self, prompt: Prompt, content: Content) -> str | list[dict[str, Any]]:
        if content.kind != "image":
            return prompt.user
        media_type, data = await presentable(content)
        url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
        return [{"type": "text", "text": prompt.user}, {"type": "image_url", "image_url": {"url": url}}]

    async def _post(self, body: dict[str, Any]) -> Any:
        import openai  # noqa: PLC0415 - half a second that only this scorer should cost

        try:
            return await self._opened().post("/chat/completions", cast_to=object, content=orjson.dumps(body))
        except openai.APIStatusError as error:
            raise self._of_status(error.status_code, error.response.headers, error.response.content) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            if type(cause).__name__ in {"InvalidURL", "UnsupportedProtocol", "LocalProtocolError"}:
                raise ScorerRefusedError(
                    f"{self._base_url!r} is no http URL: check the endpoint", subject=self.name
                ) from error
            said = f"no connection to {self._base_url}: {type(cause).__name__}: {cause}"
            raise ScorerUnavailableError(said, subject=self.name) from error
        except (openai.APIError, ValueError) as error:
            raise ScorerAnswerError(f"{self.name} answered with no JSON: {error}", subject=self.name) from error

    def _opened(self) -> openai.AsyncOpenAI:
        if self._client is None:
            import openai  # noqa: PLC0415 - see `_post`
            from langchain_openai import ChatOpenAI  # noqa: PLC0415 - see `_post`

            model = ChatOpenAI(
                model=self.model,
                base_url=self._base_url,
                # The client wants one, also for servers without keys.
                api_key=self.settings.api_key or SecretStr("none"),
                max_retries=0,  # `retrying` does it, with the pacer knowing
                timeout=None,  # `LLMScorer` bounds each call
                # A key goes nowhere but to the endpoint it was given for.
                http_async_client=openai.DefaultAioHttpClient(timeout=None, follow_redirects=False),
            )
            self._client = model.root_async_client
        return self._client

    def _of_status(self, status: int, headers: Mapping[str, str], data: bytes) -> Exception:
        said, code, param = error_in(data)
        found = classified(self.name, status, said, code=code, wait_s=asked_wait_s(headers))
        if status in {400, 422} and code not in _NOT_THE_FORMAT:
            return _RefusedRequestError(found, f"{param} {said}")
        return found


def error_in(data: bytes) -> tuple[str, str, str]:
    """(sentence, code, parameter) of an error body: OpenAI's envelope, or one of its imitations."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data[:500].decode("utf-8", "replace") or "(no text)", "", ""
    fault = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(fault, dict):
        return str(fault), "", ""
    said = fault.get("message") or fault.get("detail") or fault
    return str(said), str(fault.get("code") or ""), str(fault.get("param") or "")


def asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait that an answer's headers ask for."""
    # OpenAI says it in milliseconds as well, which is finer.
    milliseconds = retry_after_s(headers.get("retry-after-ms"))
    return retry_after_s(headers.get("retry-after")) if milliseconds is None else milliseconds / 1000


class _RefusedRequestError(Exception):
    """A 400 that may be about an optional part of the request."""

    def __init__(self, error: ScorerError, about: str) -> None:
        super().__init__(about)
        self.error = error
        self._about = about.lower()

    def names(self, parameter: str) -> bool:
        return parameter in self._about

    @property
    def may_be_the_format(self) -> bool:
        # Servers word it in many ways; only what is surely something else is excluded.
        return not any(word in self._about for word in ("context length", "maximum context", "image", "model "))


def _completion(answer: Any) -> Completion:
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        text, refusal, finish = message.get("content"), message.get("refusal"), choice.get("finish_reason")
        counted = answer.get("usage") or {}
        usage = {unit: int(counted.get(unit) or 0) for unit in ("prompt_tokens", "completion_tokens")}
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ScorerAnswerError(f"the answer is no chat completion ({type(error).__name__}: {error})") from error
    if refusal:
        raise ScorerRefusedError(f"the model refused to judge: {str(refusal)[:300]}")
    if finish == "content_filter":
        raise ScorerRefusedError("the provider's content filter stopped the answer")
    if finish == "length":
        raise ScorerAnswerError("the model's answer was cut off at its length limit")
    if text is not None and not isinstance(text, str):
        raise ScorerAnswerError("the model's answer is not a text")
    return Completion(text, usage)
