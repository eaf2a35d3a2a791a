"""Webhooks: only from who signs them, only fresh, acted upon once."""

from __future__ import annotations

import base64
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis

from actors.errors import MissingKeyError, WebhookRefusedError
from actors.providers import webhooks
from actors.providers.bell import ring_once
from actors.providers.jobs import JobProvider
from actors.providers.models import Job
from actors.providers.webhooks import signature, verified
from actors.settings import ProviderSettings
from storage.cache import Cache
from storage.errors import CacheUnavailableError
from tests.stubs.http import Request
from tests.stubs.replicate import SECRET, End, Model, ReplicateStub

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY = SecretStr(SECRET)
JOB = Job(id="p1", provider="replicate", model="acme/llama", status="succeeded")


@pytest.fixture
def stub() -> ReplicateStub:
    stub = ReplicateStub()
    stub.ends.append(End(output="Lima"))
    stub._create(Request("POST", "/", {}, b'{"input": {}}'), Model("acme/llama", {}))
    stub.finish("p1")
    return stub


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[Cache]:
    cache = Cache(redis_url)
    yield cache
    await cache.close()


def taken(
    headers: dict[str, str], body: bytes, *, now: datetime = NOW, secret: SecretStr | None = KEY
) -> webhooks.Webhook:
    return verified(headers, body, secret=secret, tolerance_s=300, now=now)


def test_what_the_provider_signed_is_taken(stub: ReplicateStub) -> None:
    headers, body = stub.webhook("p1", at=NOW)
    found = taken(headers, body)
    assert (found.id, found.signed_at, found.body["status"]) == ("msg_p1", NOW, "succeeded")


def test_a_secret_that_is_being_replaced_signs_twice_and_one_suffices(stub: ReplicateStub) -> None:
    headers, body = stub.webhook("p1", at=NOW)
    headers["Webhook-Signature"] = f"v1,AAAA v1a,xyz nonsense {headers['Webhook-Signature']}"
    assert taken(headers, body).id == "msg_p1"


def test_the_published_example_of_the_scheme_is_right() -> None:
    # https://docs.svix.com/receiving/verifying-payloads/how-manual
    body = b'{"test": 2432232314}'
    secret = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    stamp = 1_614_265_330
    signed = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature("msg_p5jXN8AQM9LWM0D4loKWxJek", stamp, body, secret) == signed
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": str(stamp),
        "webhook-signature": signed,
    }
    assert verified(headers, body, secret=secret, tolerance_s=300, now=datetime.fromtimestamp(stamp, UTC)).body


