"""Files that a wallet's agents have stored: which blob is whose, and under what name.

A blob store knows bytes by their id and nothing of people. Here stands who may list and read them again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Index,
    String,
    UniqueConstraint,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped, aliased, mapped_column

from storage.campaigns import Campaign
from storage.clock import now
from storage.columns import Timestamp
from storage.contributions import Contribution
from storage.engine import Base
from storage.errors import NotFoundError
from storage.ids import new_id


class StoredFile(Base):
    __tablename__ = "stored_files"
    __table_args__ = (
        UniqueConstraint("owner", "blob_id", "name", name="uq_stored_files"),
        Index("ix_stored_files_owner", "owner", "file_id"),
    )

    file_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner: Mapped[str]  # the wallet
    name: Mapped[str]
    blob_id: Mapped[str]
    store: Mapped[str]  # the blob store's name
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[Timestamp] = mapped_column(default=now)


async def keep(
    session: AsyncSession, *, owner: str, name: str, blob_id: str, store: str, media_type: str, size: int
) -> StoredFile:
    """The record that this wallet stored this blob under this name. Keeping it again answers the first record."""
    values = {
        "file_id": new_id(), "owner": owner, "name": name, "blob_id": blob_id, "store": store,
        "media_type": media_type, "size": size, "created_at": now(),
    }  # fmt: skip
    statement = insert(StoredFile).values(values).on_conflict_do_nothing(constraint="uq_stored_files")
    await session.execute(statement)
    query = select(StoredFile).where(StoredFile.owner == owner, StoredFile.blob_id == blob_id, StoredFile.name == name)
    return (await session.execute(query)).scalar_one()


async def get(session: AsyncSession, file_id: UUID) -> StoredFile:
    """The record, whoever's. Raises `NotFoundError`."""
    row = await session.get(StoredFile, file_id)
    if row is None:
        raise NotFoundError.of("stored file", str(file_id))
    return row


async def of_owner(session: AsyncSession, owner: str, *, limit: int, after: UUID | None = None) -> Sequence[StoredFile]:
    """The wallet's files, newest first, those after the one with id `after`."""
    query = select(StoredFile).where(StoredFile.owner == owner)
    if after is not None:
        query = query.where(StoredFile.file_id < after)
    return (await session.execute(query.order_by(StoredFile.file_id.desc()).limit(limit))).scalars().all()


async def by_blob(session: AsyncSession, owner: str, blob_id: str) -> StoredFile | None:
    """The wallet's newest file of this blob."""
    query = select(StoredFile).where(StoredFile.owner == owner, StoredFile.blob_id == blob_id)
    return (await session.execute(query.order_by(StoredFile.file_id.desc()).limit(1))).scalar_one_or_none()


async def may_read(session: AsyncSession, wallet: str, blob_id: str) -> bool:
    """Whether the blob is the wallet's, or was contributed by whose it is to a campaign that the wallet created.

    It is theirs who stored it, and theirs who contributed it first: ids are public, so to name one proves nothing.
    """
    return bool(await readable(session, wallet, {blob_id}))


async def readable(session: AsyncSession, wallet: str, blob_ids: Collection[str]) -> set[str]:
    """Those of the blobs that the wallet may read (see `may_read`)."""
    asked = func.unnest(literal(list(blob_ids), ARRAY(String))).table_valued("blob_id", name="asked").render_derived()
    earliest = aliased(Contribution)
    of_earliest = or_(earliest.blob_id == asked.c.blob_id, earliest.data_url == asked.c.blob_id)
    first = (
        select(earliest.contributor).where(of_earliest).order_by(earliest.seq).limit(1)
        .correlate_except(earliest).scalar_subquery()
    )  # fmt: skip

    def owns(who: str | InstrumentedAttribute[str]) -> ColumnElement[bool]:
        stored = exists().where(StoredFile.owner == who, StoredFile.blob_id == asked.c.blob_id)
        return or_(first == who, stored.correlate_except(StoredFile))

    contributed = (
        exists()
        .where(or_(Contribution.blob_id == asked.c.blob_id, Contribution.data_url == asked.c.blob_id))
        .where(owns(Contribution.contributor))
        .where(Contribution.campaign_id == Campaign.campaign_id, Campaign.creator_wallet_address == wallet)
        .correlate_except(Contribution, Campaign)
    )
    found = await session.execute(select(asked.c.blob_id).where(or_(owns(wallet), contributed)))
    return set(found.scalars())
