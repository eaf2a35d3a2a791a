"""Who may be at the console, and that nobody else acts in their name."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from serve.settings import ServeSettings
from storage.engine import Database
from tests.serve.console import seeds
from tests.serve.console.conftest import SAME_ORIGIN, signed_in


@pytest.fixture
def serve_settings(request: pytest.FixtureRequest) -> ServeSettings:
    keys = getattr(request, "param", ())
    return ServeSettings(api_keys=tuple(SecretStr(key) for key in keys))


keyed = pytest.mark.parametrize("serve_settings", [("first-key", "second-key")], indirect=True)


async def test_who_has_not_signed_in_is_asked_to_and_comes_back_to_the_page(client: httpx.AsyncClient) -> None:
    asked = await client.get("/console/runs?status=failed")
    assert (asked.status_code, asked.headers["location"]) == (303, "/console/sign-in?next=%2Fruns%3Fstatus%3Dfailed")
    form = await client.get(asked.headers["location"])
    assert 'name="next" value="/runs?status=failed"' in form.text
    answer = await client.post(
        "/console/sign-in", data={"name": "Ines", "next": "/runs?status=failed"}, headers=SAME_ORIGIN
    )
    assert answer.headers["location"] == "/console/runs?status=failed"
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/console"))
    assert (await client.get("/console/runs?status=failed")).status_code == 200
    await client.post("/console/sign-out", headers=SAME_ORIGIN)
    assert (await client.get("/console/runs")).status_code == 303


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
async def test_a_sign_in_leads_to_no_other_site(client: httpx.AsyncClient, elsewhere: str) -> None:
    answer = await client.post("/console/sign-in", data={"name": "Ines", "next": elsewhere}, headers=SAME_ORIGIN)
    assert answer.headers["location"] == "/console/"


@keyed
async def test_with_keys_a_sign_in_needs_one_of_them(client: httpx.AsyncClient) -> None:
    for fields in ({}, {"key": ""}, {"key": "wrong"}):
        refused = await client.post("/console/sign-in", data={"name": "Ines", **fields}, headers=SAME_ORIGIN)
        assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    await signed_in(client, key="second-key")
    page = await client.get("/console/")
    assert page.status_code == 200
    assert "Everything is shown" in page.text


@keyed
async def test_what_works_for_all_wallets_is_not_stopped_by_one(client: httpx.AsyncClient, database: Database) -> None:
    await seeds.seed_schedules(database)
    address = "/console/schedules/keep_review_time"
    await signed_in(client, key="first-key", wallet="0xbob")
    for page in (await client.get("/console/schedules"), await client.get(address)):
        assert (page.status_code, "keep_review_time" in page.text, "Run now" in page.text) == (200, True, False)
    for action in ("pause", "run", "resume"):
        refused = await client.post(f"{address}/{action}", headers=SAME_ORIGIN)
        assert (refused.status_code, "works for all wallets" in refused.text) == (403, True)
    await signed_in(client, key="first-key")
    assert (await client.post(f"{address}/pause", headers=SAME_ORIGIN)).status_code == 303
    assert "Resume</button>" in (await client.get(address)).text


async def test_a_cookie_that_somebody_else_made_or_changed_says_nothing(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    await signed_in(client)
    mine = client.cookies["hyvve_console"]
    body, _, signature = mine.partition(".")
    for cookie in (body, f"{body}.", f"x{body}.{signature}", f"{body}.{signature[:-2]}AA", "~.~", "." * 50):
        client.cookies.clear()
        refused = await client.get("/console/", headers={"Cookie": f"hyvve_console={cookie}"})
        assert refused.status_code == 303, cookie


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303), ({"Origin": "http://hyvve.test"}, 303),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://hyvve.test"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({}, 403),
    ],
)  # fmt: skip
async def test_a_change_is_only_taken_from_a_page_of_ours(
    ines: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    assert (await ines.post("/console/reviews/claim", headers=headers)).status_code == status


async def test_every_answer_allows_the_browser_nothing_but_our_own_files(client: httpx.AsyncClient) -> None:
    for path in ("/console/sign-in", "/console/", "/console/nowhere", "/console/assets/nothing.css"):
        answer = await client.get(path)
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")


async def test_files_are_named_by_their_content_and_kept_for_ever(ines: httpx.AsyncClient) -> None:
    page = (await ines.get("/console/")).text
    for name in ("console.css", "console.js", "icon.svg"):
        stem, ending = name.split(".")
        address = next(
            part for part in page.split('"') if part.startswith(f"/console/assets/{stem}.") and part.endswith(ending)
        )
        found = await ines.get(address)
        assert (found.status_code, "immutable" in found.headers["cache-control"]) == (200, True)
