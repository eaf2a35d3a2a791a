"""What bytes are, by their content; and what a file's name or declared type claims of them.

Signatures are the formats' own magic numbers (PNG 1.2 §12.12, ISO 32000-2 §7.5.2, RFC 9649, GIF89a, JFIF, and those of
the formats we refuse by name). Text has no signature: what matches none of these is tried as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from actors.errors import UnsupportedTypeError

Family = Literal["text", "pdf", "image", "other"]

READABLE = "text, CSV, PDF and PNG, JPEG, WebP or GIF images can be read"


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of content: its family, its media type ("" where any of the family will do) and its name in prose."""

    family: Family
    media_type: str
    name: str


PDF = Kind("pdf", "application/pdf", "a PDF")
PNG = Kind("image", "image/png", "a PNG image")
JPEG = Kind("image", "image/jpeg", "a JPEG image")
WEBP = Kind("image", "image/webp", "a WebP image")
GIF = Kind("image", "image/gif", "a GIF image")
TEXT = Kind("text", "text/plain", "text")
CSV = Kind("text", "text/csv", "a CSV table")
JSON = Kind("text", "application/json", "JSON")
HTML = Kind("text", "text/html", "HTML")
MARKDOWN = Kind("text", "text/markdown", "Markdown")
XML = Kind("text", "application/xml", "XML")
BINARY = Kind("other", "application/octet-stream", "binary data of no readable type")
# The images that are read, by the names of their decoders.
FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF"}


def _other(media_type: str, name: str) -> Kind:
    return Kind("other", media_type, name)


ZIP = _other("application/zip", "a ZIP archive")
SVG = _other("image/svg+xml", "an SVG drawing")
_GZIP = _other("application/gzip", "a gzip archive")
_OLE = _other("application/x-ole-storage", "an old Microsoft Office document")
_EXE = _other("application/vnd.microsoft.portable-executable", "a Windows program")
_MP3 = _other("audio/mpeg", "MP3 audio")
_BMP = _other("image/bmp", "a BMP image")

# Long or unprintable enough that no text begins so by chance.
_STRONG: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"PK\x07\x08", ZIP),
    (b"\x1f\x8b\x08", _GZIP),
    (b"BZh", _other("application/x-bzip2", "a bzip2 archive")),
    (b"\xfd7zXZ\x00", _other("application/x-xz", "an xz archive")),
    (b"7z\xbc\xaf\x27\x1c", _other("application/x-7z-compressed", "a 7z archive")),
    (b"Rar!\x1a\x07", _other("application/vnd.rar", "a RAR archive")),
    (b"\x28\xb5\x2f\xfd", _other("application/zstd", "a zstd archive")),
    (b"\x04\x22\x4d\x18", _other("application/x-lz4", "an LZ4 archive")),
    (b"\x7fELF", _other("application/x-elf", "a Linux program")),
    (b"\xcf\xfa\xed\xfe", _other("application/x-mach-binary", "a macOS program")),
    (b"\xca\xfe\xba\xbe", _other("application/java-vm", "a Java class")),
    (b"\x00asm", _other("application/wasm", "a WebAssembly program")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
    (b"{\\rtf", _other("application/rtf", "an RTF document")),
    (b"%!PS", _other("application/postscript", "PostScript")),
    (b"II*\x00", _other("image/tiff", "a TIFF image")),
    (b"MM\x00*", _other("image/tiff", "a TIFF image")),
    (b"\x00\x00\x01\x00", _other("image/vnd.microsoft.icon", "an icon")),
    (b"\x1aE\xdf\xa3", _other("video/x-matroska", "a Matroska or WebM video")),
    (b"SQLite format 3\x00", _other("application/vnd.sqlite3", "an SQLite database")),
    (b"PAR1", _other("application/vnd.apache.parquet", "a Parquet file")),
    (b"OggS\x00", _other("audio/ogg", "Ogg audio or video")),
    (b"fLaC\x00", _other("audio/flac", "FLAC audio")),
)
# Short enough that a text may begin so: they only name what has failed to be text.
_WEAK: tuple[tuple[bytes, Kind], ...] = (
    (b"MZ", _EXE),
    (b"BM", _BMP),
    (b"ID3", _MP3),
    (b"\xff\xfb", _MP3),
    (b"\xff\xf3", _MP3),
    (b"\x80\x04", _other("application/x-pickle", "a Python pickle")),
    (b"RIFF", _other("application/x-riff", "RIFF audio or video")),
)
_OFFICE = (
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "a Word document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "an Excel workbook"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation", "a PowerPoint file"),
    (b"mimetypeapplication/epub", "application/epub+zip", "an EPUB book"),
    (b"mimetypeapplication/vnd.oasis", "application/vnd.oasis.opendocument", "an OpenDocument file"),
)


