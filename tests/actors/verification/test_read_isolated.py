"""Reading PDFs and images: whole, within limits, and without harm to the process that asks."""

import asyncio
import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pypdf
import pytest
from PIL import Image, ImageFilter

from actors.errors import ContentTooLargeError, UnreadableError
from actors.settings import ReadLimits
from actors.verification.read import read
from actors.verification.readers.isolation import Decoders, decoders
from tests.actors.verification.documents import encoded, noise, pdf, pdf_bomb, pdf_of_streams

LIMITS = ReadLimits()


@pytest.fixture(autouse=True, scope="module")
def _leave_no_child() -> Iterator[None]:
    yield
    decoders().close()
    assert _decoder_processes() == []


def _state(pid: int) -> str:
    """The process's state letter as Linux shows it, "" where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def _runs(pid: int) -> bool:
    return _state(pid) not in {"", "Z"}


def _decoder_processes() -> list[int]:
    """Decoder children of this process, and zombies of any kind."""
    children = [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    return [
        pid
        for pid in children
        if _state(pid) == "Z" or b"readers import decoder" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


async def test_a_pdf_is_read_page_by_page() -> None:
    content = await read(pdf(["First page (with brackets)", "", "Third page"]), LIMITS, file_name="a.pdf")
    assert content.text == "First page (with brackets)\n\nThird page"
    assert content.media_type == "application/pdf"
    assert content.kind == "text"
    assert "no text on page 2" in content.notes
    assert content.left_out == ()


async def test_two_hundred_pages_are_read_and_what_the_budget_drops_is_named() -> None:
    pages = [f"Page {n} says something about the harbour and the rice." for n in range(1, 201)]
    whole = await read(pdf(pages), LIMITS)
    assert whole.left_out == ()
    assert whole.text.endswith(pages[-1])
    part = await read(pdf(pages), LIMITS.model_copy(update={"max_tokens": 500}))
    kept = part.text.count("Page ")
    assert part.left_out == (f"pages {kept + 1}–200",)
    assert 20 < kept < 60


async def test_a_pdf_preview_is_the_first_paragraph_of_the_first_page() -> None:
    content = await read(pdf(["Opening words.\n\nMore words.", "Second page"]), LIMITS, extract="preview")
    assert content.text.startswith("Opening words.")
    assert "Second page" not in content.text
    assert "page 2" in content.left_out


async def test_pdf_limits_are_named_with_their_numbers() -> None:
    with pytest.raises(ContentTooLargeError, match="6 pages; the limit is 5"):
        await read(pdf(["x"] * 6), LIMITS.model_copy(update={"max_pages": 5}))
    with pytest.raises(ContentTooLargeError, match=f"{LIMITS.max_expanded_bytes:,} bytes"):
        await read(pdf_bomb(2 * LIMITS.max_expanded_bytes), LIMITS)
    small = LIMITS.model_copy(update={"max_expanded_bytes": 1_000_000})
    many = pdf_of_streams([zlib.compress(b" " * 300_000)] * 5, flate=True)
    with pytest.raises(ContentTooLargeError, match=r"1,000,000 bytes, reached on page 4 of 5"):
        await read(many, small)


def _encrypted(password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["a secret"])))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


async def test_a_pdf_that_cannot_be_read_says_why() -> None:
    with pytest.raises(UnreadableError, match="encrypted"):
        await read(_encrypted("user"), LIMITS)
    assert (await read(_encrypted(""), LIMITS)).text == "a secret"  # what any viewer opens
    with pytest.raises(UnreadableError, match="no text"):
        await read(encoded(noise(), "PDF"), LIMITS)
    whole = pdf(["some words"])
    for broken in (whole[:60], b"%PDF-1.7\n" + os.urandom(500), whole.replace(b"/Pages 2 0 R", b"/Pages 9 0 R")):
        with pytest.raises(UnreadableError):
            await read(broken, LIMITS)


async def test_bytes_in_front_of_a_pdf_do_not_hide_it() -> None:
    content = await read(b"\x00\x01junk\n" + pdf(["words behind junk"]), LIMITS, file_name="a.pdf")
    assert content.text == "words behind junk"


@pytest.mark.parametrize(
    ("format_name", "name", "media_type"),
    [
        ("PNG", "a.png", "image/png"), ("JPEG", "a.jpeg", "image/jpeg"), ("WEBP", "a.webp", "image/webp"),
        ("GIF", "a.gif", "image/gif"),
    ],
)  # fmt: skip
async def test_images_are_decoded_and_measured(format_name: str, name: str, media_type: str) -> None:
    data = encoded(noise(), format_name)
    content = await read(data, LIMITS, file_name=name, declared_type=media_type)
    assert (content.kind, content.media_type, content.width, content.height) == ("image", media_type, 240, 160)
    assert content.image == data
    assert content.image_hash
    assert not any("blurred" in note for note in content.notes)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
async def test_every_colour_mode_is_measured(mode: str) -> None:
    image = noise()
    image = (
        Image.frombytes("I;16", (64, 64), random.Random(16).randbytes(8192)) if mode == "I;16" else image.convert(mode)
    )
    content = await read(encoded(image, "JPEG" if mode == "CMYK" else "PNG"), LIMITS)
    assert content.image_hash


async def test_blurred_flat_small_and_animated_images_are_noted() -> None:
    async def notes(image: Image.Image) -> str:
        return " ".join((await read(encoded(image), LIMITS)).notes)

    assert "blurred" in await notes(noise(640, 480).filter(ImageFilter.GaussianBlur(8)))
    assert "flat" in await notes(Image.new("RGB", (100, 100), "red"))
    assert "small: 24 × 16" in await notes(noise(24, 16))
    frames = [noise(seed=n) for n in range(5)]
    animation = await read(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), LIMITS)
    assert animation.left_out == ("frames 2–5 of the animation",)


async def test_a_photograph_is_measured_the_way_it_is_shown() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    content = await read(encoded(noise(), "JPEG", exif=exif), LIMITS)
    assert (content.width, content.height) == (160, 240)


async def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (30_000, 30_000)))
    begun = time.perf_counter()
    with pytest.raises(ContentTooLargeError, match=r"900,000,000 pixels; the limit is 50,000,000"):
        await read(bomb, LIMITS)
    assert time.perf_counter() - begun < LIMITS.timeout_s / 2


async def test_the_largest_allowed_image_fits_the_memory_limit() -> None:
    side = int(LIMITS.max_pixels**0.5)
    content = await read(encoded(Image.new("RGBA", (side, side), (9, 9, 9, 128)), compress_level=1), LIMITS)
    assert content.width == side


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_a_truncated_or_garbled_image_is_an_error(format_name: str) -> None:
    data = encoded(noise(), format_name)
    for broken in (data[: len(data) // 2], data[:30] + random.Random(format_name).randbytes(200), data[:12]):
        with pytest.raises(UnreadableError) as caught:
            await read(broken, LIMITS)
        assert "object at 0x" not in str(caught.value)  # a sentence for its author, not for us


async def test_a_file_that_takes_too_long_is_stopped_and_the_next_one_is_read() -> None:
    slow = pdf_of_streams([b"BT /F1 9 Tf " + b"(x) Tj " * 400_000 + b"ET"])
    quick = LIMITS.model_copy(update={"timeout_s": 0.5})
    begun = time.perf_counter()
    with pytest.raises(UnreadableError, match=r"limit of 0\.5 s"):
        await read(slow, quick)
    assert time.perf_counter() - begun < 10
    assert (await read(pdf(["after"]), LIMITS)).text == "after"


async def test_a_child_killed_while_idle_costs_nobody_an_error() -> None:
    await read(pdf(["one"]), LIMITS)
    victims = _decoder_processes()
    assert victims
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    contents = await asyncio.gather(*(read(pdf([f"page {n}"]), LIMITS) for n in range(8)))
    assert [content.text for content in contents] == [f"page {n}" for n in range(8)]
    assert all(_runs(pid) for pid in _decoder_processes())


async def test_children_are_reused_and_their_number_is_bounded() -> None:
    await asyncio.gather(*(read(pdf([f"page {n}"]), LIMITS) for n in range(4)))
    before = set(_decoder_processes())
    await asyncio.gather(*(read(encoded(noise(seed=n)), LIMITS) for n in range(20)))
    assert set(_decoder_processes()) == before
    assert len(before) <= 2


async def test_running_out_of_memory_is_the_files_error_not_ours() -> None:
    pool = Decoders(1)
    try:
        request = {"read": "image", "format": "PNG", "max_pixels": 10**9, "memory": 0}
        with pytest.raises(UnreadableError, match="memory"):
            await pool.run(request, encoded(Image.new("RGB", (14_000, 14_000))), timeout_s=20, what="the image")
        again = await pool.run(request, encoded(noise()), timeout_s=20, what="the image")
        assert again["width"] == 240
    finally:
        pool.close()


def test_the_pool_serves_many_event_loops_and_threads() -> None:
    """A Ray worker runs a loop per chunk; a child must not be tied to the first."""
    texts: list[str] = []

    def chunk(number: int) -> None:
        texts.append(asyncio.run(read(pdf([f"chunk {number}"]), LIMITS)).text)

    for number in range(3):
        chunk(number)
    threads = [threading.Thread(target=chunk, args=(number,)) for number in range(3, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == [f"chunk {number}" for number in range(6)]


def test_children_end_with_the_process_that_started_them() -> None:
    program = (
        "import asyncio, glob, os\n"
        "from actors.settings import ReadLimits\n"
        "from actors.verification.read import read\n"
        "from tests.actors.verification.documents import encoded, noise\n"
        "asyncio.run(read(encoded(noise()), ReadLimits()))\n"
        "print(*[open(path).read() for path in glob.glob('/proc/self/task/*/children')], flush=True)\n"
    )
    root = Path(__file__).parents[3]
    for end in ("", "os.kill(os.getpid(), 9)\n"):
        done = subprocess.run(
            [sys.executable, "-c", program + end], cwd=root, capture_output=True, text=True, timeout=60, check=False
        )
        pid = int(done.stdout)
        deadline = time.monotonic() + 30
        while _runs(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _runs(pid)


async def test_random_damage_is_never_more_than_an_unreadable_file() -> None:
    chance = random.Random(5)
    originals = [pdf(["some words", "and more"]), *(encoded(noise(), name) for name in ("PNG", "JPEG", "WEBP", "GIF"))]
    survived = 0
    for number in range(250):
        data = bytearray(originals[number % len(originals)])
        for _ in range(chance.randint(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with contextlib.suppress(UnreadableError):
            await read(bytes(data), LIMITS)
            survived += 1
    assert 0 < survived < 250
