"""Personal data in a text: e-mail addresses, telephone numbers, accounts, cards, and numbers that states give persons.

Every number that has check digits is checked: IBAN by ISO 13616 (mod 97), cards by ISO/IEC 7812 (Luhn), state numbers
by their own rules. A run of digits without check or company ("tel.") is no finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date

KINDS = ("email", "phone", "iban", "card", "national_id")

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9_.+%/@-])[A-Za-z0-9][A-Za-z0-9_.+%-]{0,63}@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+([A-Za-z]{2,24}))(?![A-Za-z0-9_-])"
)
# Names kept free for examples; endings of files ("icon@2x.png"); addresses of repositories ("git@host:owner/name").
_NO_MAIL_ENDS = frozenset(
    {"png", "jpg", "jpeg", "gif", "webp", "svg", "js", "css", "ts", "py", "json", "html", "pdf", "example",
     "invalid", "test", "localhost"}
)  # fmt: skip
_NO_MAIL_HOSTS = re.compile(r"(?:^|\.)example\.(?:com|org|net)$", re.IGNORECASE)
# Addresses of files and long runs of letters and digits hold numbers that nobody dials.
_MACHINE = re.compile(r"\b[a-z][a-z0-9+.-]{1,10}://\S+|\bdata:\S+|\b[A-Za-z0-9+/_-]{60,}={0,2}", re.IGNORECASE)

_EDGE = r"(?<![A-Za-z0-9_.,/#-])"
_END = r"(?![A-Za-z0-9_/]|[.,-]\d)"
_PLUS = re.compile(r"(?<![A-Za-z0-9_+])(?:\+|00(?=[1-9]\d[\s./()-]))[1-9](?:[\s./()-]{0,2}\d){7,14}" + _END)
_NORTH_AMERICA = re.compile(_EDGE + r"(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}" + _END)
_TRUNK = re.compile(_EDGE + r"0[1-9](?:[ /.-]?\d){7,10}" + _END)
_GROUPED = re.compile(r"[ /.-]")
_LOOSE = re.compile(_EDGE + r"\(?\d(?:[ ./()-]{0,2}\d){6,13}" + _END)
_SAYS_PHONE = re.compile(
    r"(?:\b(?:tel|phone|telephone|mobile|cell|call|whatsapp|fax|telefon|handy|mobil|ruf|telefono|teléfono|móvil|celular|telefone|"
    r"téléphone|portable|cellulare|telefoon|тел|телефон|моб)\b|电话|電話|手机|手機|携帯|전화|هاتف)\W{0,12}(?:\w+\W{1,3})?$",
    re.IGNORECASE,
)

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
# As in the registry of ISO 13616: the country, and how many signs its accounts have.
_IBAN_LENGTH = {
    entry[:2]: int(entry[2:])
    for entry in [
        "AD24",
        "AE23",
        "AL28",
        "AT20",
        "AZ28",
        "BA20",
        "BE16",
        "BG22",
        "BH22",
        "BR29",
        "CH21",
        "CR22",
        "CY28",
        "CZ24",
        "DE22",
        "DK18",
        "DO28",
        "EE20",
        "EG29",
        "ES24",
        "FI18",
        "FO18",
        "FR27",
        "GB22",
        "GE22",
        "GI23",
        "GL18",
        "GR27",
        "GT28",
        "HR21",
        "HU28",
        "IE22",
        "IL23",
        "IQ23",
        "IS26",
        "IT27",
        "JO30",
        "KW30",
        "KZ20",
        "LB28",
        "LI21",
        "LT20",
        "LU20",
        "LV21",
        "MC27",
        "MD24",
        "ME22",
        "MK19",
        "MR27",
        "MT31",
        "MU30",
        "NL18",
        "NO15",
        "PK24",
        "PL28",
        "PS29",
        "PT25",
        "QA29",
        "RO24",
        "RS22",
        "SA24",
        "SE24",
        "SI19",
        "SK24",
        "SM27",
        "TN24",
        "TR26",
        "UA29",
        "VA22",
        "VG24",
        "XK20",
    ]
}

# Four fours, four-six-five, or all in one.
_CARD = re.compile(
    _EDGE + r"(?:\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{1,4}(?:[ -]\d{1,3})?|3[47]\d{2}[ -]\d{6}[ -]\d{5}|\d{13,19})" + _END
)
_CARD_BRANDS = re.compile(
    r"4\d{12}(?:\d{3})?(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|6(?:011|5\d\d)\d{12,15}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)


def personal_data(text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of each finding; where one number could be two things, the one that its check digits prove."""
    if "@" in text:
        for found in _EMAIL.finditer(text):
            if _is_mail(found, text):
                yield "email", *found.span()
    if not any(sign.isdigit() for sign in text):
        return
    # Same length, so that places stay true.
    plain = _MACHINE.sub(lambda found: " " * len(found[0]), text)
    taken: list[tuple[int, int]] = []
    for kind, start, end in (*_ibans(plain), *_cards(plain), *_state_numbers(plain), *_phones(plain)):
        if all(end <= before or start >= after for before, after in taken):
            taken.append((start, end))
            yield kind, start, end


