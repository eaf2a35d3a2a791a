"""HTML as plain text: what search services send as titles and snippets."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from actors.agents.search.base import Hit

_TITLE, _SNIPPET, _URL = 300, 800, 2_000
_SPACE = re.compile(r"\s+")


def plain(html: str) -> str:
    """The text without tags, entities resolved, white space made single."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    return _SPACE.sub(" ", "".join(parser.parts)).strip()


def hit(title: object, url: object, snippet: object) -> Hit | None:
    """A bounded hit; `None` where what came is no text, or the URL none of the web's."""
    if not (isinstance(url, str) and url.startswith(("https://", "http://")) and len(url) <= _URL):
        return None
    return Hit(plain(_text(title))[:_TITLE] or url[:_TITLE], url, plain(_text(snippet))[:_SNIPPET])


def _text(value: object) -> str:
    return value[:20_000] if isinstance(value, str) else ""


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
