"""Reading texts and tables: nothing of them is lost unsaid, whatever they are written in."""

import asyncio
import gzip
import io
import json
import tarfile
import time
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import ContentTooLargeError, EmptyContentError, UnreadableError, UnsupportedTypeError
from actors.settings import ReadLimits
from actors.verification.models import Content
from actors.verification.read import read
from actors.verification.readers.language import decode_legacy
from tests.actors.verification.documents import encoded, noise, pdf

LIMITS = ReadLimits()


async def _text(data: bytes, **claims: str) -> Content:
    return await read(data, LIMITS, **claims)  # type: ignore[arg-type]  # only file_name and declared_type are passed


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Boil the rice – slowly, at home", "utf-8"),
        ("Café crème, s’il vous plaît", "utf-8-sig"),
        ("Смешайте муку с водой и оставьте", "utf-16"),
        ("混合面粉和水，放置一小时", "utf-32"),
        ("Prix élevé déjà vu à la crème brûlée, naïve façade", "cp1252"),
        ("Über die Straße gehen wir nach Köln", "latin-1"),
        ("Zażółć gęślą jaźń, proszę państwa o pomoc", "cp1250"),
        ("Смешайте муку с водой и оставьте на час в тепле", "koi8-r"),
        ("Ανακατέψτε το αλεύρι με νερό και αφήστε το", "cp1253"),
        ("小麦粉と水を混ぜて一時間置きます", "shift_jis"),
        ("混合面粉和水，放置一小时，然后揉面", "gb18030"),
        ("밀가루와 물을 섞어 한 시간 둡니다", "euc_kr"),
    ],
)
async def test_old_and_new_encodings_are_read_as_they_were_written(text: str, encoding: str) -> None:
    content = await _text(text.encode(encoding))
    assert content.text == text
    assert content.kind == "text"


async def test_a_declared_charset_settles_what_bytes_alone_cannot() -> None:
    content = await _text(
        "ok: ¤".encode("iso-8859-15", "replace") + b"\xa4", declared_type="text/plain; charset=ISO-8859-15"
    )
    assert content.text.endswith("€")


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        # Python has codecs for these. That of idna would read a crafted megabyte for hours, in a thread that nothing ends.
        ("idna", b"xn--mnchen-3ya"), ("punycode", b"mnchen-3ya"), ("utf-7", b"M+APw-nchen"),
        ("unicode_escape", b"M\\xfcnchen"), ("raw_unicode_escape", b"M\\u00fcnchen"), ("charmap", b"M\xfcnchen"),
        ("undefined", b"x"), ("zip", b"x"), ("rot13", b"x"), ("no-such", b"x"), ("a\x00b", b"x"), ("\ud800", b"x"),
    ],
)  # fmt: skip
def test_a_declared_codec_that_no_file_is_written_in_counts_as_none(charset: str, data: bytes) -> None:
    assert decode_legacy(data, charset) == decode_legacy(data, None)
    assert decode_legacy(data, charset)[1] != charset


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        ("ISO_8859-2", "iso8859-2"), ("latin1", "iso8859-1"), ("us-ascii", "cp1252"), ("IBM866", "cp866"),
        ("windows-1251", "cp1251"), ("KOI8-U", "koi8-u"), ("macintosh", "mac-roman"), ("UTF-16LE", "utf-16-le"),
    ],
)  # fmt: skip
def test_a_declared_encoding_goes_by_any_of_its_names(charset: str, encoding: str) -> None:
    assert decode_legacy("où?!".encode("cp1252"), charset)[1] == encoding


@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [
        (b"# Title\n\nbody", "a.md", "text/markdown"),
        (b"<!doctype html><p>hello</p>", None, "text/html"),
        (b'{"a": [1, 2]}', None, "application/json"),
        (b"plain words", "notes.unknown", "text/plain"),
        (b"a,b\n1,2\n", "t.csv", "text/csv"),
        (b"BMW makes cars, MZ made motorcycles", None, "text/plain"),
    ],
)
async def test_texts_are_told_apart(data: bytes, name: str | None, media_type: str) -> None:
    content = await read(data, LIMITS, file_name=name)
    assert content.media_type == media_type


async def test_the_language_is_named_where_the_text_is_long_enough() -> None:
    assert (await _text(b"How do I get from the station to the harbour?")).language == "en"
    assert (await _text(b"Wie komme ich vom Bahnhof zum Hafen?")).language == "de"
    assert (await _text(b"ok")).language is None


async def test_what_could_deceive_a_judge_is_noted() -> None:
    content = await _text("pay\u202edrawkcab\u202c me, p\u0430ypal\u200b and \x07 bell".encode())
    notes = " ".join(content.notes)
    for words in ("bidirectional", "mixes scripts", "invisible", "control characters were dropped"):
        assert words in notes
    assert "\x07" not in content.text


