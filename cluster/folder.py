"""A folder of files as contributions: which there are, who sent them, and which cannot be taken in.

A file's contributor is the sub-folder of the first level that it lies in, and `folder` where it lies in none. The
order of submission, which decides which of two equal contents is the original, is that of the paths: a file's date
does not survive copying.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster.errors import FolderError

NO_CONTRIBUTOR = "folder"
# What systems leave behind in folders; nobody handed it in. Names that begin with a dot are left out as well.
_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
# Control and bidi characters, line breaks, and bytes that were no UTF-8 (they arrive as lone surrogates).
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FolderFile:
    """One file. `path` is relative to the folder and made fit to store and print; `file` is where it really is."""

    path: str
    contributor: str
    file: Path
    size: int


@dataclass(slots=True)
class Folder:
    """What lies in a folder. `skipped` are `(path, reason)` of what is no contribution."""

    root: Path
    files: list[FolderFile] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    hidden: int = 0

    @property
    def contributors(self) -> int:
        return len({each.contributor for each in self.files})


def printable(text: str) -> str:
    """The text with what could mislead a reader, or break a database or terminal, written as its escape."""
    return _UNSAFE.sub(lambda found: _escape(found[0]), text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of the name that is no UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def scan(root: Path, *, leave_out: Collection[Path] = ()) -> Folder:
    """The folder's files, in order of submission; nothing is read yet, and no link is followed.

    `leave_out` are files or folders that are no contributions although they lie inside: the brief, the report. Raises
    `FolderError` where the folder cannot be listed or holds no file.
    """
    if not root.exists():
        raise FolderError(f"there is no folder {root}", subject=str(root))
    if not root.is_dir():
        raise FolderError(f"{root} is a file; name the folder that holds the contributions", subject=str(root))
    left_out = {each.resolve() for each in leave_out}
    folder = Folder(root)
    try:
        folder.files.extend(_walk(folder, root.resolve(), left_out))
    except OSError as error:
        raise FolderError(f"the folder {root} cannot be read: {error.strerror}", subject=str(root)) from error
    if not folder.files:
        reason = f" ({len(folder.skipped)} entries were left out: {folder.skipped[0][1]})" if folder.skipped else ""
        raise FolderError(f"the folder {root} holds no files{reason}", subject=str(root))
    return folder


def _walk(folder: Folder, root: Path, left_out: set[Path]) -> Iterator[FolderFile]:
    # A stack of our own: folders nest deeper than Python's calls may.
    stack = [("", _entries(root))]
    while stack:
        prefix, entries = stack[-1]
        try:
            entry = next(entries, None)
            if entry is None:
                stack.pop()
                continue
            path = prefix + entry.name
            if entry.name.startswith(".") or entry.name.lower() in _LITTER:
                folder.hidden += 1
            elif Path(entry.path) in left_out:
                continue
            elif entry.is_symlink():
                folder.skipped.append((printable(path), "a symbolic link, which is not followed"))
            elif entry.is_dir(follow_symlinks=False):
                stack.append((path + "/", _entries(entry.path)))
            else:
                status = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(status.st_mode):
                    folder.skipped.append((printable(path), "not a regular file (a device, pipe or socket)"))
                    continue
                contributor, slash, _ = path.partition("/")
                yield FolderFile(
                    path=printable(path),
                    contributor=printable(contributor) if slash else NO_CONTRIBUTOR,
                    file=Path(entry.path),
                    size=status.st_size,
                )
        except OSError as error:
            if not prefix:
                raise
            folder.skipped.append((printable(prefix[:-1]), f"a folder that cannot be read: {error.strerror}"))
            stack.pop()


def _entries(directory: Path | str) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, listed when the first is asked for; `OSError` comes then."""
    with os.scandir(directory) as found:
        # By bytes, not by locale: the same order on every machine.
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    yield from entries
