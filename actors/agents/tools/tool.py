"""What a tool is: a name, what the model is told of it, the arguments it takes, and a function.

A model's call goes through `Tool.call`, which never raises for what the model or the content did wrong: that becomes
data the model can read. What fails for every call alike (the database) is raised, for the step to be tried again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from actors.agents.deps import ToolContext

ArgsT = TypeVar("ArgsT", bound=BaseModel)

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What came of a call. `content` is JSON and goes to the model (`text` as it reads it), bounded in size.

    `left_out` says in sentences what was cut. `scratchpad` is merged into the workflow's. `error` is the code of what
    went wrong, `None` where all went well; `content` then holds `error` and `message`.
    """

    content: JsonObject
    left_out: tuple[str, ...] = ()
    scratchpad: JsonObject = field(default_factory=dict)
    error: str | None = None

    @property
    def text(self) -> str:
        """As a tool message carries it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Generic[ArgsT]):
    """`effect` is `writes` where a call changes something outside the run: such a call is made once, under a key."""

    name: str
    description: str
    args_model: type[ArgsT]
    run: Callable[[ArgsT, ToolContext], Awaitable[ToolResult]]
    effect: Literal["reads", "writes"] = "reads"

    def schema(self) -> dict[str, Any]:
        """For `bind_tools`: `{"type": "function", "function": {name, description, parameters}}`."""
        raise NotImplementedError

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Validate, run within the time limit, bound the result. Raises what fails for every call alike."""
        raise NotImplementedError