async def test_invisible_characters_are_noted_where_no_emoji_or_script_needs_them() -> None:
    for hidden in ("boil\u034f the rice", "boi\ufe0fl the rice", "boil \ufe01the rice", "каш\U000e0101а на воде"):
        assert (await _text(hidden.encode())).notes == ("holds 1 invisible characters",)
    honest = "I ❤️ it 👩‍🍳 1️⃣ ☎︎ 🏳️‍🌈", "葛󠄀城市と辻󠄁さん", "می‌خواهم نان بپزم", "क्‍ष और नमस्ते"
    for text in honest:
        assert (await _text(text.encode())).notes == ()


@pytest.mark.parametrize("data", [b"abc\x00def", bytes(range(1, 32)) * 9, b"\xff\xfea", "nul\x00".encode("utf-16")])
async def test_binary_is_no_text(data: bytes) -> None:
    with pytest.raises(UnsupportedTypeError):
        await read(data, LIMITS, file_name="a.txt")


@pytest.mark.parametrize("data", [b"", b"  \r\n\t ", b"\xef\xbb\xbf", "\u200b\u2060 ".encode()])
async def test_nothing_is_an_error_of_its_own(data: bytes) -> None:
    with pytest.raises(EmptyContentError):
        await read(data, LIMITS)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", b"0" * 10_000_000)
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "is_"),
    [
        (_zip(), "ZIP"), (gzip.compress(b"0" * 1_000_000), "gzip"), (_tar(), "tar"), (b"Rar!\x1a\x07\x00", "RAR"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 20, "program"), (b"MZ\x90\x00\x03", "Windows program"),
        (b"{\\rtf1 hello}", "RTF"), (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)  # fmt: skip
async def test_archives_and_programs_are_refused_by_name(data: bytes, is_: str) -> None:
    with pytest.raises(UnsupportedTypeError, match=is_):
        await read(data, LIMITS)


@pytest.mark.parametrize(
    ("data", "name", "declared", "says", "is_"),
    [
        (b"just words", "cat.png", None, "a PNG image", "text"),
        (b"just words", None, "application/pdf", "a PDF", "text"),
        (b"just words", "a.zip", None, "a ZIP archive", "text"),
        (_zip(), "story.txt", None, "text", "a ZIP archive"),
        (b"%PDF-1.4\n", "story.txt", "text/plain", "text", "a PDF"),
        (b"<html><p>x</p></html>", "t.csv", None, "a CSV table", "HTML"),
        (b"just words", "clip", "video/mp4", "video", "text"),
        (b"\x89PNG\r\n\x1a\n", "a.jpg", None, "a JPEG image", "a PNG image"),
    ],
)
async def test_a_lie_is_named_with_both_sides(
    data: bytes, name: str | None, declared: str | None, says: str, is_: str
) -> None:
    with pytest.raises(UnsupportedTypeError) as caught:
        await read(data, LIMITS, file_name=name, declared_type=declared)
    assert f"says {says}" in caught.value.message
    assert f"the content is {is_}" in caught.value.message


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("t.csv", "application/vnd.ms-excel"), ("t.txt", "application/octet-stream"), ("t", "text"), (None, "text/x-any"),
        ("README", None), ("a.b.TXT", "text/plain;charset=utf-8"), ("x.txt", ""),
    ],
)  # fmt: skip
async def test_what_browsers_and_stores_declare_is_no_lie(name: str | None, declared: str | None) -> None:
    assert (await read(b"a,b\n1,2\n3,4\n", LIMITS, file_name=name, declared_type=declared)).kind == "text"


@pytest.mark.parametrize("declared", ["text", "Text", "document"])
async def test_a_bare_family_takes_every_text_a_web_client_may_mean(declared: str) -> None:
    # Our own answers call PDFs and tables "text", and clients send that back as the file's type.
    of_pdf = await read(pdf(["A page about bread."]), LIMITS, file_name="a.pdf", declared_type=declared)
    assert (of_pdf.media_type, of_pdf.text) == ("application/pdf", "A page about bread.")
    table = b"a,b\n1,2\n3,4\n"
    for name in ("t.csv", None):
        assert (await read(table, LIMITS, file_name=name, declared_type=declared)).media_type == "text/csv"
    assert (await read(b"just words", LIMITS, declared_type=declared)).media_type == "text/plain"
    with pytest.raises(UnsupportedTypeError, match="the content is a PNG image"):
        await read(encoded(noise()), LIMITS, declared_type=declared)
    with pytest.raises(UnsupportedTypeError, match="the content is a ZIP archive: archives are not opened"):
        await read(_zip(), LIMITS, declared_type=declared)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_a_bare_image_takes_every_image(format_name: str) -> None:
    assert (await read(encoded(noise(), format_name), LIMITS, declared_type="image")).kind == "image"
    with pytest.raises(UnsupportedTypeError, match="the content is text"):
        await read(b"just words", LIMITS, declared_type="image")


async def test_limits_are_named_with_their_numbers() -> None:
    with pytest.raises(ContentTooLargeError, match=r"11 bytes; the limit is 10"):
        await read(b"x" * 11, LIMITS.model_copy(update={"max_bytes": 10}))
    with pytest.raises(ContentTooLargeError, match=r"limit of 3\b"):
        await read(b"a,b\n" + b"1,2\n" * 4, LIMITS.model_copy(update={"max_csv_rows": 3}), file_name="t.csv")


