"""What a person is shown of a content: as what it is, within bounds, and nothing of its bytes."""

from __future__ import annotations

import io

import pytest
from PIL import Image, PngImagePlugin
from pypdf import PdfWriter

from actors.errors import ContentTooLargeError, UnreadableError
from actors.settings import ReadLimits
from actors.verification.view import MAX_CHARS, MAX_ROWS, page_picture, picture, view
from tests.actors.verification.documents import encoded, noise, pdf, scanned

LIMITS = ReadLimits()


async def test_contents_are_shown_as_what_they_are() -> None:
    for data, kind in (
        (b"just words", "text"), (b'{"a": [1]}', "json"), (b"a,b\n1,2\n3,4\n", "table"), (pdf(["one", "two"]), "pdf"),
        (encoded(noise()), "image"), (b"PK\x03\x04rest", "nothing"), (b"\x00\x01\x02", "nothing"), (b"%PDF-1.7 no", "nothing"),
        (b"ID3\x04\x00\x00\x00", "audio"), (b"fLaC\x00\x00", "audio"), (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "nothing"), (b"\x1aE\xdf\xa3\x00", "video"), (b"\x00\x00\x00\x18ftypmp42\x00", "video"),
        (b"ID3 is the tag of MP3 files", "text"),
    ):  # fmt: skip
        assert (await view(data, LIMITS, file_name=None, declared_type=None)).kind == kind, data[:20]


async def test_what_could_run_is_text() -> None:
    for data in (b"<svg onload='x()'/>", b"<?xml version='1.0'?><svg/>", b"<!doctype html><script>x()</script>"):
        shown = await view(data, LIMITS, file_name="a.png", declared_type="image/svg+xml")
        assert (shown.kind, shown.text) == ("text", data.decode())


async def test_pdfs_are_shown_page_by_page_and_tables_within_bounds() -> None:
    pages = await view(pdf(["one", "", "three"]), LIMITS, file_name=None, declared_type=None)
    assert pages.pages == ((1, "one"), (3, "three"))
    rows = "".join(f"{n},{n}\n" for n in range(1000))
    table = await view(f"a,b\n{rows}".encode(), LIMITS, file_name="t.csv", declared_type=None)
    assert (len(table.rows), table.header, table.left_out) == (MAX_ROWS + 1, True, ("800 rows after the first 200",))
    long = await view(b"x " * MAX_CHARS, LIMITS, file_name=None, declared_type=None)
    assert (len(long.text), len(long.left_out)) == (MAX_CHARS, 1)


async def test_pages_of_a_scan_are_drawn_anew() -> None:
    bilevel = Image.new("1", (600, 300), 1)
    data = scanned(noise(3200, 1600), bilevel) + b"<script>y()</script>"
    shown = await view(data, LIMITS, file_name=None, declared_type=None)
    assert (shown.kind, shown.pages, shown.scans) == ("pdf", ((1, ""), (2, "")), frozenset({1, 2}))
    for number, size in ((1, (1600, 800)), (2, (600, 300))):
        drawn = await page_picture(data, number, LIMITS)
        assert b"script" not in drawn
        with Image.open(io.BytesIO(drawn)) as image:
            assert (image.format, image.size, image.info) == ("PNG", size, {})
    with pytest.raises(UnreadableError, match="none with the number 3"):
        await page_picture(data, 3, LIMITS)
    with pytest.raises(ContentTooLargeError, match="limit of 1,000 pixels"):
        await page_picture(data, 1, LIMITS.model_copy(update={"max_pixels": 1_000}))
    # As scanners turn them: a page says by how much.
    turned = PdfWriter(clone_from=io.BytesIO(scanned(bilevel)))
    turned.pages[0].rotate(90)
    turned.write(out := io.BytesIO())
    with Image.open(io.BytesIO(await page_picture(out.getvalue(), 1, LIMITS))) as image:
        assert image.size == (300, 600)
    with pytest.raises(UnreadableError, match="has no picture"):
        await page_picture(pdf(["words"]), 1, LIMITS)


async def test_json_nested_past_reading_is_text() -> None:
    assert (await view(b"[" * 900 + b"]" * 900, LIMITS, file_name=None, declared_type=None)).kind == "text"


async def test_a_picture_is_drawn_anew_without_what_its_file_holds_besides() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "<script>x()</script>")
    drawn = await picture(encoded(noise(4000, 200), pnginfo=notes) + b"<script>y()</script>", LIMITS)
    assert b"script" not in drawn
    with Image.open(io.BytesIO(drawn)) as image:
        assert (image.format, image.size, image.info) == ("PNG", (1600, 80), {})


async def test_a_picture_past_the_limit_or_none_is_refused() -> None:
    with pytest.raises(ContentTooLargeError, match="limit is 100"):
        await picture(encoded(noise()), LIMITS.model_copy(update={"max_pixels": 100}))
    for data in (b"<svg/>", b"\x89PNG\r\n\x1a\nbroken", b"words"):
        with pytest.raises(UnreadableError):
            await picture(data, LIMITS)
