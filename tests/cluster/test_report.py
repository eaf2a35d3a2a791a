"""The report: inert whatever it shows, complete, and readable by programs."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import time
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

import serve.console
from actors.settings import ReadLimits
from cluster.brief import BriefFile
from cluster.report import page, results_csv
from cluster.report.model import Item, Mark, Preview, Report
from cluster.report.preview import preview, thumbnail
from serve.shown.amounts import coins
from serve.shown.chart import binned, histogram
from serve.shown.difference import MAX_WORDS, marked
from serve.shown.escape import inert

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'</style></title>&lt;"
RTL = "recipe\u202efdp.txt"
VOID = {"meta", "br", "img", "input", "line"}
ALLOWED = VOID | {"rect"} | {
    "html", "head", "title", "style", "body", "a", "header", "p", "h1", "h2", "h3", "bdi", "time", "main", "section", "div",
    "span", "svg", "text", "nav", "ul", "li", "b", "details", "summary", "figure", "figcaption", "mark", "table", "caption",
    "thead", "tbody", "tr", "th", "td", "code", "form", "label", "select", "option", "output", "dl", "dt", "dd",
    "blockquote", "footer", "script",
}  # fmt: skip


class Outline(HTMLParser):
    """Every element with its attributes; fails on what a browser would have to guess."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._open: list[str] = []
        self.feed(document)
        self.close()
        assert self._open == [], f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.raw[self._open[-1]] if self._open and self._open[-1] in self.raw else self.texts).append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def brief(**changes: Any) -> BriefFile:
    return BriefFile.model_validate(
        {"title": "Breads", "description": "Recipes", "data_requirements": ["a"], "quality_criteria": ["b"]} | changes
    )


def item(number: int, **changes: Any) -> Item:
    values: dict[str, Any] = {
        "number": number, "path": f"ann/{number}.txt", "contributor": "ann", "size": 9, "verdict": "ACCEPT", "score": 80.0,
        "raw_score": 80.2, "adjustment": -0.2, "confidence": 0.9, "reasoning": "Good.", "scorer": "local",
        "scorer_version": "1", "content_hash": f"{number:064x}", "media_type": "text/plain",
        "contribution_id": f"00000000-0000-7000-8000-{number:012x}",
    }  # fmt: skip
    return Item(**(values | changes))


def report(*items: Item, **changes: Any) -> Report:
    values: dict[str, Any] = {
        "brief": brief(unit_price=25_000_000), "folder": "/f", "campaign": "c", "batch": "b", "items": items,
        "finished_at": datetime(2026, 11, 21, tzinfo=UTC), "seconds": 2.0, "version": "0",
    }  # fmt: skip
    return Report(**(values | changes))


def hostile() -> Report:
    """Everything that a stranger can write holds markup."""
    return report(
        item(1, path=EVIL, contributor=EVIL, reasoning=EVIL, preview=Preview(text=EVIL + "\x00\u202e words of an original")),
        item(2, path=RTL, contributor=EVIL, media_type=EVIL, left_out=(EVIL,), marks=(Mark(EVIL, 50.0, EVIL),),
             original=1, duplicate_kind="near", similarity=0.9, preview=Preview(text=EVIL + " words of a copy")),
        item(3, verdict="ERROR", score=None, error_code=EVIL, reasoning=EVIL, scorer=EVIL, scorer_version=EVIL),
        item(4, verdict="REVIEW", score=None, preview=Preview(image="data:image/jpeg;base64,AAAA", width=1, height=1)),
        brief=brief(title=EVIL, description=EVIL, data_requirements=[EVIL], quality_criteria=[EVIL]),
        folder=EVIL, campaign=EVIL, batch=EVIL, version=EVIL, skipped=((EVIL, EVIL),), state="cancelled",
    )  # fmt: skip


