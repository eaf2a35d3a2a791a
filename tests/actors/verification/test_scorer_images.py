"""What a vision model is sent of an image, and where it is made: never in the process that asks."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from actors.errors import ContentTooLargeError, UnreadableError
from actors.settings import ReadLimits
from actors.verification.read import read
from actors.verification.scorers.images import MAX_SIDE, presentable
from tests.actors.verification.documents import encoded


async def test_a_large_image_is_sent_small_upright_and_on_white() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    clear = Image.new("RGBA", (3000, 1000), (200, 0, 0, 255))
    clear.paste((0, 0, 0, 0), (0, 0, 1500, 1000))
    content = await read(encoded(clear, exif=exif), ReadLimits())
    media_type, sent = await presentable(content)
    with Image.open(io.BytesIO(sent)) as image:
        assert (media_type, image.format, image.size) == ("image/jpeg", "JPEG", (683, MAX_SIDE))
        assert not image.getexif()
        pixels = [image.convert("RGB").getpixel((340, height)) for height in (100, MAX_SIDE - 100)]
    assert pixels[0] == (255, 255, 255)
    assert isinstance(pixels[1], tuple)
    assert pixels[1][0] > 190
    assert pixels[1][1] < 10


async def test_an_image_that_holds_more_than_was_read_is_refused() -> None:
    content = await read(encoded(Image.new("RGB", (64, 64), "tan"), "GIF"), ReadLimits())
    with pytest.raises(ContentTooLargeError):
        await presentable(replace(content, image=encoded(Image.new("RGB", (4000, 3000)), "GIF")))
    with pytest.raises(UnreadableError):
        await presentable(replace(content, image=content.image[:40]))


def test_no_image_is_decoded_in_the_process_that_asks() -> None:
    """A flat image of 50 million pixels is a small file, and half a gigabyte to whoever opens it."""
    program = (
        "import asyncio, sys\n"
        "from actors.settings import ReadLimits\n"
        "from actors.verification.read import read\n"
        "from actors.verification.scorers.images import presentable\n"
        "from cluster.report.preview import preview\n"
        "async def main():\n"
        "    data = sys.stdin.buffer.read()\n"
        "    print((await presentable(await read(data, ReadLimits())))[0])\n"
        "    print((await preview(data, ReadLimits(), file_name='a.png')).image[:15])\n"
        "    print('PIL' in sys.modules)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=encoded(Image.new("1", (2_500, 50))), cwd=Path(__file__).parents[3], capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.decode().split() == ["image/jpeg", "data:image/jpeg", "False"]