def _is_mail(found: re.Match[str], text: str) -> bool:
    host, ending = found[1], found[2].lower()
    if ending in _NO_MAIL_ENDS or _NO_MAIL_HOSTS.search(host):
        return False
    after = text[found.end() : found.end() + 2]
    return not (found[0].lower().startswith("git@") and after[:1] == ":")


def _ibans(text: str) -> Iterator[tuple[str, int, int]]:
    for found in _IBAN.finditer(text):
        length = _IBAN_LENGTH.get(found[0][:2])
        end, count = found.start(), 0
        # A word in capitals may follow, and be taken for its end.
        while length is not None and end < found.end() and count < length:
            count += text[end] != " "
            end += 1
        plain = text[found.start() : end].replace(" ", "")
        if length == len(plain) and int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1:
            yield "iban", found.start(), end


def _cards(text: str) -> Iterator[tuple[str, int, int]]:
    for found in _CARD.finditer(text):
        digits = _digits(found[0])
        if _CARD_BRANDS.fullmatch(digits) and luhn(digits):
            yield "card", *found.span()


def _phones(text: str) -> Iterator[tuple[str, int, int]]:
    for pattern in (_PLUS, _NORTH_AMERICA):
        for found in pattern.finditer(text):
            if 8 <= len(_digits(found[0])) <= 16:
                yield "phone", *found.span()
    for found in _TRUNK.finditer(text):
        # A long number that begins with nought may be anything, unless it is written as people write telephone numbers.
        groups = [group for group in _GROUPED.split(found[0]) if group]
        if (2 <= len(groups) <= 6 and not _is_day_or_series(groups)) or _SAYS_PHONE.search(
            text[max(0, found.start() - 40) : found.start()]
        ):
            yield "phone", *found.span()
    for found in _LOOSE.finditer(text):
        if _SAYS_PHONE.search(text[max(0, found.start() - 40) : found.start()]):
            yield "phone", *found.span()