def sniff(data: bytes) -> Kind | None:
    """The kind that the content's signature proves, or `None`: then it is text, if it decodes as text."""
    for magic, kind in _STRONG:
        if data.startswith(magic):
            return _zip(data) if kind is ZIP else kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand in {b"heic", b"heix", b"mif1", b"avif"}:
            return _other("image/heif", "a HEIC or AVIF image")
        return _other("video/mp4", "an MP4 or QuickTime file")
    if data[257:262] == b"ustar":
        return _other("application/x-tar", "a tar archive")
    head = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"%PDF-"):
        return PDF
    if head[:1] == b"<" and (head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in head)):
        return SVG
    return None


def sniff_binary(data: bytes) -> Kind:
    """What bytes that are no text are most likely to be. A PDF may stand behind up to 1 KB of junk."""
    if b"%PDF-" in data[:1024]:
        return PDF
    return next((kind for magic, kind in _WEAK if data.startswith(magic)), BINARY)


def sniff_text(text: str) -> Kind | None:
    """HTML or XML by its first tag, else `None`. (JSON is for who can parse it.)"""
    head = text[:512].lstrip().lower()
    if head.startswith(("<!doctype html", "<html")):
        return HTML
    return XML if head.startswith("<?xml") else None


def _zip(data: bytes) -> Kind:
    head = data[:4096]
    for mark, media_type, name in _OFFICE:
        if mark in head:
            return _other(media_type, f"{name} (a ZIP archive inside)")
    return ZIP


# What file name extensions claim. An extension that is not here claims nothing.
_EXTENSIONS: dict[str, Kind] = {
    "txt": TEXT, "text": TEXT, "log": TEXT, "md": MARKDOWN, "markdown": MARKDOWN, "rst": TEXT, "json": JSON,
    "jsonl": TEXT, "ndjson": TEXT, "html": HTML, "htm": HTML, "xhtml": HTML, "xml": XML, "yaml": TEXT, "yml": TEXT,
    "toml": TEXT, "ini": TEXT, "tex": TEXT, "py": TEXT, "js": TEXT, "ts": TEXT, "java": TEXT, "c": TEXT, "cpp": TEXT,
    "h": TEXT, "rs": TEXT, "go": TEXT, "rb": TEXT, "sh": TEXT, "sql": TEXT, "css": TEXT, "srt": TEXT, "vtt": TEXT,
    "csv": CSV, "tsv": CSV, "tab": CSV, "pdf": PDF, "png": PNG, "jpg": JPEG, "jpeg": JPEG, "jpe": JPEG, "jfif": JPEG,
    "webp": WEBP, "gif": GIF, "svg": SVG, "zip": ZIP, "jar": ZIP, "gz": _GZIP, "tgz": _GZIP, "exe": _EXE, "dll": _EXE,
    "mp3": _MP3, "bmp": _BMP, "doc": _OLE, "xls": _OLE, "ppt": _OLE,
    "docx": _other("application/zip", "a Word document"), "xlsx": _other("application/zip", "an Excel workbook"),
    "pptx": _other("application/zip", "a PowerPoint file"), "odt": _other("application/zip", "an OpenDocument file"),
    "epub": _other("application/zip", "an EPUB book"), "rar": _other("application/vnd.rar", "a RAR archive"),
    "7z": _other("application/x-7z-compressed", "a 7z archive"), "tar": _other("application/x-tar", "a tar archive"),
    "bz2": _other("application/x-bzip2", "a bzip2 archive"), "xz": _other("application/x-xz", "an xz archive"),
    "mp4": _other("video/mp4", "an MP4 video"), "mov": _other("video/quicktime", "a QuickTime video"),
    "avi": _other("video/x-msvideo", "an AVI video"), "webm": _other("video/webm", "a WebM video"),
    "wav": _other("audio/wav", "WAV audio"), "ogg": _other("audio/ogg", "Ogg audio"),
    "tif": _other("image/tiff", "a TIFF image"), "tiff": _other("image/tiff", "a TIFF image"),
    "heic": _other("image/heif", "a HEIC image"), "avif": _other("image/avif", "an AVIF image"),
    "rtf": _other("application/rtf", "an RTF document"), "parquet": _other("application/x-parquet", "a Parquet file"),
}  # fmt: skip

