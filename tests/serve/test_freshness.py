"""The poll never answers stale after a write, by whatever writer, and survives the database going away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from sqlalchemy import make_url, text

from serve.poll import CampaignPoll
from storage.engine import Database
from storage.errors import DatabaseUnavailableError, NotFoundError
from tests.serve.bodies import create, submit

CAMPAIGN = "campaign_1740392301784"


def plain(database_url: str) -> str:
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


async def test_a_read_that_begins_after_a_commit_never_answers_less(
    client: httpx.AsyncClient, database_url: str
) -> None:
    """Three raw SQL writers raise counters of three campaigns; twelve readers must never see one below what was
    committed before their request began, nor one go back.
    """
    ids = ["c0", "c1", "c2"]
    for onchain_id in ids:
        await create(client, onchain_id)
    committed = dict.fromkeys(ids, 0)
    reads = 0
    stop = asyncio.Event()

    async def write(onchain_id: str) -> None:
        async with await psycopg.AsyncConnection.connect(plain(database_url), autocommit=True) as connection:
            for value in range(1, 251):
                await connection.execute(
                    "UPDATE campaigns SET current_contributions = %s WHERE onchain_campaign_id = %s",
                    (value, onchain_id),
                )
                committed[onchain_id] = value
        stop.set()

    async def read(onchain_id: str) -> None:
        nonlocal reads
        seen = 0
        while not stop.is_set():
            floor = max(seen, committed[onchain_id])
            answer = (await client.get(f"/campaigns/{onchain_id}")).json()
            seen = answer["current_contributions"]
            assert seen >= floor, "stale"
            reads += 1

    await asyncio.gather(*map(write, ids), *(read(ids[n % 3]) for n in range(12)))
    assert reads > 100
    for onchain_id in ids:
        assert (await client.get(f"/campaigns/{onchain_id}")).json()["current_contributions"] == 250


class Line:
    """Answers on their way: each passes while `clear` is set; `busy` says that one has come since it was reset."""

    def __init__(self) -> None:
        self.busy, self.clear = asyncio.Event(), asyncio.Event()
        self.clear.set()


@asynccontextmanager
async def behind(line: Line, database_url: str) -> AsyncIterator[str]:
    """The same database behind a network that can hold its answers."""
    url = make_url(database_url)
    socket = f"{url.query['host']}/.s.PGSQL.{url.port or 5432}"

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            line.busy.set()
            await line.clear.wait()
            writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(socket)
        await asyncio.gather(ask(reader, server_writer), answer(server_reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    user = f"{url.username or 'postgres'}@"
    yield f"postgresql://{user}127.0.0.1:{port}/{url.database}?sslmode=disable"
    server.close()


async def test_a_query_that_is_under_way_answers_nobody_who_came_later(
    client: httpx.AsyncClient, database: Database, database_url: str
) -> None:
    await create(client)
    line = Line()
    async with behind(line, database_url) as url:
        poll = CampaignPoll(url, cache_size=2, timeout_s=30)
        await poll.get(CAMPAIGN)
        for number in range(3):
            line.busy.clear()
            line.clear.clear()
            early = asyncio.create_task(poll.get(CAMPAIGN))
            await asyncio.wait_for(line.busy.wait(), 30)  # its query has run; the answer is on its way
            async with database.begin() as session:
                await session.execute(text("UPDATE campaigns SET title = :title"), {"title": f"new {number}"})
            late = asyncio.create_task(poll.get(CAMPAIGN))
            await asyncio.sleep(0)  # it has asked
            line.clear.set()
            assert b"new %d" % number in (await late).before.body, "stale"
            assert b"new %d" % number not in (await early).before.body
        await poll.close()


async def test_every_kind_of_write_shows_at_once(client: httpx.AsyncClient, database_url: str) -> None:
    made = await create(client)

    async def polled() -> Any:
        return await client.get(f"/campaigns/{CAMPAIGN}")

    assert (await polled()).json() == made
    await submit(client)
    assert (await polled()).json()["current_contributions"] == 1
    async with await psycopg.AsyncConnection.connect(plain(database_url), autocommit=True) as connection:
        await connection.execute("UPDATE campaigns SET title = 'by hand'")
        assert (await polled()).json()["title"] == "by hand"
        # The trigger that raises `version` does not run for a replication role.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE campaigns SET title = 'without the trigger'")
        assert (await polled()).json()["title"] == "without the trigger"
        # The same row made again: equal id, equal version, other content.
        await connection.execute("CREATE TEMP TABLE kept AS SELECT * FROM campaigns")
        await connection.execute("UPDATE kept SET title = 'made again'")
        await connection.execute("DELETE FROM campaigns")
        assert (await polled()).status_code == 404
        await connection.execute("INSERT INTO campaigns SELECT * FROM kept")
        assert (await polled()).json()["title"] == "made again"
        # An uncommitted write is not to be seen.
        async with connection.transaction():
            await connection.execute("UPDATE campaigns SET title = 'not yet'")
            assert (await polled()).json()["title"] == "made again"
        assert (await polled()).json()["title"] == "not yet"
        await connection.execute("UPDATE campaigns SET unit_price = 10::numeric ^ 70")
        assert (await polled()).json()["unit_price"] == 10**70
        assert (await client.get("/campaigns/all")).json()[0]["unit_price"] == 10**70


async def test_a_campaign_expires_without_a_write(client: httpx.AsyncClient) -> None:
    expiration = int(time.time()) + 4
    await create(client, expiration=expiration)
    open_ = await client.get(f"/campaigns/{CAMPAIGN}")
    assert open_.json()["is_active"] is True
    await asyncio.sleep(expiration - time.time() + 0.1)
    closed = await client.get(f"/campaigns/{CAMPAIGN}", headers={"If-None-Match": open_.headers["etag"]})
    assert closed.status_code == 200
    assert closed.json()["is_active"] is False


async def test_unchanged_is_304_and_head_has_no_body(client: httpx.AsyncClient, database: Database) -> None:
    await create(client)
    url = f"/campaigns/{CAMPAIGN}"
    etag = (await client.get(url)).headers["etag"]
    unchanged = await client.get(url, headers={"If-None-Match": f'"other", W/{etag}'})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    async with database.begin() as session:
        await session.execute(text("UPDATE campaigns SET title = 'new'"))
    changed = await client.get(url, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    head = await client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(changed.content)
    assert (await client.delete(url)).status_code == 405


@pytest.fixture
def poll(database_url: str) -> CampaignPoll:
    return CampaignPoll(database_url, cache_size=2, timeout_s=20)


async def test_requests_of_one_moment_share_a_query(
    client: httpx.AsyncClient, poll: CampaignPoll, database_url: str
) -> None:
    for number in range(4):
        await create(client, f"c{number}")
    entries = await asyncio.gather(*(poll.get(f"c{n % 4}") for n in range(200)))
    assert [b"c%d" % (n % 4) in entry.before.body for n, entry in enumerate(entries)] == [True] * 200
    assert poll.queries <= 3
    assert sum(poll.holds(f"c{n}") for n in range(4)) == 2, "the cache is bounded"
    await poll.close()


async def test_a_client_that_leaves_takes_nobody_with_it(client: httpx.AsyncClient, poll: CampaignPoll) -> None:
    await create(client)
    reads = [asyncio.create_task(poll.get(CAMPAIGN)) for _ in range(4)]
    await asyncio.sleep(0)
    reads[1].cancel()
    entries = await asyncio.gather(*reads, return_exceptions=True)
    assert isinstance(entries[1], asyncio.CancelledError)
    assert all(not isinstance(entry, BaseException) for n, entry in enumerate(entries) if n != 1)
    with pytest.raises(NotFoundError):
        await poll.get(str(uuid4()))
    await poll.close()


async def test_the_poll_comes_back_after_its_connection_was_lost(client: httpx.AsyncClient, database: Database) -> None:
    await create(client)
    assert (await client.get(f"/campaigns/{CAMPAIGN}")).status_code == 200
    async with database.begin() as session:
        await session.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        )  # fmt: skip
    assert (await client.get(f"/campaigns/{CAMPAIGN}")).status_code == 200
    assert (await client.get("/campaigns/all")).status_code == 200


async def test_a_database_that_is_away_is_said_at_once_to_all_who_wait() -> None:
    poll = CampaignPoll("postgresql://nobody@127.0.0.1:9/none", cache_size=2, timeout_s=2)
    outcomes = await asyncio.gather(*(poll.get("a") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(outcome, DatabaseUnavailableError) for outcome in outcomes)
    await poll.close()