def test_whatever_strangers_write_stays_text() -> None:
    found = Outline(page.render(hostile()))
    assert {tag for tag, _ in found.elements} <= ALLOWED
    assert len(found.raw["script"]) == len(found.raw["style"]) == 1
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("src", "href", "action", "data", "srcset", "background", "xlink:href", "formaction"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,")), (tag, value)
    # The words are all there, only inert.
    assert EVIL in found.text
    assert "\u202e" not in found.text
    assert "‹U+202E›" in found.text


def test_the_browser_is_told_to_refuse_all_but_its_own_style_and_script() -> None:
    found = Outline(page.render(hostile()))
    policy = next(
        a["content"] for t, a in found.elements if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256("".join(found.raw[kind]).encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    # Nothing is loaded from anywhere.
    assert not re.search(r"(?i)url\(|@import|https?:", "".join(found.raw["style"] + found.raw["script"]))


def colours(sheet: Path, scheme: int) -> dict[str, str]:
    """What a style sheet names for light (0) or dark (1)."""
    return dict(
        re.findall(
            r"--([a-z-]+): (#[0-9a-f]{6});", re.findall(r":root \{(.*?)\}", sheet.read_text(), re.DOTALL)[scheme]
        )
    )


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_word_can_be_read_on_what_it_stands_on(scheme: int) -> None:
    """WCAG 2.1 AA, 4.5 to 1: words as small as a badge's."""
    found = colours(Path(page.__file__).with_name("page.css"), scheme)
    tones = ("accept", "review", "reject", "error")
    pairs = [(name, ground) for name in ("ink", "quiet", "link", *tones) for ground in ("paper", "card", "field")]
    pairs += [*((tone, f"{tone}-soft") for tone in tones), ("ink", "review-soft"), ("marked-ink", "marked")]
    dim = {pair: round(contrast(*(found[name] for name in pair)), 2) for pair in pairs}
    assert {pair: value for pair, value in dim.items() if value < 4.5} == {}
    # One family with the console.
    console = colours(Path(serve.console.__file__).parent / "static" / "console.css", scheme)
    assert {name: console[name] for name in found} == found


def test_the_page_says_what_to_pay_and_why_not_the_others() -> None:
    copy = item(2, verdict="REJECT", original=1, duplicate_kind="exact", similarity=1.0,
                reasoning=f"its content equals contribution {item(1).contribution_id} of ann")  # fmt: skip
    text = Outline(
        page.render(report(item(1), copy, item(3, verdict="ERROR", score=None, error_code="unreadable")))
    ).text
    assert "1 contribution × 0.25 = 0.25 coins" in text
    assert "its content equals contribution ann/1.txt of ann" in text  # and not an id that says nothing
    assert "unreadable" in text
    assert "1 exactly, 0 nearly" in text


def test_a_report_of_nothing_scored_renders() -> None:
    text = Outline(page.render(report(item(1, verdict="ERROR", score=None, error_code=None)))).text
    assert "No contribution has a score." in text


def test_a_large_report_stays_openable_and_says_what_it_leaves_out() -> None:
    many = [
        item(number, original=1 if number > 1 else None, duplicate_kind="near", similarity=0.9)
        for number in range(1, 5102)
    ]
    began = time.monotonic()
    document = page.render(report(*many))
    assert "5,000 of 5,101 are shown; results.csv holds all" in Outline(document).text
    assert len(document) < 20_000_000
    assert time.monotonic() - began < 20


def test_every_score_is_in_the_histogram_once() -> None:
    items = [item(n, score=float(s), verdict=v) for n, (s, v) in enumerate(
        [(0, "REJECT"), (4.99, "REJECT"), (5, "REJECT"), (69.9, "REVIEW"), (70, "ACCEPT"), (100, "ACCEPT")], start=1)]  # fmt: skip
    drawn = histogram(binned((item.score, item.verdict, 1) for item in items), 70.0)
    titles = re.findall(r"<title>(\d+)–(\d+): (\d+) (\w+)</title>", drawn)
    assert sorted(titles) == sorted([
        ("0", "5", "2", "REJECT"), ("5", "10", "1", "REJECT"), ("65", "70", "1", "REVIEW"), ("70", "75", "1", "ACCEPT"),
        ("95", "100", "1", "ACCEPT"),
    ])  # fmt: skip
    assert "required 70" in drawn


def test_a_difference_is_marked_and_nothing_else() -> None:
    left, right = marked("Knead the dough\nfor ten minutes", "knead the DOUGH for <b>five</b> minutes")
    assert left == "Knead the dough\nfor <mark>ten</mark> minutes"
    assert right == "knead the DOUGH for <mark>&lt;b&gt;five&lt;/b&gt;</mark> minutes"


def test_a_long_difference_does_not_take_forever() -> None:
    began = time.monotonic()
    left, _ = marked("word " * 100_000, "other words " * 100_000)
    assert len(left.split()) <= MAX_WORDS + 2
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "|calc"])
def test_no_cell_is_a_formula(text: str, tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    results_csv.write(report(item(1, path=text, contributor=text, reasoning=text, error_code=text)), file)
    with file.open(encoding="utf-8", newline="") as opened:
        row = next(csv.DictReader(opened))
    for name in ("path", "contributor", "reasoning", "error_code"):
        assert row[name].startswith("'"), row[name]
    assert row["adjustment"] == "-0.2"  # a number of ours stays a number


def test_results_hold_one_row_per_file_whatever_the_names(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    names = ['comma, "quote"', "two\nlines", "nul\x00", RTL, "lone\udce9", "plain"]
    items = [item(n, path=name, original=1 if n == 2 else None) for n, name in enumerate(names, start=1)]
    results_csv.write(report(*items, item(7, marks=(Mark("accuracy", 77.5, "x"),))), file)
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    assert [row["path"] for row in rows] == [
        'comma, "quote"', "two lines", "nul\\x00", "recipe\\u202efdp.txt", "lone\\xe9", "plain", "ann/7.txt",
    ]  # fmt: skip
    assert rows[1]["duplicate_of"] == 'comma, "quote"'
    assert rows[6]["accuracy"] == "77.5"
    assert all(len(row) == len(results_csv.COLUMNS) and None not in row.values() for row in rows)


async def test_a_picture_is_made_anew() -> None:
    """What hides in an image file (text chunks, bytes behind its end) must not travel in the report."""
    metadata = PngImagePlugin.PngInfo()
    metadata.add_text("comment", "<script>secret</script>")
    out = io.BytesIO()
    Image.effect_noise((900, 600), 80).save(out, "PNG", pnginfo=metadata)
    shown = await preview(out.getvalue() + b"<script>secret</script>", ReadLimits(), file_name="a.png")
    assert shown is not None
    assert shown.image is not None
    assert (shown.width, shown.height) == (900, 600)
    made = base64.b64decode(shown.image.removeprefix("data:image/jpeg;base64,"))
    assert b"secret" not in made
    with Image.open(io.BytesIO(made)) as small:
        assert small.format == "JPEG"
        assert max(small.size) == 320


async def test_what_cannot_be_read_has_no_preview() -> None:
    assert await preview(b"", ReadLimits(), file_name="a.txt") is None
    assert await thumbnail(b"\x89PNG\r\n\x1a\n broken", "image/png", ReadLimits()) is None


def test_amounts_are_exact() -> None:
    assert coins(25_000_000) == "0.25"
    assert coins(3) == "0.00000003"
    assert coins(10**8 * 1234) == "1,234"
    assert coins(2**64 - 1) == "184,467,440,737.09551615"


def test_what_html_forbids_is_shown_by_its_number() -> None:
    assert inert("a\x00b\x1bc\u2066d\ufffee\udce9") == "a‹U+0000›b‹U+001B›c‹U+2066›d‹U+FFFE›e‹U+DCE9›"
    assert inert("tab\tline\n ok ñ 漢 العربية") == "tab\tline\n ok ñ 漢 العربية"
