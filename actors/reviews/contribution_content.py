"""A contribution's content as a reviewer is shown it: what was judged, from where this installation keeps it.

What lies elsewhere is fetched once, by the same guarded way as for verification, and kept here: a reviewer's page loads
nothing from a stranger's host, and sees what was judged even where the stranger changes it later. Content that has
changed already, or cannot be had, is said to have.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from actors.reviews.question import Part
from actors.verification.workplace import Workplace
from storage import references
from storage.blobs.local import LocalBlobStore
from storage.blobs.walrus import WalrusBlobStore
from storage.errors import HyvveError
from storage.references import LocalBlob, Reference, WalrusBlob

Kind = Literal["text", "image", "pdf", "csv"]


async def parts(
    workplace: Workplace,
    title: str,
    data_url: str,
    *,
    blob_id: str | None,
    media_type: str | None,
    content_hash: str | None = None,
) -> list[Part]:
    """The content, and a word where it is not what was judged (whose hash is `content_hash`). Raises nothing of a
    content's own; what fails for all alike, such as a store that is down, is said of it too, and the link is shown.
    """
    kind = kind_of(media_type)
    reference = _reference(data_url, blob_id)
    if (kept := _kept(workplace, reference)) is not None:
        return [Part(kind=kind, title=title, blob_id=kept, media_type=media_type)]
    link = Part(kind=kind, title=title, url=data_url[:2000], media_type=media_type)
    try:
        fetched = await workplace.fetcher.fetch(data_url, blob_id=blob_id)
        if content_hash is not None and hashlib.sha256(fetched.data).hexdigest() != content_hash:
            return [link, _word(title, "What lies at its address is no longer what was judged. Verify it again.")]
        stored = await workplace.store.put(fetched.data)
    except HyvveError as error:
        return [link, _word(title, f"It cannot be shown here: {error.message}")]
    return [Part(kind=kind, title=title, blob_id=stored, media_type=media_type)]


def kind_of(media_type: str | None) -> Kind:
    """As what it is rendered; what nobody knows is text, which is inert."""
    plain = (media_type or "").partition(";")[0].strip().lower()
    if plain == "application/pdf":
        return "pdf"
    if plain == "text/csv":
        return "csv"
    return "image" if plain.startswith("image/") and "svg" not in plain else "text"


def _word(title: str, words: str) -> Part:
    return Part(kind="text", title=f"About: {title}"[:300], content=words)


def _reference(data_url: str, blob_id: str | None) -> Reference | None:
    for text in (data_url, blob_id):
        try:
            return references.parse(text) if text else None
        except HyvveError:
            continue
    return None


def _kept(workplace: Workplace, reference: Reference | None) -> str | None:
    """The id of a blob of this installation's own store."""
    match reference, workplace.store:
        case (LocalBlob(blob_id), LocalBlobStore()) | (WalrusBlob(blob_id), WalrusBlobStore()):
            return blob_id
    return None
