"""Every tool that an agent can use, by name. A new tool is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from actors.agents.deps import AthenaDeps
from actors.agents.tools.make_verification_decision import make_verification_decision
from actors.agents.tools.read_file_content import read_file_content
from actors.agents.tools.scores import get_image_verification_score, get_text_verification_score


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that an agent calls with the dependencies and keyword arguments."""

    name: str
    purpose: str
    run: Callable[..., Awaitable[Any]]

    async def __call__(self, deps: AthenaDeps, **arguments: Any) -> Any:
        return await self.run(deps, **arguments)


TOOLS = MappingProxyType(
    {
        tool.name: tool
        for tool in (
            Tool("read_file_content", "read a file, whole or as a preview", read_file_content),
            Tool("get_text_verification_score", "mark a text against the brief", get_text_verification_score),
            Tool("get_image_verification_score", "mark an image against the brief", get_image_verification_score),
            Tool("make_verification_decision", "turn a score or an error into a verdict", make_verification_decision),
        )
    }
)
