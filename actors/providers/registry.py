"""Which providers there are: the built-in ones, and those that installed packages name as entry points.

A package offers one by `[project.entry-points."hyvve.providers"]`, `name = "module:Class"`, the class being an
`AIProvider` of that name.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from actors.errors import BadProviderError, UnknownProviderError
from actors.providers.base import AIProvider
from actors.providers.files import Files
from actors.providers.models import Capabilities
from actors.settings import ProviderSettings

GROUP = "hyvve.providers"

# By name, for their libraries take up to a second to import.
_BUILT_IN = MappingProxyType(
    {
        "replicate": "actors.providers.replicate:ReplicateProvider",
        "openai": "actors.providers.openai:OpenAIProvider",
        "anthropic": "actors.providers.anthropic:AnthropicProvider",
        "huggingface": "actors.providers.huggingface:HuggingFaceProvider",
    }
)


class ProviderRegistry:
    """Every provider, opened when it is first asked for. What is opened belongs to the event loop that asks first."""

    def __init__(self, settings: ProviderSettings, files: Files) -> None:
        self._settings = settings
        self._files = files
        self._opened: dict[str, AIProvider] = {}

    def names(self) -> tuple[str, ...]:
        """The built-in ones first, then those found, by name."""
        return (*_BUILT_IN, *sorted({point.name for point in _found()} - set(_BUILT_IN)))

    def provider(self, name: str) -> AIProvider:
        """The provider of that name, whether or not it can be used now. Raises `UnknownProviderError`, naming those
        there are, or `BadProviderError` for one that cannot be loaded.
        """
        opened = self._opened.get(name)
        if opened is None:
            kind = self._kind(name)
            opened = self._opened[name] = kind(self._settings.reach_of(name), self._settings, self._files)
        return opened

    async def capabilities(self) -> list[Capabilities]:
        """What each provider can do here and now; one that cannot be loaded is there with the reason."""
        found = []
        for name in self.names():
            try:
                found.append(await self.provider(name).get_capabilities())
            except BadProviderError as error:
                found.append(
                    Capabilities(
                        provider=name, available=False, missing=error.message, idempotent=False, cancellable=False
                    )
                )
        return found

    async def close(self) -> None:
        opened, self._opened = self._opened, {}
        for each in opened.values():
            await each.close()

    def _kind(self, name: str) -> type[AIProvider]:
        if name in _BUILT_IN:
            module, _, attribute = _BUILT_IN[name].partition(":")
            kind: type[AIProvider] = getattr(importlib.import_module(module), attribute)
            return kind
        points = [point for point in _found() if point.name == name]
        if not points:
            raise UnknownProviderError(
                f"there is no provider {name[:100]!r}; use one of {', '.join(self.names())}", subject=name[:100]
            )
        return _loaded(points)


@cache
def _found() -> tuple[EntryPoint, ...]:
    # Once a process: every installed package's metadata is read for it.
    return tuple(entry_points(group=GROUP))


def forget_found() -> None:
    """Look for entry points anew: a package was installed."""
    _found.cache_clear()


def _loaded(points: list[EntryPoint]) -> type[AIProvider]:
    name = points[0].name
    if len({point.value for point in points}) > 1:
        both = " and ".join(sorted({point.value for point in points}))
        raise BadProviderError(f"two packages offer a provider {name!r}: {both}; uninstall one", subject=name)
    try:
        kind = points[0].load()
    except Exception as error:  # whatever a stranger's module does at its import
        raise BadProviderError(
            f"the provider {name!r} cannot be loaded from {points[0].value}: {type(error).__name__}: {error}"[:500],
            subject=name,
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, AIProvider)):
        raise BadProviderError(f"{points[0].value} is no AIProvider", subject=name)
    if getattr(kind, "name", None) != name:
        raise BadProviderError(
            f"{points[0].value} calls itself {getattr(kind, 'name', None)!r}, its entry point {name!r}", subject=name
        )
    if abstract := sorted(kind.__abstractmethods__):
        raise BadProviderError(f"{points[0].value} lacks {', '.join(abstract)}", subject=name)
    return kind
