"""What helps to decide on a review, part by part: each as what it is, and all of it inert.

A part is inline, or kept here (a stored file, a blob) and read like any contribution's content. What lies elsewhere is
named, and nothing loads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from actors.settings import ReadLimits
from actors.verification.view import View, view
from serve.console.contents import Contents, Named
from storage import stored_files
from storage.engine import Database
from storage.errors import NotFoundError

_INLINE = {"text": "text/plain", "csv": "text/csv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One part. `view` is of texts, tables, PDFs, images and media; `value` of JSON, marks, differences and choices.

    `kept` says that its content lies here, to be drawn, played or saved.
    """

    number: int
    kind: str
    title: str
    name: str = ""
    url: str = ""
    view: View | None = None
    value: Any = None
    kept: bool = False


async def shown(
    parts: Sequence[Mapping[str, Any]], *, contents: Contents, database: Database, limits: ReadLimits
) -> list[Shown]:
    """The parts of a review's row, in order."""
    return [
        await _shown(number, part, contents=contents, database=database, limits=limits)
        for number, part in enumerate(parts)
    ]


def choices(found: Sequence[Shown]) -> list[str]:
    """The keys of what may be picked, in order."""
    return [str(each["key"]) for part in found if part.kind == "choices" for each in part.value if "key" in each]


async def named(part: Mapping[str, Any], database: Database) -> Named | None:
    """Where the part's content is kept; `None` where it is inline, or elsewhere. Raises `NotFoundError`."""
    if part.get("file_id"):
        async with database.read() as session:
            row = await stored_files.get(session, UUID(str(part["file_id"])))
        return Named(row.blob_id, declared_type=row.media_type, file_name=row.name)
    if part.get("blob_id"):
        return Named(str(part["blob_id"]), declared_type=part.get("media_type"), file_name=part.get("name"))
    return None


async def _shown(
    number: int, part: Mapping[str, Any], *, contents: Contents, database: Database, limits: ReadLimits
) -> Shown:
    kind, content = str(part["kind"]), part.get("content")
    base = Shown(number=number, kind=kind, title=str(part["title"]), name=str(part.get("name") or ""))
    if part.get("url"):
        return replace(base, url=str(part["url"]))
    if content is None:
        try:
            where = await named(part, database)
        except NotFoundError as error:
            return replace(base, view=View(kind="nothing", name="nothing", size=0, notes=(error.message,)))
        if where is None:
            return base
        return replace(base, view=await contents.view(where), kept=True)
    if isinstance(content, str) and kind in ("text", "csv", "image", "pdf"):
        data = content.encode("utf-8", "replace")
        found = await view(data, limits, file_name=None, declared_type=_INLINE.get(kind, "text/plain"))
        return replace(base, view=found)
    if kind == "marks":
        return replace(base, value=_marks(content))
    if kind == "diff" and isinstance(content, list) and all(isinstance(each, dict) for each in content):
        return replace(base, value=content)
    if kind == "choices" and isinstance(content, list) and all(isinstance(each, dict) for each in content):
        return replace(base, value=content)
    return replace(base, kind="json", value=content)


def _marks(content: Any) -> list[dict[str, Any]]:
    """Marks as lines of a table, however they are given. A `measured` one was held against a limit, in whatever unit it
    has; the others are of 100.
    """
    given = content.items() if isinstance(content, Mapping) else [
        (each.get("name", each.get("criterion", "")), each) for each in content if isinstance(each, Mapping)
    ] if isinstance(content, list) else []  # fmt: skip
    found = []
    for name, mark in given:
        value = mark.get("mark", mark.get("value")) if isinstance(mark, Mapping) else mark
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        more = mark if isinstance(mark, Mapping) else {}
        found.append({
            "name": str(name), "mark": number, "value": value, "reason": more.get("reason", ""),
            "measured": isinstance(more.get("passed"), bool), "passed": more.get("passed"), "limit": more.get("limit"),
        })  # fmt: skip
    return found
