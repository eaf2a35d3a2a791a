"""Which values are addresses of files, and which of those only show where an address goes."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from actors.reviews.forms.words import words

_SCHEMES = frozenset({"http", "https", "s3", "gs", "ipfs", "ar", "walrus", "blob", "file", "ftp"})
_MOST_CHARS = 8192
# Names that RFC 2606 and RFC 6761 keep free for examples, and services that paint a picture of any size. A provider's
# delivery host is none: users' own files lie there too.
_EXAMPLE_ENDS = ("example", "invalid", "test", "localhost")
_EXAMPLE_NAMES = frozenset(
    {"example", "yourdomain", "your-domain", "mydomain", "yoursite", "yourwebsite", "domain", "website"}
)
_PICTURE_HOSTS = frozenset(
    {"via.placeholder.com", "placeholder.com", "placehold.co", "placehold.it", "placekitten.com", "picsum.photos",
     "dummyimage.com", "placebear.com", "loremflickr.com", "fakeimg.pl", "lorempixel.com", "placeimg.com"}
)  # fmt: skip
_BLANK = re.compile(
    r"<[^<>]{1,80}>|\{\{?[^{}]{1,80}\}?\}|\[(?:your|insert|add)\b[^\[\]]{0,80}\]|\.\.\.|…", re.IGNORECASE
)
_BLANK_WORDS = frozenset({"placeholder", "todo", "changeme", "xxx", "xxxx", "lorem", "dummy"})
_BLANK_PHRASES = (
    ("your",),
    ("path", "to"),
    ("url", "here"),
    ("insert", "url"),
    ("image", "url", "here"),
    ("url", "to"),
)
# What follows "your" in an address that is not yet one.
_YOURS = frozenset(
    {
        "image",
        "file",
        "audio",
        "video",
        "photo",
        "picture",
        "document",
        "url",
        "link",
        "bucket",
        "domain",
        "host",
        "site",
    }
)


def is_url(value: Any) -> bool:
    """Whether the whole value is the address of a file: a URL with a host, or the file itself as a `data:` URL."""
    if not isinstance(value, str):
        return False
    text = value[:_MOST_CHARS].strip()
    if text[:5].lower() == "data:":
        return "," in text[:256]
    if any(letter.isspace() for letter in text) or ":" not in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme.lower() in _SCHEMES and bool(parts.netloc or (parts.scheme == "file" and parts.path))


def is_placeholder(value: Any) -> bool:
    """Whether the value only holds the place of a file's address: nobody's file can be behind it."""
    if not isinstance(value, str):
        return False
    text = value[:_MOST_CHARS].strip()
    if text[:5].lower() == "data:":
        return _BLANK.search(text[-80:]) is not None
    if is_url(text):
        return _is_example_host(text) or _BLANK.search(text) is not None or _says_blank(text)
    # "<image url>", "{image}", "YOUR_IMAGE_URL": no address yet, and nothing else either.
    return (_BLANK.fullmatch(text) is not None and text not in {"...", "…"}) or (
        len(text) < 100 and _is_name_of_blank(text)
    )


def _is_example_host(text: str) -> bool:
    try:
        host = (urlsplit(text).hostname or "").lower().rstrip(".")
    except ValueError:
        return False
    labels = host.split(".")
    if labels[-1] in _EXAMPLE_ENDS or host in _PICTURE_HOSTS:
        return True
    return len(labels) >= 2 and labels[-2] in _EXAMPLE_NAMES and labels[-1] in {"com", "org", "net", "edu"}


def _says_blank(text: str) -> bool:
    said = words(text)
    if any(word in _BLANK_WORDS for word in said):
        return True
    for at, word in enumerate(said):
        if word == "your" and at + 1 < len(said) and said[at + 1] in _YOURS:
            return True
        if word == "path" and said[at + 1 : at + 2] == ("to",) and said[at + 2 : at + 3]:
            return True
    return False


def _is_name_of_blank(text: str) -> bool:
    if " " in text and not text.isupper():
        return False
    said = words(text)
    return (
        bool(said)
        and any(said[: len(phrase)] == phrase or said[-len(phrase) :] == phrase for phrase in _BLANK_PHRASES)
        and (said[-1] in {"url", "uri", "here", "file", "image", "path"} or said[0] == "path")
    )
