"""What a tool is: a name, what the model is told of it, the arguments it takes, and a function.

A model's call goes through `Tool.call`, which never raises for what the model or the content did wrong: that becomes
data the model can read. What fails for every call alike (the database) is raised, for the step to be tried again.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from actors.agents.deps import ToolContext
from actors.agents.tools.bounds import encoded, fitted
from actors.errors import ToolArgumentsError, ToolTimeoutError, UnexpectedItemError
from actors.verification.rows import storable
from storage.errors import DatabaseUnavailableError, HyvveError

log = logging.getLogger(__name__)

ArgsT = TypeVar("ArgsT", bound=BaseModel)

JsonObject = dict[str, Any]

# Faults of a call that are told; a model that made more begins again anyway.
_FAULTS_TOLD = 5
# Of a schema: Gemini refuses formats that it does not know, and arguments are checked here anyway.
_UNSAID = frozenset({"title", "additionalProperties", "format"})


class Arguments(BaseModel):
    """What a tool takes. An argument that it does not know is refused, for the model meant something by it.

    Defaults rather than `None`: not every provider can say "or nothing" in a schema.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What came of a call. `content` is JSON and goes to the model (`text` as it reads it), bounded in size.

    `left_out` says in sentences what was cut. `scratchpad` is merged into the workflow's. `error` is the code of what
    went wrong, `None` where all went well; `content` then holds `error` and `message`, and `cause` is the error itself.
    """

    content: JsonObject
    left_out: tuple[str, ...] = ()
    scratchpad: JsonObject = field(default_factory=dict)
    error: str | None = None
    cause: HyvveError | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        """As a tool message carries it."""
        return encoded({**self.content, "left_out": list(self.left_out)} if self.left_out else self.content)

    @classmethod
    def failed(cls, error: HyvveError, *, scratchpad: JsonObject | None = None) -> ToolResult:
        """The error as data."""
        content = {"error": error.code, "message": error.message}
        return cls(content=content, error=error.code, scratchpad=scratchpad or {}, cause=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Generic[ArgsT]):
    """`effect` is `writes` where a call changes something outside the run: such a call is made once, under a key.

    `timeout_s` is for a tool that may take longer than others do. `fills` are the keys of the scratchpad that it writes
    and that templates may name.
    """

    name: str
    description: str
    args_model: type[ArgsT]
    run: Callable[[ArgsT, ToolContext], Awaitable[ToolResult]]
    effect: Literal["reads", "writes"] = "reads"
    timeout_s: float | None = None
    fills: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """For `bind_tools`: `{"type": "function", "function": {name, description, parameters}}`."""
        # A copy: what is handed out is anybody's to change.
        parameters = copy.deepcopy(_parameters(self.args_model))
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Validate, run within the time limit, bound the result. Raises what fails for every call alike."""
        try:
            return self._bounded(await self._run(arguments, context), context)
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise DatabaseUnavailableError(f"the database does not answer {self.name}: {error}"[:300]) from error
        except DatabaseUnavailableError:
            raise
        except HyvveError as error:
            return self._bounded(ToolResult.failed(error), context)
        except Exception as error:  # a library's surprise at what a model or a stranger gave it
            log.exception("%s failed in a way nobody foresaw", self.name)
            said = f"an unforeseen error in {self.name}: {type(error).__name__}: {error}"[:500]
            return ToolResult.failed(UnexpectedItemError(said, subject=self.name))

    async def _run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        args = self._validated(arguments)
        limit_s = self.timeout_s or context.limits.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await self.run(args, context)
        except TimeoutError:
            raise ToolTimeoutError(
                f"{self.name} took longer than the limit of {limit_s:g} s", subject=self.name
            ) from None

    def _bounded(self, result: ToolResult, context: ToolContext) -> ToolResult:
        content, cut = fitted(result.content, context.limits.max_result_chars)
        left_out = (*result.left_out, *cut)
        return replace(result, content=content, left_out=left_out, scratchpad=_clean(result.scratchpad))

    def _validated(self, arguments: Mapping[str, Any]) -> ArgsT:
        try:
            return self.args_model.model_validate(_clean(dict(arguments)))
        except ValidationError as error:
            faults = [
                f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}"
                for each in error.errors(include_input=False, include_url=False)
            ]
            more = f"; and {len(faults) - _FAULTS_TOLD} more" if len(faults) > _FAULTS_TOLD else ""
            raise ToolArgumentsError(
                f"wrong arguments for {self.name}: {'; '.join(faults[:_FAULTS_TOLD])}{more}"[:1_000], subject=self.name
            ) from None


@cache
def _parameters(args_model: type[BaseModel]) -> dict[str, Any]:
    """The schema of the arguments. Made once: it takes pydantic most of a millisecond."""
    from langchain_core.utils.json_schema import dereference_refs  # noqa: PLC0415 - only a model is told of them

    whole = dereference_refs(args_model.model_json_schema())
    return {
        "type": "object",
        "properties": {name: _plain(each) for name, each in whole.get("properties", {}).items()},
        "required": whole.get("required", []),
    }


def _clean(value: Any) -> Any:
    """Arguments as PostgreSQL and UTF-8 take them: models write NULs and halves of characters, too."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(key)): _clean(each) for key, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list) else value


def _plain(schema: Any) -> Any:
    """Without what says nothing to a model or what some provider does not know."""
    if isinstance(schema, dict):
        return {key: _plain(each) for key, each in schema.items() if key not in _UNSAID}
    return [_plain(each) for each in schema] if isinstance(schema, list) else schema
