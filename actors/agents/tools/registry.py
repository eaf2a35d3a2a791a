"""Every tool that an agent can use, by name. A new tool is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from actors.agents.tools import (
    campaign_data,
    data_preprocessor,
    make_verification_decision,
    read_file_content,
    scores,
    update_contribution_verification,
    walrus_storage,
    web_search,
)
from actors.agents.tools.tool import Tool
from actors.errors import UnknownToolError

_ALL: tuple[Tool[Any], ...] = (
    web_search.TOOL,
    campaign_data.TOOL,
    update_contribution_verification.TOOL,
    walrus_storage.TOOL,
    data_preprocessor.TOOL,
    read_file_content.TOOL,
    scores.TEXT,
    scores.IMAGE,
    make_verification_decision.TOOL,
)

TOOLS: Mapping[str, Tool[Any]] = MappingProxyType({tool.name: tool for tool in _ALL})


def tools(names: Iterable[str]) -> tuple[Tool[Any], ...]:
    """The tools of these names, in order. Raises `UnknownToolError`, naming those there are."""
    return tuple(tool(name) for name in names)


def tool(name: str, *, allowed: Iterable[str] | None = None) -> Tool[Any]:
    """The tool of this name. Raises `UnknownToolError` where there is none, or it is not among those allowed."""
    usable = TOOLS if allowed is None else [each for each in allowed if each in TOOLS]
    if name not in usable:
        raise UnknownToolError(f"there is no tool {name!r} here; use one of: {', '.join(usable)}", subject=name)
    return TOOLS[name]
