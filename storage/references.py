"""What a contribution's `data_url` names: a stored blob, a file on IPFS, or something on the web."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import unquote

from yarl import URL

from storage import cids
from storage.blobs import local, walrus
from storage.errors import AddressRefusedError, BadReferenceError

_MAX_CHARS = 2048
_UNCLEAN = re.compile(r"[\x00-\x20\x7f\\]")
_IPFS = re.compile(r"(?:ipfs://(?:ipfs/)?|/?ipfs/)(?P<cid>[^/?#]+)(?:/(?P<path>[^?#]*))?", re.IGNORECASE)
_CID = re.compile(r"Qm[1-9A-HJ-NP-Za-km-z]{44}|[bBfFzku][A-Za-z0-9_-]{40,}")
# The last label of a host that a resolver would take for a number (https://url.spec.whatwg.org/#ends-in-a-number-checker).
_NUMERIC = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


@dataclass(frozen=True, slots=True)
class LocalBlob:
    blob_id: str


@dataclass(frozen=True, slots=True)
class WalrusBlob:
    blob_id: str


@dataclass(frozen=True, slots=True)
class IpfsFile:
    """A content id and the path below it, unquoted, without a leading slash."""

    cid: cids.Cid
    path: str = ""


@dataclass(frozen=True, slots=True)
class WebAddress:
    url: URL


Reference = LocalBlob | WalrusBlob | IpfsFile | WebAddress


def parse(data_url: str) -> Reference:
    """What it names. Raises `BadReferenceError`, or `AddressRefusedError` for a URL that hides where it leads."""
    text = data_url.strip()
    if not text or len(text) > _MAX_CHARS or _UNCLEAN.search(text):
        why = "empty" if not text else f"longer than {_MAX_CHARS}" if len(text) > _MAX_CHARS else "not clean"
        raise _bad(text, f"it is {why}")
    if local.BLOB_ID.fullmatch(text):
        return LocalBlob(text)
    if walrus.BLOB_ID.fullmatch(text):
        return WalrusBlob(text)
    if found := _IPFS.fullmatch(text):
        return ipfs_file(found["cid"], found["path"] or "")
    if "://" in text:
        return WebAddress(web_url(text))
    if _CID.fullmatch(text.partition("/")[0]):
        cid, _, path = text.partition("/")
        return ipfs_file(cid, path)
    raise _bad(text, "use a blob id, an IPFS content id, a Walrus URL or an https URL")


def ipfs_file(cid: str, quoted_path: str) -> IpfsFile:
    """A file under a content id. Raises `BadReferenceError` for a bad id or a path that climbs."""
    path = unquote(quoted_path)
    if any(part in {".", ".."} for part in re.split(r"[/\\]", path)) or "\0" in path:
        raise _bad(quoted_path, "its path climbs out of the content id")
    return IpfsFile(cids.parse(cid), path)


def web_url(text: str) -> URL:
    """An http or https URL whose host is a plain name or address, without credentials and fragment."""
    try:
        url = URL(text).with_fragment(None)
        host, port, _ = url.raw_host, url.port, url.host  # the last fails for a host that is no IDNA
    except ValueError as error:
        raise _bad(text, str(error)) from None
    if url.scheme not in {"http", "https"}:
        raise _bad(text, f"the scheme {url.scheme[:20]!r} is not supported")
    if not host or port is None:
        raise _bad(text, "it has no host")
    if url.raw_user is not None or url.raw_password is not None or "@" in url.raw_authority:
        raise AddressRefusedError("a URL with a user name or password in it is refused", subject=host, kind="userinfo")
    if ":" not in host and not _is_name(host.removesuffix(".")):
        raise _bad(text, "its host is no name: each part of one has from 1 to 63 characters, all together 253 at most")
    last = host.rstrip(".").rpartition(".")[2]
    if ":" not in host and _NUMERIC.fullmatch(last) and not _is_dotted(host):
        raise AddressRefusedError(
            f"the host {host!r} is an address in disguise, which is refused", subject=host, kind="numeric host"
        )
    return url


def _is_name(host: str) -> bool:
    return len(host) <= 253 and all(0 < len(label) <= 63 for label in host.split("."))


def _is_dotted(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _bad(text: str, why: str) -> BadReferenceError:
    return BadReferenceError(f"the reference {text[:100]!r} cannot be used: {why}", subject=text[:100])
