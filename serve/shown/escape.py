"""Untrusted text in HTML: inert, and visibly what it is.

Everything in a report or in the console that somebody else wrote goes through here: file names, contents, reasons.
"""

from __future__ import annotations

import html
import re

# Shown by their numbers: they are invisible, reorder their surroundings, or are not allowed in HTML at all.
_MARKED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)  # fmt: skip


def inert(text: str) -> str:
    """The text as HTML that shows it and does nothing, also inside a quoted attribute."""
    return _MARKED.sub(lambda found: f"‹U+{ord(found[0]):04X}›", html.escape(text, quote=True))


def isolated(text: str) -> str:
    """The same in an element of its own, so that a right-to-left text does not reorder what stands beside it."""
    return f"<bdi>{inert(text)}</bdi>"