_ANY_IMAGE = Kind("image", "", "an image")
# Bare words of web clients, which know a contribution's family at most: "text" is what they call a PDF or a table, too.
_ANY_TEXT = Kind("text", "", "text, a table or a PDF")
_DECLARED: dict[str, Kind] = {
    "text/plain": TEXT, "text/markdown": MARKDOWN, "text/html": HTML, "application/xhtml+xml": HTML, "text/xml": XML,
    "application/xml": XML, "application/json": JSON, "text/csv": CSV, "application/csv": CSV,
    "text/comma-separated-values": CSV, "text/tab-separated-values": CSV, "application/pdf": PDF,
    "application/x-pdf": PDF, "image/png": PNG, "image/x-png": PNG, "image/jpeg": JPEG, "image/jpg": JPEG,
    "image/pjpeg": JPEG, "image/webp": WEBP, "image/gif": GIF, "image/svg+xml": SVG, "image/*": _ANY_IMAGE,
    "application/zip": ZIP, "application/x-zip-compressed": ZIP, "application/gzip": _GZIP,
    "application/x-ndjson": TEXT, "application/x-yaml": TEXT, "application/javascript": TEXT,
    "application/msword": _OLE, "image": _ANY_IMAGE,
    "text": _ANY_TEXT, "document": _ANY_TEXT,
}  # fmt: skip


def claims(file_name: str | None, declared_type: str | None) -> Iterator[tuple[str, Kind]]:
    """What name and declared type claim, each with the words that introduce it in a message."""
    if file_name and "." in file_name:
        claim = _EXTENSIONS.get(file_name.rsplit(".", 1)[1].strip().lower())
        if claim is not None:
            yield f"the name {_short(file_name)} says", claim
    declared = declared_type.split(";", 1)[0].strip().lower() if declared_type else ""
    claim = _declared(declared)
    # Windows browsers declare CSV files so.
    if declared == "application/vnd.ms-excel" and not (file_name or "").lower().endswith((".csv", ".tsv")):
        claim = _OLE
    if claim is not None:
        yield f"the declared type {_short(declared)} says", claim


def _declared(declared: str) -> Kind | None:
    if declared in _DECLARED:
        return _DECLARED[declared]
    main, _, sub = declared.partition("/")
    if not sub:  # clients also declare "pdf", ".png"
        return _EXTENSIONS.get(main.lstrip("."))
    if main == "text" or sub.endswith(("+json", "+xml")):
        return TEXT
    if main in {"image", "audio", "video", "font", "model"}:
        return _other(declared, f"{main} of type {_short(declared)}")
    return None  # application/octet-stream and the unknown claim nothing


def check_claims(actual: Kind, file_name: str | None, declared_type: str | None) -> None:
    """Raises `UnsupportedTypeError` where name or declared type claim another kind than the content is."""
    for words, claim in claims(file_name, declared_type):
        if not _agrees(claim, actual):
            raise UnsupportedTypeError(
                f"{words} {claim.name}, but the content is {actual.name}",
                claimed=claim.media_type or claim.family,
                actual=actual.media_type,
            )


def _agrees(claim: Kind, actual: Kind) -> bool:
    if claim is _ANY_TEXT and actual is PDF:
        return True
    if not claim.media_type and actual.family == "other":  # refused under its own name
        return True
    if claim.family != actual.family:
        return False
    if claim.family == "image" and claim.media_type:
        return claim.media_type == actual.media_type
    if claim is CSV:  # any plain text may be a table; a web page or a JSON document is none
        return actual in {TEXT, CSV}
    if claim.family == "other":  # all refused; the message names the content
        return True
    return True


def refuse(actual: Kind) -> UnsupportedTypeError:
    """The error for content of a kind that nobody here reads."""
    way_out = "archives are not opened; submit the files themselves" if "archive" in actual.name else f"only {READABLE}"
    return UnsupportedTypeError(f"the content is {actual.name}: {way_out}", actual=actual.media_type)


def _short(name: str) -> str:
    plain = "".join(char if char.isprintable() else "?" for char in name)
    return f"“{plain}”" if len(plain) <= 80 else f"“…{plain[-79:]}”"