async def test_a_long_text_keeps_its_beginning_and_says_what_it_lost() -> None:
    text = " ".join(f"word{n}" for n in range(60_000))
    content = await _text(text.encode())
    assert text.startswith(content.text)
    assert len(content.text) > 0.99 * 4 * LIMITS.max_tokens
    (lost,) = content.left_out
    dropped = (len(text) - len(content.text)) / 4
    said = int(lost.split()[1].replace(",", ""))
    assert abs(said - dropped) < 0.06 * dropped
    assert "tokens of text" in lost


async def test_a_table_is_read_with_its_dialect_and_header() -> None:
    content = await _text(b'name;note\n"Ann";"likes; rice"\nBob;"two\nlines"\n', file_name="t.csv")
    assert content.text == "name | note\nAnn | likes; rice\nBob | two lines"
    assert any("2 rows and 2 columns separated by semicolons, with a header" in note for note in content.notes)


async def test_a_long_table_keeps_its_first_rows_and_names_the_rest() -> None:
    data = b"id,text\n" + b"".join(b"%d,some words about this and that\n" % n for n in range(20_000))
    content = await read(data, LIMITS.model_copy(update={"max_tokens": 1_000}), file_name="t.csv")
    kept = content.text.count("\n")
    assert 0 < kept < 200
    assert content.left_out == (f"rows {kept + 1:,}–20,000",)


async def test_a_quote_that_is_never_closed_loses_nothing() -> None:
    content = await read(b'a,b\n1,"' + b"x" * 50_000 + b"\n2,y", LIMITS, file_name="t.csv")
    assert content.text == "a | b\n1 | " + "x" * 50_000 + " 2,y"


async def test_a_long_cell_is_read_as_far_as_the_budget_goes() -> None:
    data = b'id,text\n1,"' + b"word " * 400_000 + b'"\n2,short\n'
    content = await read(data, LIMITS, file_name="t.csv")
    assert content.text.startswith("id | text\n1 | word word")
    assert [left.startswith("about") for left in content.left_out] == [True, False]
    assert content.left_out[1] == "row 2"


async def test_prose_and_json_lines_are_no_tables() -> None:
    for data in (b"First, we go.\nThen, we come.\nLast, we stay.", b'{"a":1,"b":2}\n{"a":3,"b":4}\n{"a":5,"b":6}'):
        assert (await _text(data)).text == data.decode()


async def test_preview_is_the_first_paragraph_or_row() -> None:
    content = await read(b"one\nstill one\n\ntwo\n\nthree", LIMITS, extract="preview")
    assert content.text == "one\nstill one"
    assert content.left_out == ("everything after the first paragraph",)
    table = await read(b"a,b\n1,2\n3,4\n5,6\n", LIMITS, file_name="t.csv", extract="preview")
    assert table.text == "a | b\n1 | 2"
    assert table.left_out == ("rows 2–3",)


async def test_the_hash_is_of_the_bytes_not_of_what_was_kept() -> None:
    one, two = await _text(b"same\n"), await _text(b"same")
    assert one.text == two.text
    assert one.content_hash != two.content_hash


@pytest.mark.timed
async def test_short_texts_are_cheap() -> None:
    """20,000 of them must not be what a batch spends its time on."""
    words = json.dumps(list(range(60))).encode()
    await _text(b"warm up the language model, please")
    best = min([await _timed(words) for _ in range(5)])
    assert best < 0.5e-3


async def _timed(words: bytes) -> float:
    # CPU time, for other programs on the machine are not this one's cost.
    begun = time.thread_time()
    for number in range(100):
        await read(b"How do I cook rice %d times? " % number + words, LIMITS, file_name="a.txt")
    return (time.thread_time() - begun) / 100


_NAMES = st.one_of(
    st.none(), st.sampled_from(["a.txt", "b.csv", "c.pdf", "d.png", "e.json", "f", "g.tar.gz"]), st.text()
)
# Few levels of "never": random bytes, texts, and bytes that begin like a format we parse in this process.
_DATA = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=300).map(lambda text: text.encode(errors="surrogatepass")),
    st.text(alphabet=',;"\n\r\t| ab1', max_size=300).map(str.encode),
    st.sampled_from([b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"RIFF", b"{", b"<?xml"]).flatmap(
        lambda head: st.binary(max_size=100).map(lambda tail: head + tail)
    ),
)


@settings(max_examples=400, deadline=None)
@given(data=_DATA, name=_NAMES, declared=_NAMES)
def test_any_bytes_become_a_content_or_an_unreadable_error(data: bytes, name: str | None, declared: str | None) -> None:
    try:
        content = asyncio.run(read(data, LIMITS, file_name=name, declared_type=declared))
    except UnreadableError:
        return
    assert content.text
    assert "\x00" not in content.text  # PostgreSQL takes none
    content.text.encode()
