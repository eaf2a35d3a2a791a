"""A workflow's versions never change, its id never changes hands, and two who save at once make two versions."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from storage import workflows
from storage.engine import Database
from storage.errors import NotFoundError


def payload(text: str = "one") -> dict[str, Any]:
    return {"name": "flow", "text": text}


async def made(database: Database, name: str = "A Flow", wallet: str = "0xa") -> workflows.Workflow:
    async with database.begin() as session:
        return await workflows.create(session, wallet=wallet, name=name, payload=payload())


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Flow", "my_flow"),
        ("  Über-Flow 2.0! ", "ber_flow_2_0"),
        ("流れ", "workflow"),
        ("x" * 300, "x" * 80),
        ("END", "end"),
    ],
)
def test_an_id_is_the_name_in_lower_case_with_underscores_and_eight_digits(name: str, slug: str) -> None:
    assert re.fullmatch(slug + "_[0-9a-f]{8}", workflows.new_id_api(name))


async def test_each_change_is_a_version_and_the_earlier_ones_stay(database: Database) -> None:
    first = await made(database)
    async with database.begin() as session:
        row = await workflows.head(session, first.workflow_id_api, lock=True)
        second = await workflows.replace(session, row, name="Other", payload=payload("two"))
    async with database.begin() as session:
        row = await workflows.head(session, first.workflow_id_api, lock=True)
        same = await workflows.replace(session, row, name="Other", payload=payload("two"))
    assert (first.version, second.version, same.version) == (1, 2, 2)
    assert second.workflow_id_api == first.workflow_id_api
    assert first.workflow_id is not None
    async with database.read() as session:
        assert await workflows.payload_of(session, first.workflow_id, 1) == payload("one")
        assert await workflows.payload_of(session, first.workflow_id, 2) == payload("two")


async def test_two_who_save_at_once_make_two_versions(database: Database) -> None:
    workflow = await made(database)

    async def save(text: str) -> int:
        async with database.begin() as session:
            row = await workflows.head(session, workflow.workflow_id_api, lock=True)
            return (await workflows.replace(session, row, name="A Flow", payload=payload(text))).version

    assert sorted(await asyncio.gather(save("left"), save("right"))) == [2, 3]


async def test_what_is_removed_is_found_by_nobody_and_its_versions_stay(database: Database) -> None:
    workflow = await made(database)
    async with database.begin() as session:
        await workflows.remove(session, await workflows.head(session, workflow.workflow_id_api, lock=True))
    async with database.read() as session:
        with pytest.raises(NotFoundError):
            await workflows.head(session, workflow.workflow_id_api)
        assert await workflows.of_wallet(session, "0xa", limit=10) == []
        assert workflow.workflow_id is not None
        assert await workflows.payload_of(session, workflow.workflow_id, 1) == payload()


async def test_a_wallets_workflows_are_paged_newest_first(database: Database) -> None:
    names = [f"flow {i}" for i in range(5)]
    for name in names:
        await made(database, name)
    await made(database, "not mine", "0xb")
    async with database.read() as session:
        page = await workflows.of_wallet(session, "0xa", limit=3)
        rest = await workflows.of_wallet(session, "0xa", limit=3, after=page[-1].workflow_id)
    assert [each.name for each in (*page, *rest)] == names[::-1]
