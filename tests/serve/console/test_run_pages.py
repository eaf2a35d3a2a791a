"""A run's page: where it came from, what may be done with it, and where Ray shows who drives it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from serve.settings import ServeSettings
from storage import run_shards
from storage.ids import new_id
from tests.actors.runs.engine import gate
from tests.conftest import database_from_template
from tests.serve.console import site as sites
from tests.serve.console.conftest import signed_in
from tests.serve.console.forms import pressed, shown
from tests.serve.console.site import Site

RAY = "http://ray.example:8265"


# One site for all of them.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One whose Ray dashboard is known, and where Ray has a scheduler and the host of these runs, but no batches."""

    async def find(noun: str) -> str | None:
        return {"schedules": "5c4ed", "host": "40571"}.get(noun)

    directory, settings = tmp_path_factory.mktemp("site"), ServeSettings(dashboard_url=f"{RAY}/")
    with database_from_template(postgres, "run_pages") as url:
        async with sites.opened(url, redis_server, directory, serve_settings=settings, find_actor=find) as opened:
            yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def ines(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(site.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
        yield await signed_in(client)


async def test_a_run_of_a_batch_leads_to_the_batch_and_a_fork_to_what_it_was_forked_from(
    site: Site, ines: httpx.AsyncClient
) -> None:
    batch_id = new_id()
    first, second = [
        await site.engine.runs.start("counting", {"steps": 2}, {"trail": []}, parent_run_id=batch_id) for _ in range(2)
    ]
    other = await site.engine.runs.start("counting", {"steps": 2}, {"trail": []})
    await site.engine.ended(first.run_id)
    page = await shown(ines, f"/console/runs/{first.run_id}")
    assert "Forked from" not in page
    assert f'/console/runs?batch={batch_id}"' in page
    listed = await shown(ines, f"/console/runs?batch={batch_id}&kind=")
    assert [str(each.run_id) in listed for each in (first, second, other)] == [True, True, False]
    assert (await ines.get("/console/runs?batch=nonsense")).status_code == 422
    forked = await pressed(ines, page, "Fork")
    assert f'Forked from</dt><dd><a class="mono" href="/console/runs/{first.run_id}"' in forked
    assert "<dt>Batch</dt>" not in forked


async def test_a_run_is_cancelled_from_its_page(site: Site, ines: httpx.AsyncClient) -> None:
    run = await site.engine.runs.start("gated", {"gate": "console"}, {"trail": []})
    await pressed(ines, await shown(ines, f"/console/runs/{run.run_id}"), "Cancel")
    gate("console").set()
    assert (await site.engine.ended(run.run_id)).status == "cancelled"


async def test_a_runs_budget_stands_beside_what_it_used_also_where_nothing_was_left(
    site: Site, ines: httpx.AsyncClient
) -> None:
    budget = {"max_tokens": 1_000, "max_cost_micro_usd": 0}
    run = await site.engine.runs.start("spendthrift", {}, {"trail": []}, budget=budget)
    assert (await site.engine.ended(run.run_id)).status == "failed"
    page = await shown(ines, f"/console/runs/{run.run_id}")
    assert "60 in, 15 out, of 1,000</dd>" in page
    assert "$0.000007 of $0</dd>" in page
    assert "larger `budget`" in page


async def test_links_to_ray_lead_to_who_is_at_work(site: Site, ines: httpx.AsyncClient) -> None:
    run = await site.engine.runs.start("counting", {"steps": 2}, {"trail": []})
    async with site.database.read() as session:
        assert await run_shards.host_of(session, run.shard) == "host"
    of_run = f"/console/ray/runs/{run.run_id}"
    assert f'<a href="{of_run}" rel="noreferrer" data-whole>' in await shown(ines, f"/console/runs/{run.run_id}")
    for address, place in (
        (of_run, "actors/40571"), ("/console/ray/schedules", "actors/5c4ed"), ("/console/ray/batches", "actors")
    ):  # fmt: skip
        answer = await ines.get(address)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{RAY}/#/{place}"), address
    theirs = await site.engine.runs.start("counting", {"steps": 2}, {"trail": []}, owner="0xowner")
    assert (await ines.get(f"/console/ray/runs/{theirs.run_id}")).status_code == 403
