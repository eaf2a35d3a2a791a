"""The forms of a page as a browser without scripts has them: where each is sent, and what is in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

from tests.serve.console.conftest import SAME_ORIGIN


@dataclass(slots=True)
class PageForm:
    """`fields` as they stand in the page; `button` is what its button says, but for its key."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    button: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[PageForm] = []
        self._open: PageForm | None = None
        self._within = ""
        self._area: str | None = None
        self._select: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = PageForm(given.get("action", ""), given.get("method", "get"))
            self.forms.append(self._open)
        form = self._open
        if form is None:
            return
        if tag == "input" and "name" in given:
            form.fields[given["name"]] = given.get("value", "")
        elif tag == "textarea":
            self._area = given["name"]
            form.fields[self._area] = ""
        elif tag == "select":
            self._select = given["name"]
        elif tag == "option" and self._select is not None and (self._select not in form.fields or "selected" in given):
            form.fields[self._select] = given.get("value", "")
        elif tag in {"button", "kbd"}:
            self._within = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "textarea":
            self._area = None
        elif tag == "select":
            self._select = None
        elif tag in {"button", "kbd"}:
            self._within = ""

    def handle_data(self, data: str) -> None:
        if self._open is None:
            return
        if self._area is not None:
            # Its first line break is the markup's.
            known = self._open.fields[self._area]
            self._open.fields[self._area] = known + (data if known else data.removeprefix("\n"))
        elif self._within == "button":
            self._open.button += data


def forms(page: str) -> list[PageForm]:
    """All of them, in order."""
    reader = _Reader()
    reader.feed(page)
    return reader.forms


def form(page: str, button: str) -> PageForm:
    """The one whose button says this."""
    (found,) = [each for each in forms(page) if each.button.strip() == button]
    return found


async def press(client: httpx.AsyncClient, page: str, button: str, **fields: str) -> httpx.Response:
    """Send the form with that button as it stands in the page, but for these fields."""
    found = form(page, button)
    assert found.method == "post"
    return await client.post(found.action, data=found.fields | fields, headers=SAME_ORIGIN)


async def pressed(client: httpx.AsyncClient, page: str, button: str, **fields: str) -> str:
    """The page that pressing it leads to."""
    answer = await press(client, page, button, **fields)
    assert answer.status_code == 303, (button, answer.status_code, answer.text)
    return await shown(client, answer.headers["location"])


async def shown(client: httpx.AsyncClient, address: str) -> str:
    """The page at an address of the console's."""
    page = await client.get(address)
    assert page.status_code == 200, (address, page.status_code, page.text)
    return page.text
