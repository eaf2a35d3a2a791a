"""Marks by which somebody claims a right: notices, signs, and the watermarks of picture agencies."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SIGNS = re.compile("[\u00a9\u00ae\u2117\u2122\u2120]")
_YEAR = r"(?:1[89]|20)\d\d"
_NOTICES = re.compile(
    r"\(c\)\s*(?:copyright\s+)?" + _YEAR + r"\b"
    r"|\bcopyright(?:ed)?\s*(?:\(c\)\s*)?(?:" + _YEAR + r"\b|by\s+[A-Z]\w+|holders?\s*:)"
    r"|\ball rights reserved\b|\btous droits r[ée]serv[ée]s\b|\btodos los derechos reservados\b"
    r"|\btodos os direitos reservados\b|\balle rechte vorbehalten\b|\btutti i diritti riservati\b"
    r"|\balle rechten voorbehouden\b|\bwszelkie prawa zastrzeżone\b|\btüm hakları saklıdır\b|\bвсе права защищены\b"
    r"|جميع الحقوق محفوظة|版权所有|版權所有|著作权所有|无断转载|無断転載|禁止转载|모든 권리 보유|무단 전재",
    re.IGNORECASE,
)
_AGENCIES = re.compile(
    r"\b(?:getty\s?images|shutterstock|istock(?:photo)?|adobe\s?stock|alamy|dreamstime|depositphotos|123rf)\b",
    re.IGNORECASE,
)
# Signs in these are typography, or the law's name, and claim nothing.
_EMOJI = "\ufe0f"


def copyright_marks(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each mark, in order of their kinds."""
    for found in _SIGNS.finditer(text):
        if text[found.end() : found.end() + 1] != _EMOJI:
            yield found.span()
    for pattern in (_NOTICES, _AGENCIES):
        for found in pattern.finditer(text):
            yield found.span()