@pytest.mark.parametrize("change", ["body", "webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_change_anywhere_is_refused(stub: ReplicateStub, change: str) -> None:
    headers, body = stub.webhook("p1", at=NOW)
    headers = {name.lower(): value for name, value in headers.items()}
    if change == "body":
        body = body.replace(b"succeeded", b"failed")
    elif change == "webhook-timestamp":
        headers[change] = str(int(headers[change]) + 1)
    else:
        headers[change] = headers[change][:-3] + "xx="
    with pytest.raises(WebhookRefusedError, match="signature is wrong"):
        taken(headers, body)


@pytest.mark.parametrize("missing", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_what_is_not_signed_is_refused_and_says_what_is_missing(stub: ReplicateStub, missing: str) -> None:
    headers, body = stub.webhook("p1", at=NOW)
    del headers[missing]
    with pytest.raises(WebhookRefusedError, match=missing.lower()):
        taken(headers, body)


@pytest.mark.parametrize(("late_s", "words"), [(301, "301 s old"), (-301, "301 s ahead")])
def test_an_old_one_and_one_from_the_future_are_refused(stub: ReplicateStub, late_s: int, words: str) -> None:
    headers, body = stub.webhook("p1", at=NOW)
    with pytest.raises(WebhookRefusedError, match=words):
        taken(headers, body, now=NOW + timedelta(seconds=late_s))
    assert taken(headers, body, now=NOW + timedelta(seconds=late_s - (1 if late_s > 0 else -1)))


def test_another_accounts_secret_is_refused(stub: ReplicateStub) -> None:
    headers, body = stub.webhook("p1", at=NOW, secret="whsec_" + "QUJD" * 8)
    with pytest.raises(WebhookRefusedError):
        taken(headers, body)


@pytest.mark.parametrize("secret", [None, SecretStr("whsec_not base64!")])
def test_without_a_secret_nothing_is_taken(stub: ReplicateStub, secret: SecretStr | None) -> None:
    headers, body = stub.webhook("p1", at=NOW)
    with pytest.raises(MissingKeyError) as caught:
        taken(headers, body, secret=secret)
    assert "not base64" not in caught.value.message


def test_an_installed_provider_has_a_secret_and_an_address_of_its_own(stub: ReplicateStub) -> None:
    url = "https://hyvve.example/teams/webhooks/acme"
    settings = ProviderSettings(webhook_urls=(f"acme={url}",), webhook_secrets=(SecretStr(f"acme={SECRET}"),))
    reach = settings.reach_of("acme")
    assert reach.webhook_url == url
    headers, body = stub.webhook("p1", at=NOW)
    assert taken(headers, body, secret=reach.webhook_secret).id == "msg_p1"
    lacking = settings.reach_of("other").webhook_secret
    with pytest.raises(MissingKeyError, match=JobProvider.webhook_setting):
        verified(headers, body, secret=lacking, tolerance_s=300, now=NOW, setting=JobProvider.webhook_setting)
    for wrong in ({"webhook_urls": ["acme=http://plain.example"]}, {"webhook_secrets": ["whsec_nameless"]}):
        with pytest.raises(ValidationError):
            ProviderSettings.model_validate(wrong)


def test_what_is_signed_and_no_object_is_refused() -> None:
    for body in (b"[]", b"{", b""):
        headers = {
            "webhook-id": "m",
            "webhook-timestamp": "1763726400",
            "webhook-signature": signature("m", 1_763_726_400, body, KEY),
        }
        with pytest.raises(WebhookRefusedError):
            verified(headers, body, secret=KEY, tolerance_s=300, now=datetime.fromtimestamp(1_763_726_400, UTC))


@pytest.mark.parametrize("stamp", ["soon", "9" * 30, "1e9"])
def test_a_time_that_is_none_is_refused(stamp: str) -> None:
    signed = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), f"m.{stamp}.{{}}".encode(), "sha256")
    written = "v1," + base64.b64encode(signed).decode()
    headers = {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": written}
    with pytest.raises(WebhookRefusedError, match="no number of seconds"):
        verified(headers, b"{}", secret=KEY, tolerance_s=300, now=NOW)


async def test_a_delivery_that_is_replayed_is_known(stub: ReplicateStub, cache: Cache) -> None:
    webhook = taken(*stub.webhook("p1", at=NOW))
    assert await ring_once(cache, webhook, JOB, tolerance_s=300)
    assert not await ring_once(cache, webhook, JOB, tolerance_s=300)


async def test_a_delivery_that_could_not_be_told_is_none_that_was_taken(
    stub: ReplicateStub, cache: Cache, redis_url: str
) -> None:
    """The provider sends it again, and then whoever waits for the job must hear of it."""
    webhook = taken(*stub.webhook("p1", at=NOW))
    async with Redis.from_url(redis_url) as redis:
        await redis.execute_command("ACL", "SETUSER", "default", "-publish")  # type: ignore[no-untyped-call]
        try:
            with pytest.raises(CacheUnavailableError):
                await ring_once(cache, webhook, JOB, tolerance_s=300)
        finally:
            await redis.execute_command("ACL", "SETUSER", "default", "+publish")  # type: ignore[no-untyped-call]
    assert await ring_once(cache, webhook, JOB, tolerance_s=300)


async def test_without_redis_nobody_guesses(stub: ReplicateStub) -> None:
    cache = Cache("unix:///nowhere/redis.sock")
    with pytest.raises(CacheUnavailableError):
        await ring_once(cache, taken(*stub.webhook("p1", at=NOW)), JOB, tolerance_s=300)
    await cache.close()
