"""Values as people read them: moments, spans, amounts, names of states. All of it ends in templates, as text."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any
from uuid import UUID

from markupsafe import Markup

from serve.shown.escape import inert
from storage.clock import now
from storage.reviews import Review

_UNITS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
# How states look: the four tones of the report, and a quiet one.
_TONES = {
    "completed": "accept", "approved": "accept", "accept": "accept", "active": "accept", "edited": "accept",
    "running": "busy", "pending": "quiet", "waiting": "review", "review": "review", "open": "review",
    "failed": "reject", "reject": "reject", "rejected": "reject", "error": "error", "cancelled": "error",
    "skipped": "error", "paused": "error", "expired": "error", "responded": "busy", "overdue": "reject",
    "reminded": "review",
}  # fmt: skip


def tone(state: str) -> str:
    """The tone that a state is shown in; it is always written out besides."""
    return _TONES.get(state.lower(), "quiet")


def pressing(review: Review) -> str:
    """Why somebody should hurry with an open review: that it is overdue, or that its reviewers were reminded of it."""
    if review.state != "open":
        return ""
    if review.due_at is not None and review.due_at <= now():
        return "overdue"
    return "reminded" if review.clock.get("reminded") else ""


def span(seconds: float | None) -> str:
    """A length of time in its two largest units."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for index, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            first, rest = divmod(whole, size)
            if index + 1 < len(_UNITS) and (more := rest // _UNITS[index + 1][0]) and first < 10:
                return f"{first} {unit} {more} {_UNITS[index + 1][1]}"
            return f"{first} {unit}"
    return f"{whole} s"


def moment(at: datetime | None) -> Markup:
    """A moment as how long ago it was, or how far ahead; the moment itself is in the title, for scripts and people."""
    if at is None:
        return Markup("–")
    away = (now() - at).total_seconds()
    words = "just now" if abs(away) < 1.5 else f"{span(abs(away))} ago" if away > 0 else f"in {span(-away)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC", words
    )


def count(number: int, noun: str = "") -> str:
    """A number, with its noun in the plural where there are several."""
    if not noun:
        return f"{number:,}"
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return f"{number:,} {noun}"


def dollars(micro_usd: int | None) -> str:
    """Millionths of a dollar as dollars, to the digits that say something."""
    if not micro_usd:
        return "$0"
    value = micro_usd / 1_000_000
    digits = 2 if value >= 1 else min(6, 2 - math.floor(math.log10(value)))
    return f"${value:,.{digits}f}"


def size(number: int | None) -> str:
    """Bytes in the unit that fits."""
    if number is None:
        return "–"
    if number < 1024:
        return count(number, "byte")
    return f"{number / 1024:,.1f} KiB" if number < 1024 * 1024 else f"{number / 1024 / 1024:,.1f} MiB"


def short(value: UUID | str | None) -> str:
    """The end of an id, which tells ids of the same moment apart; whole where it is no longer than that."""
    text = str(value or "–")
    return text if len(text) <= 14 else f"…{text[-8:]}"


def clipped(text: Any, limit: int = 160) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1].rsplit(" ", 1)[0] + " …"


def points(text: str, limit: int = 20) -> list[str]:
    """The points of a brief, which clients send with `|||` or line breaks between them."""
    found = [part.strip(" \t\r-•") for part in re.split(r"\|\|\||\n", text)]
    return [clipped(part, 400) for part in found if part][:limit]


def shown(value: Any) -> Markup:
    """Anything as text that does nothing: every value that a template prints goes through here."""
    if hasattr(value, "__html__"):
        return Markup(value.__html__())  # noqa: S704  # ours, and escaped when it was made
    return Markup(inert(str(value)))  # noqa: S704  # `inert` escapes


def whole(value: Any) -> Markup:
    """Text in a form's field: escaped, and nothing of it replaced, for it is sent back as it stands."""
    return Markup.escape(str(value))