def _is_day_or_series(groups: list[str]) -> bool:
    """Whether it is a day, or a series such as "01 02 03"."""
    if len(groups) > 2 and all(group.startswith("0") for group in groups):
        return True
    return (
        len(groups) <= 4 and len(groups[0]) <= 2 and len(groups[1]) <= 2 and groups[2:3] != [] and len(groups[2]) == 4
    )


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of those before (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _digits(text: str) -> str:
    return "".join(sign for sign in text if "0" <= sign <= "9")


def _state_numbers(text: str) -> Iterator[tuple[str, int, int]]:
    for pattern, proves in _STATE:
        for found in pattern.finditer(text):
            if proves(found):
                yield "national_id", *found.span()


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _china(found: re.Match[str]) -> bool:
    """GB 11643-1999."""
    number = found[0].upper()
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    day = _is_day(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    return day and "10X98765432"[_weighted(number, weights) % 11] == number[17]


def _brazil(found: re.Match[str]) -> bool:
    """CPF: two check digits, mod 11."""
    number = _digits(found[0])
    first = _weighted(number, tuple(range(10, 1, -1))) * 10 % 11 % 10
    second = _weighted(number, tuple(range(11, 1, -1))) * 10 % 11 % 10
    return len(set(number)) > 1 and number[9:] == f"{first}{second}"


def _france(found: re.Match[str]) -> bool:
    """NIR: 97 less the number mod 97; Corsica's letters count as numbers."""
    number = re.sub(r"\s", "", found[0]).upper().replace("2A", "19").replace("2B", "18")
    return number.isdecimal() and 97 - int(number[:13]) % 97 == int(number[13:])


def _spain(found: re.Match[str]) -> bool:
    """DNI and NIE: a letter for the number mod 23."""
    number = found[0].upper().replace("-", "").replace(" ", "")
    value = int(number[:-1].translate(str.maketrans("XYZ", "012")))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[value % 23] == number[-1]


_ITALY_SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ITALY_VALUES = (
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21,
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23,
)  # fmt: skip
_ITALY_ODD = dict(zip(_ITALY_SIGNS, _ITALY_VALUES, strict=True))


def _italy(found: re.Match[str]) -> bool:
    """Codice fiscale (D.M. 12 March 1974)."""
    number = found[0].upper()
    total = sum(
        _ITALY_ODD[sign] if place % 2 == 0 else int(sign, 36) - (10 if sign.isalpha() else 0)
        for place, sign in enumerate(number[:15])
    )
    return chr(65 + total % 26) == number[15]


_VERHOEFF_D = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_P = (
    "0123456789",
    "1576283094",
    "5803796142",
    "8916043527",
    "9453126870",
    "4286573901",
    "2793806415",
    "7046913258",
)


def _india(found: re.Match[str]) -> bool:
    """Aadhaar: Verhoeff's scheme."""
    check = 0
    for place, digit in enumerate(reversed(_digits(found[0]))):
        check = int(_VERHOEFF_D[check][int(_VERHOEFF_P[place % 8][int(digit)])])
    return check == 0


def _sweden(found: re.Match[str]) -> bool:
    """Personnummer: a day, and Luhn over ten digits."""
    number = _digits(found[0])[-10:]
    return luhn(number) and 1 <= int(number[2:4]) <= 12 and 1 <= int(number[4:6]) % 60 <= 31


def _korea(found: re.Match[str]) -> bool:
    """Resident registration number: a day, and mod 11."""
    number = _digits(found[0])
    check = (11 - _weighted(number, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    return _is_day(2000, int(number[2:4]), int(number[4:6])) and check == int(number[12])


_STATE: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], bool]], ...] = (
    # United States: SSN, by the ranges that were never given out.
    (
        re.compile(_EDGE + r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}" + _END),
        lambda found: found[0] != "123-45-6789",
    ),
    # United Kingdom: national insurance number, by the letters that are in use.
    (
        re.compile(
            r"(?<!\w)(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)"
        ),
        bool,
    ),
    (re.compile(_EDGE + r"[1-9]\d{5}(?:19|20)\d{9}[\dXx]" + _END), _china),
    (re.compile(_EDGE + r"\d{3}\.\d{3}\.\d{3}-\d{2}" + _END), _brazil),
    (
        re.compile(_EDGE + r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[ABab]) ?\d{3} ?\d{3} ?\d{2}" + _END),
        _france,
    ),
    (re.compile(r"(?<![\w-])(?:\d{8}|[XYZ][- ]?\d{7})[- ]?[TRWAGMYFPDXBNJZSQVHLCKE](?![\w-])"), _spain),
    (re.compile(r"(?<!\w)[A-Z]{6}\d{2}[ABCDEHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?!\w)", re.IGNORECASE), _italy),
    (re.compile(_EDGE + r"[2-9]\d{3} \d{4} \d{4}" + _END), _india),
    (re.compile(_EDGE + r"(?:19|20)?\d{6}[-+]\d{4}" + _END), _sweden),
    (re.compile(_EDGE + r"\d{6}-[1-8]\d{6}" + _END), _korea),
)
