"""A language model as an agent uses it: asked once, bounded in time, its errors classified, its tokens counted."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import Runnable

from actors.agents.llms.keeping import keepable
from actors.agents.llms.prices import PriceList, Usage, spent
from actors.agents.llms.streamed_calls import calls_fault, calls_of, said_in, size_of, without_calls
from actors.errors import LLMAnswerError, LLMError, LLMRefusedError, LLMUnavailableError

log = logging.getLogger(__name__)

OnToken = Callable[[str], Awaitable[None] | None]
"""Called with each piece of text as it comes."""

# Ends that another try would meet again: OpenAI's filter, and https://ai.google.dev/api/generate-content#FinishReason.
_BLOCKED = frozenset(
    {"content_filter", "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"}
)
_CUT_OFF = frozenset({"length", "MAX_TOKENS"})


@dataclass(frozen=True, slots=True)
class Answer:
    """`message` may hold tool calls, valid and invalid; text and tool calls are never both missing."""

    message: AIMessage
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class LLM:
    """`choice` is what the agent's configuration says, `model` the id that the provider knows."""

    choice: str
    provider: str
    model: str
    chat: BaseChatModel
    prices: PriceList
    timeout_s: float
    silence_s: float

    async def ask(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        on_token: OnToken | None = None,
    ) -> Answer:
        """One try; streamed where `on_token` is given. `tools` are schemas as `Tool.schema` gives them.

        Raises an `LLMError` of the class that says whether another try can help; `details["usage"]` holds what an
        answer that cannot be used, or broke off, has cost all the same (`prompt_tokens`, `completion_tokens`,
        `cost_micro_usd`).
        """
        chat: Runnable[Any, AIMessage] = self.chat
        if tools:
            chat = self.chat.bind_tools([dict(tool) for tool in tools])
        chunks: list[AIMessageChunk] = []
        try:
            async with asyncio.timeout(self.timeout_s):
                if on_token is None:
                    message = await chat.ainvoke(list(messages))
                else:
                    message = await self._streamed(chat, list(messages), on_token, chunks)
        except Exception as error:
            found = self._fault(error)
            if chunks or isinstance(error, TimeoutError):
                # Who began to answer, or was heard no more after it was asked, is paid.
                found.details["usage"] = spent(self.estimated(messages, tools, said_in(chunks)))
            if found is error:
                raise
            raise found from error
        message = keepable(message)
        usage = self._usage(message, messages, tools)
        self._require_use(message, usage)
        return Answer(message, usage)

    def estimated(
        self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]], said: BaseMessage | str
    ) -> Usage:
        """What it costs to be asked this and to say that, as nobody has counted it."""
        answer = AIMessage(said) if isinstance(said, str) else said
        return self._priced(
            count_tokens_approximately(list(messages), tools=[dict(tool) for tool in tools] or None),
            count_tokens_approximately([answer]),
            estimated=True,
        )

    async def _streamed(
        self,
        chat: Runnable[Any, AIMessage],
        messages: list[BaseMessage],
        on_token: OnToken,
        chunks: list[AIMessageChunk],
    ) -> AIMessage:
        """The whole answer; `chunks` are what has come of it so far."""
        size = 0
        async with aclosing(chat.astream(messages)) as stream:  # type: ignore[type-var]  # an async generator, typed as an iterator
            while True:
                try:
                    async with asyncio.timeout(self.silence_s):
                        chunk = await anext(stream, None)
                except TimeoutError as error:
                    said = f"{self.model} at {self.provider} was silent for {self.silence_s:g} s"
                    raise TimeoutError(said) from error
                if chunk is None:
                    break
                assert isinstance(chunk, AIMessageChunk)
                chunks.append(chunk)
                size += size_of(chunk)
                if fault := calls_fault(chunks, size):
                    raise LLMAnswerError(f"{self.model} at {self.provider} {fault}", subject=self.model)
                if text := chunk.text:
                    waiting = on_token(text)
                    if inspect.isawaitable(waiting):
                        await waiting
        if not chunks:
            raise LLMAnswerError(f"{self.model} at {self.provider} streamed nothing", subject=self.model)
        message = message_chunk_to_message(add_ai_message_chunks(*map(without_calls, chunks)))
        assert isinstance(message, AIMessage)
        message.tool_calls, message.invalid_tool_calls = calls_of(chunks)
        if not message.response_metadata.get("finish_reason"):
            # The connection can end between two events without anybody noticing.
            raise LLMUnavailableError(
                f"the stream of {self.model} at {self.provider} ended before its answer did", subject=self.model
            )
        return message

    def _usage(self, message: AIMessage, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]) -> Usage:
        counted = message.usage_metadata
        if counted is None or not counted["input_tokens"]:
            return self.estimated(messages, tools, message)
        cached = counted.get("input_token_details", {}).get("cache_read") or 0
        return self._priced(counted["input_tokens"], counted["output_tokens"], cached)

    def _priced(self, prompt: int, completion: int, cached: int = 0, *, estimated: bool = False) -> Usage:
        return Usage(
            model=self.model,
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=cached,
            cost_micro_usd=self.prices.cost_micro_usd(
                self.model, prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached
            ),
            estimated=estimated,
        )

    def _require_use(self, message: AIMessage, usage: Usage) -> None:
        """Refuse what nobody can go on with."""
        paid = spent(usage)
        told = message.response_metadata
        finish = str(told.get("finish_reason") or "")
        blocked = finish if finish in _BLOCKED else (told.get("prompt_feedback") or {}).get("block_reason")
        if blocked:
            reason = getattr(blocked, "value", blocked)
            raise LLMRefusedError(
                f"{self.provider}'s filter stopped the answer of {self.model}: {reason}",
                subject=self.model,
                usage=paid,
            )
        if refusal := message.additional_kwargs.get("refusal"):
            raise LLMRefusedError(f"{self.model} refused: {str(refusal)[:300]}", subject=self.model, usage=paid)
        if finish in _CUT_OFF:
            raise LLMAnswerError(
                f"the answer of {self.model} was cut off at its length limit", subject=self.model, usage=paid
            )
        if not (message.text.strip() or message.tool_calls or message.invalid_tool_calls):
            raise LLMAnswerError(
                f"{self.model} answered with neither text nor a tool call", subject=self.model, usage=paid
            )

    def _slow(self, error: TimeoutError) -> LLMError:
        # The library's own watch over silences says more than the word "timeout".
        said = str(error) or f"{self.model} at {self.provider} did not answer within {self.timeout_s:g} s"
        return LLMUnavailableError(said[:300], subject=self.model)

    def _fault(self, error: Exception) -> LLMError:
        if isinstance(error, TimeoutError):
            return self._slow(error)
        from actors.agents.llms.faults import fault_of  # noqa: PLC0415 - it imports the clients

        found = fault_of(error, provider=self.provider, model=self.model)
        if type(found) is LLMError:
            log.error("%s failed in a way nobody foresaw", self.choice, exc_info=error)
        return found
