"""Workflow definitions: one row per workflow, and one per version of it, which never changes.

What a definition means is not this room's to know: a payload is JSON that was checked before it came here.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, ForeignKey, Index, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.clock import now
from storage.columns import Json, Timestamp
from storage.engine import Base
from storage.errors import ConflictError, NotFoundError
from storage.ids import new_id

# Of the id that clients see, before its eight random digits.
_LONGEST_SLUG = 80


class WorkflowDefinition(Base):
    """A workflow as it is now. A removed one keeps its rows, for its runs tell of them, and its id."""

    __tablename__ = "workflow_definitions"
    __table_args__ = (Index("ix_workflows_wallet", "wallet_address", "workflow_id"),)

    workflow_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    workflow_id_api: Mapped[str] = mapped_column(unique=True)
    wallet_address: Mapped[str]
    name: Mapped[str]
    # The newest of its versions, from 1.
    version: Mapped[int]
    created_at: Mapped[Timestamp] = mapped_column(default=now)
    updated_at: Mapped[Timestamp] = mapped_column(default=now)
    deleted_at: Mapped[Timestamp | None]


class WorkflowVersion(Base):
    __tablename__ = "workflow_versions"

    workflow_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_definitions.workflow_id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    payload: Mapped[Json]
    created_at: Mapped[Timestamp] = mapped_column(default=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow with one version's payload."""

    workflow_id_api: str
    wallet_address: str
    name: str
    version: int
    payload: dict[str, Any]
    created_at: datetime | None
    updated_at: datetime | None
    # The cursor of lists; none of what is not kept here.
    workflow_id: UUID | None = None

    @classmethod
    def of(cls, name: str, payload: dict[str, Any], *, wallet: str) -> Self:
        """One that is not kept here. Equal payloads have equal ids, on every installation."""
        digest = hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return cls(
            workflow_id_api=f"{slug(name)}_{digest[:8]}",
            wallet_address=wallet,
            name=name,
            version=1,
            payload=payload,
            created_at=None,
            updated_at=None,
        )


def new_id_api(name: str) -> str:
    """The id that clients see: the name in lower case with underscores, and eight hexadecimal digits."""
    return f"{slug(name)}_{secrets.token_hex(4)}"


def slug(name: str) -> str:
    """The name in lower case with underscores; what is neither a letter of ASCII nor a digit becomes one."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:_LONGEST_SLUG].strip("_") or "workflow"


async def create(session: AsyncSession, *, wallet: str, name: str, payload: dict[str, Any]) -> Workflow:
    """A new workflow, of version 1. Names need not be unique: the id is."""
    moment = now()
    values = {"wallet_address": wallet, "name": name, "version": 1, "created_at": moment, "updated_at": moment}
    for _ in range(5):
        statement = (
            insert(WorkflowDefinition)
            .values(workflow_id=new_id(), workflow_id_api=new_id_api(name), **values)
            .on_conflict_do_nothing(index_elements=["workflow_id_api"])
            .returning(WorkflowDefinition)
        )
        row = (await session.execute(statement)).scalar_one_or_none()
        if row is not None:
            session.add(_version(row, payload))
            await session.flush()
            return with_payload(row, payload)
    raise ConflictError(f"no free id for a workflow named {name!r} was found; try again", subject=name)


async def head(session: AsyncSession, workflow_id_api: str, *, lock: bool = False) -> WorkflowDefinition:
    """The workflow's own row; `lock` holds it until the unit of work ends. Raises `NotFoundError`."""
    query = select(WorkflowDefinition).where(
        WorkflowDefinition.workflow_id_api == workflow_id_api, WorkflowDefinition.deleted_at.is_(None)
    )
    if lock:
        query = query.with_for_update()
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise NotFoundError.of("workflow", workflow_id_api)
    return row


async def payload_of(session: AsyncSession, workflow_id: UUID, version: int) -> dict[str, Any]:
    """A version's payload. Raises `NotFoundError`."""
    row = await session.get(WorkflowVersion, (workflow_id, version))
    if row is None:
        raise NotFoundError.of("workflow version", f"{workflow_id}/{version}")
    return row.payload


async def of_wallet(session: AsyncSession, wallet: str, *, limit: int, after: UUID | None = None) -> Sequence[Workflow]:
    """The wallet's workflows, newest first, those made before the one with id `after`."""
    return await _page(session, WorkflowDefinition.wallet_address == wallet, limit=limit, after=after)


async def newest(session: AsyncSession, *, limit: int, after: UUID | None = None) -> Sequence[Workflow]:
    """Workflows of any wallet, newest first, those made before the one with id `after`."""
    return await _page(session, true(), limit=limit, after=after)


async def _page(
    session: AsyncSession, whose: ColumnElement[bool], *, limit: int, after: UUID | None
) -> Sequence[Workflow]:
    query = (
        select(WorkflowDefinition, WorkflowVersion.payload)
        .join(
            WorkflowVersion,
            (WorkflowVersion.workflow_id == WorkflowDefinition.workflow_id)
            & (WorkflowVersion.version == WorkflowDefinition.version),
        )
        .where(whose, WorkflowDefinition.deleted_at.is_(None))
        .order_by(WorkflowDefinition.workflow_id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(WorkflowDefinition.workflow_id < after)
    found = (await session.execute(query)).all()
    return [with_payload(each[0], each[1]) for each in found]


async def replace(session: AsyncSession, row: WorkflowDefinition, *, name: str, payload: dict[str, Any]) -> Workflow:
    """A further version of the workflow, whose row the caller holds locked (see `head`). Equal to the newest one it
    makes none.
    """
    present = await payload_of(session, row.workflow_id, row.version)
    if (row.name, present) != (name, payload):
        row.name, row.version, row.updated_at = name, row.version + 1, now()
        session.add(_version(row, payload))
        await session.flush()
    return with_payload(row, payload)


async def remove(session: AsyncSession, row: WorkflowDefinition) -> None:
    """From here on nobody finds it. Runs under way have what they need."""
    row.deleted_at = now()
    await session.flush()


def _version(row: WorkflowDefinition, payload: dict[str, Any]) -> WorkflowVersion:
    return WorkflowVersion(workflow_id=row.workflow_id, version=row.version, name=row.name, payload=payload)


def with_payload(row: WorkflowDefinition, payload: dict[str, Any]) -> Workflow:
    """The workflow of a row and its newest version's payload."""
    return Workflow(
        workflow_id_api=row.workflow_id_api,
        wallet_address=row.wallet_address,
        name=row.name,
        version=row.version,
        payload=payload,
        created_at=row.created_at,
        updated_at=row.updated_at,
        workflow_id=row.workflow_id,
    )
