"""A provider's call within a run: paid for once, although hosts stop and tries fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from actors.providers.base import AIProvider
from actors.providers.calling import called
from actors.providers.files import Files
from actors.providers.models import ProviderRequest
from actors.providers.openai import OpenAIProvider
from actors.providers.replicate import ReplicateProvider
from actors.runs.kinds import Kind
from actors.runs.retrying import RetryPolicy
from actors.settings import ProviderReach, ProviderSettings
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine, Trail, chain
from tests.conformance.ai_provider import KEY, until
from tests.stubs.openai_platform import OpenAIPlatformStub
from tests.stubs.replicate import End, ReplicateStub

Open = Callable[[], AIProvider]


@pytest.fixture
async def replicate() -> AsyncIterator[ReplicateStub]:
    async with ReplicateStub(KEY) as stub:
        yield stub


@pytest.fixture
async def openai() -> AsyncIterator[OpenAIPlatformStub]:
    async with OpenAIPlatformStub(KEY) as stub:
        yield stub


@pytest.fixture
async def engine(  # noqa: PLR0917 - what a host needs
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    files: Files,
    replicate: ReplicateStub,
    openai: OpenAIPlatformStub,
) -> AsyncIterator[Engine]:
    settings = ProviderSettings(poll_s=0.01, poll_patience_s=0.0, prices=("gpt-5-mini=10/100",))
    opened: list[AIProvider] = []

    def node(kind: type[AIProvider], url: str, model: str, operation: str | None) -> Any:
        reach = ProviderReach(base_url=url, api_key=SecretStr(KEY))

        async def call(state: Trail) -> dict[str, Any]:
            provider = kind(reach, settings, files)
            opened.append(provider)
            payload = await provider.create_payload(ProviderRequest(model=model, operation=operation, prompt="Peru?"))
            response = await called(provider, payload)
            if not engines.gate("passes").is_set():
                engines.gate("called").set()
                engines.gate("passes").set()
                raise ConnectionError("after the call")
            return {"trail": [response.text]}

        return call

    def kind(name: str, call: Callable[[Trail], Awaitable[dict[str, Any]]]) -> Kind:
        return Kind(name=name, graph=lambda _: chain(("call", call)), retry=RetryPolicy(attempts=3, base_s=0.01))

    def kinds(_: Any) -> Any:
        return engines.kinds(
            kind("job", node(ReplicateProvider, replicate.url, "acme/llama", None)),
            kind("answer", node(OpenAIProvider, openai.base_url, "gpt-5-mini", "responses")),
        )

    setup = engines.setup_of(database_url, redis_url, tmp_path, kinds)
    async with engines.opened(setup) as engine:
        engines.gate("passes").set()
        yield engine
    for each in opened:
        await each.close()


async def run(engine: Engine, kind: str) -> Any:
    return await engine.runs.start(kind, {}, {"trail": []})


@pytest.mark.parametrize("kind", ["job", "answer"])
async def test_a_step_that_fails_after_its_call_does_not_pay_for_another(
    engine: Engine, replicate: ReplicateStub, openai: OpenAIPlatformStub, kind: str
) -> None:
    engines.gate("passes").clear()
    await engine.host()
    ended = await engine.ended((await run(engine, kind)).run_id)
    assert ended.output is not None
    assert ended.output["trail"][0].startswith("Lima")
    assert engines.gate("called").is_set()
    assert len(replicate.made) + len(openai.paid) == 1
    if kind == "answer":
        assert ended.usage["cost_micro_usd"] == 40 * 10 + 12 * 100, "counted once"


async def test_a_job_that_its_own_failure_ended_is_begun_anew_and_a_lost_connection_begins_none(
    engine: Engine, replicate: ReplicateStub
) -> None:
    replicate.ends += [
        End(status="failed", error="Prediction interrupted; please retry (code: PA)"),
        End(output="Lima"),
    ]
    await engine.host()
    ended = await engine.ended((await run(engine, "job")).run_id)
    assert ended.output == {"trail": ["Lima"]}
    assert len(replicate.made) == 2


async def test_a_job_outlives_a_host_that_is_gone(engine: Engine, replicate: ReplicateStub) -> None:
    replicate.ends.append(End(output="Lima", looks=None))
    host = await engine.host()
    started = await run(engine, "job")
    await until(lambda: any(each["status"] == "processing" for each in replicate.made.values()))
    # As after a crash: nobody tells Replicate to stop.
    replicate._cancel = replicate._look  # type: ignore[method-assign]
    await engine.stop(host)
    [job] = replicate.made
    replicate.finish(job)
    await engine.host()
    ended = await engine.ended(started.run_id)
    assert ended.output == {"trail": ["Lima"]}
    assert len(replicate.made) == 1


async def test_a_job_that_its_host_stopped_in_good_order_is_begun_anew_by_the_next(
    engine: Engine, replicate: ReplicateStub
) -> None:
    replicate.ends += [End(looks=None), End(output="Lima")]
    host = await engine.host()
    started = await run(engine, "job")
    await until(lambda: any(each["status"] == "processing" for each in replicate.made.values()))
    await engine.stop(host)
    await engine.host()
    ended = await engine.ended(started.run_id)
    assert ended.output == {"trail": ["Lima"]}
    assert [each["status"] for each in replicate.made.values()] == ["canceled", "succeeded"]


async def test_a_run_that_is_cancelled_stops_its_job_at_the_provider(engine: Engine, replicate: ReplicateStub) -> None:
    replicate.ends.append(End(looks=None))
    await engine.host()
    started = await run(engine, "job")
    await until(lambda: any(each["status"] == "processing" for each in replicate.made.values()))
    await engine.runs.cancel(started.run_id)
    assert (await engine.ended(started.run_id)).status == "cancelled"
    await until(lambda: [each["status"] for each in replicate.made.values()] == ["canceled"])


async def test_a_key_that_is_refused_fails_the_run_at_once_and_waits_for_a_person(
    engine: Engine, openai: OpenAIPlatformStub
) -> None:
    openai.key = "another"
    await engine.host()
    ended = await engine.ended((await run(engine, "answer")).run_id)
    assert ended.status == "failed"
    assert ended.error is not None
    assert (ended.error["code"], ended.error["class"]) == ("provider_key", "needs_person")
