"""The decoder process: reads one hostile PDF or image after another, under limits, and answers in JSON.

Started by `isolation.py`. A frame on stdin is two big-endian lengths (4 bytes each), a JSON request and the content; a
frame on stdout is one length and a JSON answer: `{"ok": …}` or `{"error": [code, message]}`. JSON, because whoever
has broken a decoder must not hand objects to the worker. End of input ends the process.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import struct
import sys
import time
from pathlib import Path
from typing import IO, Any

import orjson
from PIL import GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401  # before files are shut

from actors.errors import UnreadableError
from actors.verification.readers.image import read_image
from actors.verification.readers.pdf import read_pdf
from actors.verification.readers.pdf_pictures import draw_page
from actors.verification.readers.picture import draw, flatten
from storage.errors import HyvveError

REQUEST = struct.Struct(">II")
ANSWER = struct.Struct(">I")
READY = b"R"
# What decoding may take beyond the content's own bounds: parser state, copies, fragmentation.
_SPARE_MEMORY = 384 * 1024 * 1024


def main() -> None:
    """Serve requests until stdin ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not get between the answers.
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it then closes stdin
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 32)
    # pypdf follows nested objects by recursion: a deep file must end in an error, not in a stack overflow.
    sys.setrecursionlimit(2_000)
    answers.write(READY)
    answers.flush()
    while serve_one(requests, answers):
        pass


def serve_one(requests: IO[bytes], answers: IO[bytes]) -> bool:
    """Answer one request; `False` where there is none, or memory ran out and a fresh process should go on."""
    head = requests.read(REQUEST.size)
    if len(head) < REQUEST.size:
        return False
    request_size, data_size = REQUEST.unpack(head)
    request = orjson.loads(requests.read(request_size))
    data = requests.read(data_size)
    _limit(resource.RLIMIT_AS, _address_space() + _SPARE_MEMORY + int(request["memory"]))
    # A second more than the parent waits: it kills first, and this ends what outlives it.
    _limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + request["timeout_s"]) + 1)
    healthy = True
    try:
        answer: dict[str, Any] = {"ok": _read(request, data)}
    except HyvveError as error:
        answer = {"error": [error.code, error.message]}
    except MemoryError:
        allowed = (_SPARE_MEMORY + int(request["memory"])) // 2**20
        answer = {"error": [UnreadableError.code, f"decoding it takes more than {allowed:,} MiB of memory"]}
        healthy = False
    except Exception as error:  # noqa: BLE001  # the file is at fault, whatever a parser trips over
        answer = {"error": [UnreadableError.code, f"it cannot be decoded: {type(error).__name__}: {str(error)[:200]}"]}
    body = orjson.dumps(answer)
    answers.write(ANSWER.pack(len(body)) + body)
    answers.flush()
    return healthy


def _read(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    if request["read"] == "pdf":
        return read_pdf(
            data,
            max_pages=request["max_pages"],
            max_tokens=request["max_tokens"],
            max_expanded_bytes=request["max_expanded_bytes"],
            preview=request["preview"],
            scans=request["scans"],
        )
    if request["read"] == "pdf_page":
        return draw_page(
            data,
            number=request["number"],
            max_pages=request["max_pages"],
            max_pixels=request["max_pixels"],
            max_expanded_bytes=request["max_expanded_bytes"],
            side=request["side"],
        )
    if request["read"] == "picture":
        return draw(data, format_name=request["format"], max_pixels=request["max_pixels"], side=request["side"])
    if request["read"] == "flat":
        return flatten(
            data,
            format_name=request["format"],
            max_pixels=request["max_pixels"],
            side=request["side"],
            quality=request["quality"],
        )
    return read_image(data, format_name=request["format"], max_pixels=request["max_pixels"])


def _address_space() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:  # not Linux: a generous guess
        return 2**30
    return pages * resource.getpagesize()


def _limit(kind: int, value: int) -> None:
    # The soft limit only: it is raised again for the next file. Not every system enforces every kind.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))
