"""Locks that the kernel gives back when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for, then hold, the lock at `path`; other processes wait meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class HeldLock:
    """A lock held from `acquire` until `release` or this process's end; children do not inherit it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def hand_on(self) -> int:
        """Keep it over an `exec`: answers what the program that takes this one's place gives to `adopt`."""
        assert self._descriptor is not None
        os.set_inheritable(self._descriptor, True)
        return self._descriptor

    def adopt(self, descriptor: int) -> None:
        """Hold what the program before us in this process handed on."""
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor

    def acquire(self) -> bool:
        """True once held; False, at once, where another process holds it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether some process holds the lock at `path` now."""
    if not path.exists():
        return False
    lock = HeldLock(path)
    if lock.acquire():
        lock.release()
        return False
    return True
