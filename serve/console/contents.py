"""What contributions hold, fetched past the same guard as for judging, and kept for a minute, for a page asks twice."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from actors.settings import ReadLimits
from actors.verification.view import View, page_picture, picture, view
from serve.console.session import Visitor
from serve.errors import ForbiddenError
from storage.blobs.base import BlobStore
from storage.blobs.open import open_store
from storage.campaigns import Campaign
from storage.contributions import Contribution
from storage.errors import HyvveError
from storage.fetch import ContentFetcher, Fetched
from storage.settings import StorageSettings

_KEPT_S = 60.0
_KEPT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Named:
    """A content by its reference; `declared_type` is what its sender says it is."""

    data_url: str
    blob_id: str | None = None
    declared_type: str | None = None
    file_name: str | None = None

    @classmethod
    def of(cls, contribution: Contribution) -> Named:
        return cls(contribution.data_url, contribution.blob_id, contribution.file_type)


class Contents:
    """Of one event loop. Nothing is opened before the first content is asked for."""

    def __init__(self, storage: StorageSettings, limits: ReadLimits) -> None:
        self._storage = storage
        self._limits = limits
        self._store: BlobStore | None = None
        self._fetcher: ContentFetcher | None = None
        self._kept: OrderedDict[Named, tuple[float, Fetched]] = OrderedDict()

    async def fetch(self, named: Named) -> Fetched:
        """The bytes, and what their source says of them. Raises what `ContentFetcher.fetch` raises."""
        found = self._kept.get(named)
        if found is not None and found[0] > time.monotonic():
            return found[1]
        if self._fetcher is None:
            self._store = open_store(self._storage)
            self._fetcher = ContentFetcher(self._storage, self._store)
        fetched = await self._fetcher.fetch(named.data_url, blob_id=named.blob_id)
        self._kept.pop(named, None)
        self._kept[named] = (time.monotonic() + _KEPT_S, fetched)
        while len(self._kept) > 1 and sum(len(each.data) for _, each in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return fetched

    async def view(self, named: Named) -> View:
        """The content as a person sees it; what cannot be fetched or shown says why."""
        try:
            fetched = await self.fetch(named)
        except HyvveError as error:
            return View(kind="nothing", name="nothing", size=0, notes=(error.message,))
        return await view(
            fetched.data, self._limits,
            file_name=named.file_name or fetched.file_name, declared_type=named.declared_type or fetched.media_type,
        )  # fmt: skip

    async def picture(self, named: Named) -> bytes:
        """The image drawn anew, as a PNG. Raises what fetching and decoding raise."""
        return await picture((await self.fetch(named)).data, self._limits)

    async def page_picture(self, named: Named, number: int) -> bytes:
        """The pictures on this page of a PDF drawn anew, as a PNG. Raises what fetching and decoding raise."""
        return await page_picture((await self.fetch(named)).data, number, self._limits)

    async def close(self) -> None:
        if self._fetcher is not None:
            await self._fetcher.close()
        if self._store is not None:
            await self._store.close()


def require_may_open(visitor: Visitor, contribution: Contribution, campaign: Campaign) -> None:
    """Raises `ForbiddenError` unless the content is this visitor's to see: its contributor, the campaign's creator, and
    who acts for all by an API key.
    """
    if visitor.sees_all or visitor.wallet in {contribution.contributor, campaign.creator_wallet_address}:
        return
    raise ForbiddenError(
        "a contribution's content is for its contributor and the campaign's creator: sign in with one of their wallets",
        subject=str(contribution.contribution_id),
    )
