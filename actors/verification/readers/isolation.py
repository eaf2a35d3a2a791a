"""Decoding that cannot take the worker with it: a small pool of decoder processes, reused from file to file.

A PDF or an image is read in a child under CPU, memory and wall-clock limits; a child that hangs, crashes or runs out
of memory is killed and reaped, and costs that one file an error. The pool belongs to the process, not to an event
loop: its children are driven by threads, so it works in a Ray task that runs a loop per chunk as well as in a server.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, cast

import orjson

from actors import errors
from actors.errors import ActorsError, UnreadableError

# Children of one process. A Ray worker has one CPU, so more would not be faster; two, so that one hostile file that
# runs into its time limit does not hold up all others.
SIZE = 2
_START_TIMEOUT_S = 60.0
_MAX_ANSWER = 64 * 1024 * 1024
_REQUEST = struct.Struct(">II")
_ANSWER = struct.Struct(">I")
# The child sees this process's import path and nothing of its environment: there is nothing in it to steal.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1])\n"
    "from actors.verification.readers import decoder; decoder.main()"
)
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_BY_CODE: dict[str, type[UnreadableError]] = {
    kind.code: kind for kind in (errors.UnreadableError, errors.ContentTooLargeError, errors.EmptyContentError)
}


class _DiedError(Exception):
    """The child ended without an answer."""


class _Child:
    def __init__(self) -> None:
        self.used = False
        self._expired = False
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own module
            [sys.executable, "-c", _BOOT, orjson.dumps([path for path in sys.path if path]).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=_ENVIRONMENT,
        )
        self._in = cast("IO[bytes]", self._process.stdin)
        self._out = cast("IO[bytes]", self._process.stdout)
        with self._deadline(_START_TIMEOUT_S):
            ready = self._out.read(1)
        if ready != b"R":
            self.kill()
            raise ActorsError("the decoder process did not start; is this Python's installation of Hyvve complete?")

    def ask(self, request: dict[str, Any], data: bytes, timeout_s: float) -> dict[str, Any]:
        """The child's answer. Raises `_DiedError` where it ended, `TimeoutError` where it was stopped for time."""
        body = orjson.dumps({**request, "timeout_s": timeout_s})
        self.used = True
        try:
            with self._deadline(timeout_s):
                self._write(_REQUEST.pack(len(body), len(data)) + body)
                self._write(data)
                (size,) = _ANSWER.unpack(self._exactly(_ANSWER.size))
                answer = orjson.loads(self._exactly(size))
        except (OSError, _DiedError, orjson.JSONDecodeError) as error:
            self.kill()
            if self._expired:
                raise TimeoutError from error
            raise _DiedError(self._end()) from error
        return cast("dict[str, Any]", answer)

    def alive(self) -> bool:
        return not self._expired and self._process.poll() is None

    def close(self) -> None:
        """End the child and reap it: by end of input, or by force after a second."""
        with contextlib.suppress(OSError):
            self._in.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self.kill()

    def kill(self) -> None:
        """End the child by force and reap it, so that no zombie is left."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):
                pipe.close()

    def _end(self) -> str:
        code = self._process.returncode
        if code is not None and code < 0 and -code in set(signal.Signals):
            return signal.Signals(-code).name
        return f"exit code {code}"

    def _expire(self) -> None:
        self._expired = True
        self._process.kill()  # both pipes end, which wakes the thread that waits on them

    @contextlib.contextmanager
    def _deadline(self, seconds: float) -> Any:
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._in.write(rest) :]

    def _exactly(self, size: int) -> bytes:
        if size > _MAX_ANSWER:  # no answer is that long: the child is not itself any more
            raise _DiedError
        parts = bytearray()
        while len(parts) < size:
            part = self._out.read(size - len(parts))
            if not part:
                raise _DiedError
            parts += part
        return bytes(parts)


class Decoders:
    """A pool of at most `size` decoder processes, started as needed."""

    def __init__(self, size: int = SIZE) -> None:
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="decoder")
        self._idle: list[_Child] = []
        self._lock = threading.Lock()

    async def run(self, request: dict[str, Any], data: bytes, *, timeout_s: float, what: str) -> dict[str, Any]:
        """What the decoder answers to this request over this content; `what` names the content in errors.

        Raises the `UnreadableError` that the decoder found, or one that says it was stopped or crashed.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, request, data, timeout_s, what)

    def close(self) -> None:
        """End and reap every child that is idle. The pool may be used again."""
        with self._lock:
            children, self._idle = self._idle, []
        for child in children:
            child.close()

    def _run(self, request: dict[str, Any], data: bytes, timeout_s: float, what: str) -> dict[str, Any]:
        while True:
            child = self._take()
            again = child.used
            try:
                answer = child.ask(request, data, timeout_s)
            except TimeoutError:
                raise UnreadableError(
                    f"reading {what} took longer than the limit of {timeout_s:g} s and was stopped", limit=timeout_s
                ) from None
            except _DiedError as error:
                if again:  # it may have died while idle: a fresh child tells whether the file did it
                    continue
                raise UnreadableError(f"the decoder crashed on {what} ({error})") from None
            if child.alive():
                with self._lock:
                    self._idle.append(child)
            else:
                child.kill()
            if "error" in answer:
                code, message = answer["error"]
                raise _BY_CODE.get(code, UnreadableError)(str(message))
            return cast("dict[str, Any]", answer["ok"])

    def _take(self) -> _Child:
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                try:
                    return _Child()
                except OSError as error:
                    raise ActorsError(f"the decoder process could not be started: {error}") from error
            if child.alive():
                return child
            child.kill()


_pool: Decoders | None = None
_pool_lock = threading.Lock()


def decoders() -> Decoders:
    """The pool of this process; its children end with it."""
    global _pool  # noqa: PLW0603  # one pool a process is the point
    with _pool_lock:
        if _pool is None:
            _pool = Decoders()
            atexit.register(_pool.close)
        return _pool


def _forget() -> None:
    # A forked process shares the pipes: two parents of one child would read each other's answers.
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
