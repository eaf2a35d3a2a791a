"""Files on their way to a provider and back: named by reference, fetched under the address guard, kept as blobs."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.errors import FileForbiddenError
from actors.providers.models import Attachment, Modality, OutputFile
from actors.verification.readers.sniff import sniff
from storage.blobs.base import BlobStore
from storage.errors import BlobError
from storage.fetch import ContentFetcher, Fetched
from storage.references import WebAddress, parse

Path = tuple[str | int, ...]
Send = Callable[["File"], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class File:
    data: bytes
    name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Files:
    """What a provider may do with files. `fetch` goes through the address guard, whoever wrote the reference; `require`
    raises `FileForbiddenError` for what the run that is going on may not read (see `rights`).
    """

    fetch: Callable[[str], Awaitable[Fetched]]
    keep: Callable[[bytes], Awaitable[str]]
    require: Callable[[str], Awaitable[None]]

    @classmethod
    def of(cls, fetcher: ContentFetcher, store: BlobStore, require: Callable[[str], Awaitable[None]]) -> Files:
        return cls(fetch=fetcher.fetch, keep=store.put, require=require)

    async def read(self, ref: str) -> File:
        """The file that `ref` names. Raises `FileForbiddenError`, and `BadReferenceError` or a `BlobError`, as the
        fetcher does.
        """
        await self.require(ref)
        found = await self.fetch(ref)
        media_type = (found.media_type or "").partition(";")[0].strip() or media_type_of(found.data, found.file_name)
        extension = mimetypes.guess_extension(media_type) or ".bin"
        return File(found.data, found.file_name or f"file{extension}", media_type)

    async def kept(self, data: bytes, media_type: str | None = None) -> OutputFile:
        """Bytes that a provider answered, as a blob. They exist nowhere else and were paid for: where the store refuses
        them they stay in the response, as a `data:` URI.
        """
        media_type = media_type or media_type_of(data, None)
        try:
            return OutputFile(ref=await self.keep(data), media_type=media_type, size=len(data))
        except BlobError as error:
            inline = data_uri(File(data, "", media_type))
            return OutputFile(url=inline, media_type=media_type, lost=error.message)

    async def copied(self, url: str) -> OutputFile:
        """A copy of what a provider has at `url`; where that fails, the file as it is there, with the reason.

        What a model answers is a stranger's word: a blob of ours that it names is read only by who may.
        """
        guessed = mimetypes.guess_type(url.partition("?")[0])[0]
        try:
            file = await self.read(url)
            return OutputFile(url=url, ref=await self.keep(file.data), media_type=file.media_type, size=len(file.data))
        except (BlobError, FileForbiddenError) as error:
            return OutputFile(url=url, media_type=guessed, lost=error.message)


def media_type_of(data: bytes, name: str | None) -> str:
    """What the bytes' signature proves, else what the name says, else whether they are a text."""
    kind = sniff(data)
    if kind is not None and kind.media_type:
        return kind.media_type
    if guessed := mimetypes.guess_type(name or "")[0]:
        return guessed
    try:
        data.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain"


def modality_of(attachment: Attachment) -> Modality:
    """Which sense an attachment speaks to, by its declared type, its name, its reference's ending; else `file`."""
    names = (attachment.name or "", attachment.ref.partition("?")[0])
    guesses = (attachment.media_type or "", *(mimetypes.guess_type(name)[0] or "" for name in names))
    for guess in guesses:
        match guess.partition("/")[0]:
            case "image":
                return "image"
            case "audio":
                return "audio"
            case "video":
                return "video"
    return "file"


async def sent(
    value: Any, paths: Sequence[Path], send: Send, files: Files, *, web: bool = False, above: int = 0
) -> Any:
    """A copy of `value` in which each file at `paths` is what `send` made of it, `above` that many levels higher.

    A `data:` URI stays as it is, and so does an https URL, for the provider reads it itself; with `web`, we fetch it.
    """
    for path in paths:
        ref = at(value, path)
        if isinstance(ref, str) and not ref.startswith("data:") and (web or is_ours(ref)):
            value = replaced(value, path[: len(path) - above], await send(await files.read(ref)))
    return value


def data_uri(file: File) -> str:
    return f"data:{file.media_type};base64,{base64.b64encode(file.data).decode()}"


def is_ours(ref: str) -> bool:
    """Whether only we can read it: a blob, or IPFS by its content id. Raises `BadReferenceError` for what is none."""
    return not ref.startswith("data:") and not isinstance(parse(ref), WebAddress)


def at(value: Any, path: Path) -> Any:
    """What stands at the path, `None` where nothing does."""
    for part in path:
        inside = part in value if isinstance(value, Mapping) else _has(value, part)
        if inside:
            value = value[part]
        else:
            return None
    return value


def _has(value: Any, part: str | int) -> bool:
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def replaced(value: Any, path: Path, new: Any) -> Any:
    """A copy of `value` with `new` at the path, which exists but for its last key; the rest is shared."""
    if not path:
        return new
    head, *rest = path
    if isinstance(value, Mapping):
        return {**value, head: replaced(value.get(head), tuple(rest), new)}
    items = list(value)
    assert isinstance(head, int)
    items[head] = replaced(items[head], tuple(rest), new)
    return items


def removed(value: Any, path: Path) -> Any:
    """A copy of `value` without what stands at the path."""
    *parents, last = path
    parent = at(value, tuple(parents))
    if isinstance(parent, Mapping):
        return replaced(value, tuple(parents), {key: each for key, each in parent.items() if key != last})
    if isinstance(parent, list) and isinstance(last, int):
        return replaced(value, tuple(parents), [*parent[:last], *parent[last + 1 :]])
    return value
