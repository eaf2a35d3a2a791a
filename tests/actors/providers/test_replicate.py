"""Replicate: predictions that are accepted first, files up and down, webhooks that are signed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.errors import (
    JobCanceledError,
    JobFailedError,
    ProviderAnswerError,
    ProviderModerationError,
    ProviderUnavailableError,
    UnknownModelError,
)
from actors.providers.jobs import JobProvider
from actors.providers.models import Attachment, Job, Payload, ProviderRequest, ProviderResponse
from actors.providers.replicate import ReplicateProvider
from storage.blobs.local import LocalBlobStore
from tests.conformance.ai_provider import KEY, PNG, AIProviderSpec, FarSide, Open, is_quiet, until
from tests.stubs.http import Reply
from tests.stubs.replicate import End, Model, ReplicateStub, problem

PRICED = {"predict_time": 2.5, "input_token_count": 9, "output_token_count": 3}


@pytest.fixture
async def stub() -> AsyncIterator[ReplicateStub]:
    async with ReplicateStub(KEY) as stub:
        yield stub


@pytest.fixture
def far(stub: ReplicateStub) -> FarSide:
    def fails(status: int, said: str, *, field: str | None = None, **headers: str) -> None:
        stub.script.append(problem(status, said, invalid={field: said} if field else None, **headers))

    def working() -> bool:
        return any(each["status"] in ("starting", "processing") for each in stub.made.values())

    return FarSide(
        stub=stub,
        kind=ReplicateProvider,
        model="acme/llama",
        says=lambda text: stub.ends.append(End(output=[text[:4], text[4:]] if text else [], metrics=PRICED)),
        fails=fails,
        answers=stub.script.append,
        hangs=lambda: stub.ends.append(End(looks=None)),
        refuses=lambda: stub.ends.append(
            End(status="failed", error="The input or output was flagged as sensitive. Please try again. (E005)")
        ),
        spent=lambda: stub.script.append(problem(402, "You have insufficient credit to run this model.")),
        paid=lambda: len(stub.inputs),
        received=lambda: [data for _, _, data in stub.uploads.values()],
        seen=lambda: str(stub.inputs[-1]),
        working=working,
        base_url=stub.url,
        integer="max_tokens",
        refusal_is_an_error=True,
    )


class TestReplicate(AIProviderSpec):
    @pytest.fixture
    def jobs(self, opened: Open) -> JobProvider:
        provider = opened()
        assert isinstance(provider, JobProvider)
        return provider

    @pytest.fixture
    async def picture(self, jobs: JobProvider) -> Payload:
        return await jobs.create_payload(ProviderRequest(model="acme/flux", prompt="a tram in Lima"))

    async def test_the_schema_is_whole_and_says_what_files_it_takes(self, jobs: JobProvider) -> None:
        [model] = (await jobs.get_capabilities("acme/flux")).models
        assert model.input_schema is not None
        fields = model.input_schema["properties"]
        assert fields["aspect_ratio"]["enum"] == ["1:1", "16:9", "9:16"]
        assert fields["aspect_ratio"]["default"] == "1:1"
        assert fields["seed"]["type"] == ["integer", "null"]
        assert (model.takes, model.gives) == (("text", "image"), ("file",))
        assert model.version is not None

    async def test_a_picture_is_copied_before_its_address_expires(
        self, stub: ReplicateStub, jobs: JobProvider, picture: Payload, store: LocalBlobStore
    ) -> None:
        stub.ends.append(End(output=[stub.deliver("out-0.png", PNG)]))
        response = await jobs.execute(picture)
        [file] = response.files
        assert file.ref is not None
        assert await store.get(file.ref) == PNG
        assert file.media_type == "image/png"
        assert (await jobs.audit_response(response)).usable

    async def test_a_picture_that_cannot_be_copied_is_still_a_result_and_the_audit_says_so(
        self, stub: ReplicateStub, jobs: JobProvider, picture: Payload
    ) -> None:
        stub.ends.append(End(output=[f"{stub.url}/delivery/gone.png"]))
        response = await jobs.execute(picture)
        assert response.files[0].url == f"{stub.url}/delivery/gone.png"
        audit = await jobs.audit_response(response)
        assert audit.usable
        assert [finding.code for finding in audit.findings] == ["lost_file"]

    async def test_an_output_of_another_shape_is_marked(
        self, stub: ReplicateStub, jobs: JobProvider, picture: Payload
    ) -> None:
        stub.ends.append(End(output={"url": 7}))
        audit = await jobs.audit_response(await jobs.execute(picture))
        assert not audit.usable
        assert [finding.code for finding in audit.findings] == ["shape"]

    async def test_an_https_file_goes_by_its_address_and_is_not_fetched(
        self, stub: ReplicateStub, jobs: JobProvider
    ) -> None:
        attached = Attachment(ref="https://files.example.com/cat.png")
        payload = await jobs.create_payload(
            ProviderRequest(model="acme/flux", prompt="this, in winter", attachments=(attached,))
        )
        assert payload.input["image"] == attached.ref
        stub.ends.append(End(output=[stub.deliver("out-0.png", PNG)]))
        await jobs.execute(payload)
        assert stub.inputs[-1]["image"] == attached.ref
        assert stub.uploads == {}

    async def test_a_second_file_without_a_place_is_named_and_not_dropped(self, jobs: JobProvider) -> None:
        cat, dog = Attachment(ref="https://x.example/cat.png"), Attachment(ref="https://x.example/dog.png")
        payload = await jobs.create_payload(ProviderRequest(model="acme/flux", prompt="both", attachments=(cat, dog)))
        assert (payload.input["image"], payload.unplaced) == (cat.ref, (dog,))
        [issue] = await jobs.validate_payload(payload)
        assert issue.severity == "warning"
        assert dog.ref in issue.message

    async def test_a_file_that_is_no_reference_is_an_error_at_its_path(
        self, jobs: JobProvider, picture: Payload
    ) -> None:
        edited = picture.model_copy(update={"input": {**picture.input, "image": "cat.png"}})
        [issue] = await jobs.validate_payload(edited)
        assert (issue.field, issue.severity) == ("$.input.image", "error")

    async def test_a_models_own_failure_is_not_repeated_and_shows_its_log(
        self, stub: ReplicateStub, jobs: JobProvider, picture: Payload
    ) -> None:
        stub.ends.append(End(status="failed", error="CUDA out of memory", logs="loading\nboom\n"))
        with pytest.raises(JobFailedError, match="CUDA out of memory") as caught:
            await jobs.execute(picture)
        assert caught.value.details["logs"] == "loading\nboom\n"

    async def test_an_interrupted_prediction_can_be_tried_again(
        self, stub: ReplicateStub, jobs: JobProvider, picture: Payload
    ) -> None:
        stub.ends.append(End(status="failed", error="Prediction interrupted; please retry (code: PA)"))
        with pytest.raises(ProviderUnavailableError):
            await jobs.execute(picture)

    async def test_a_picture_that_its_filter_holds_back_is_moderation(
        self, stub: ReplicateStub, jobs: JobProvider, picture: Payload
    ) -> None:
        stub.ends.append(End(status="failed", error="NSFW content detected. Try running it again."))
        with pytest.raises(ProviderModerationError):
            await jobs.execute(picture)

    @pytest.mark.parametrize("status", ["canceled", "aborted"])
    async def test_what_was_stopped_elsewhere_is_said(
        self, stub: ReplicateStub, jobs: JobProvider, picture: Payload, status: str
    ) -> None:
        stub.ends.append(End(status=status))
        with pytest.raises(JobCanceledError):
            await jobs.execute(picture)

    async def test_a_community_model_is_run_by_its_version(self, stub: ReplicateStub, jobs: JobProvider) -> None:
        payload = await jobs.create_payload(ProviderRequest(model="jo/llama-tuned", prompt="hello"))
        assert (await jobs.execute(payload)).text == "Lima, of course."
        assert len(stub.made) == 1

    async def test_a_named_version_is_the_one_that_runs(self, stub: ReplicateStub, jobs: JobProvider) -> None:
        model = f"acme/llama:{stub.models['acme/llama'].version}"
        payload = await jobs.create_payload(ProviderRequest(model=model, prompt="hello"))
        assert (await jobs.execute(payload)).text == "Lima, of course."
        with pytest.raises(UnknownModelError):
            await jobs.create_payload(ProviderRequest(model="acme/llama:0000", prompt="hello"))

    @pytest.mark.parametrize("model", ["", "flux", "../../v1/account", "a/b/c", "a/..", "a/b?x=1", "a/b:" + "x" * 200])
    async def test_what_is_no_models_name_is_never_a_path(
        self, stub: ReplicateStub, jobs: JobProvider, model: str
    ) -> None:
        with pytest.raises(UnknownModelError):
            await jobs.get_capabilities(model)
        assert stub.requests == []

    async def test_a_model_that_is_described_by_nonsense_is_named(self, stub: ReplicateStub, jobs: JobProvider) -> None:
        schemas = {"Input": {"type": "object", "properties": {"prompt": {"type": "words"}}}}
        stub.models["acme/odd"] = Model("acme/odd", schemas)
        with pytest.raises(ProviderAnswerError, match=r"acme/odd what is no JSON Schema: \$\.properties\.prompt"):
            await jobs.get_capabilities("acme/odd")
        stub.models["acme/bare"] = Model("acme/bare", {})
        with pytest.raises(ProviderAnswerError, match="does not say what acme/bare takes"):
            await jobs.get_capabilities("acme/bare")

    async def test_a_job_is_finished_by_its_id_by_another_process(
        self, stub: ReplicateStub, jobs: JobProvider, opened: Open, picture: Payload
    ) -> None:
        stub.ends.append(End(output=[stub.deliver("out-0.png", PNG)], looks=None))
        job = await jobs.start(picture)
        other = opened()
        assert isinstance(other, JobProvider)
        stub.finish(job.id)
        response = await other.finish(Job.model_validate_json(job.model_dump_json()), picture)
        assert response.id == job.id
        assert len(stub.made) == 1

    async def test_a_provider_out_of_reach_for_a_moment_costs_no_second_prediction(
        self, stub: ReplicateStub, opened: Open, picture: Payload
    ) -> None:
        stub.ends.append(End(output=[stub.deliver("out-0.png", PNG)]))
        stub.looks += [problem(503, "try later"), problem(429, "slow down"), Reply(b"", cut=0)]
        response = await opened(poll_patience_s=30.0).execute(picture)
        assert response.files
        assert len(stub.made) == 1

    async def test_a_webhook_ends_the_waiting_at_once(
        self, stub: ReplicateStub, opened: Open, picture: Payload
    ) -> None:
        provider = opened(poll_s=60.0, poll_cap_s=60.0)
        assert isinstance(provider, JobProvider)
        stub.ends.append(End(output=[stub.deliver("out-0.png", PNG)], looks=None))
        job, wake = await provider.start(picture), asyncio.Event()
        finishing = asyncio.create_task(provider.finish(job, picture, wake=wake))
        await until(lambda: any(each.path.endswith(job.id) for each in stub.requests))
        stub.finish(job.id)
        told = provider.webhook_job(stub.made[job.id])
        assert told is not None
        assert (told.id, told.status) == (job.id, "succeeded")
        wake.set()
        async with asyncio.timeout(30):
            assert isinstance(await finishing, ProviderResponse)

    async def test_a_prediction_whose_creator_was_cancelled_in_mid_flight_does_not_run_on(
        self, stub: ReplicateStub, jobs: JobProvider, picture: Payload
    ) -> None:
        made = stub._create
        # The answer is on its way when the caller leaves.
        stub._create = lambda request, model: Reply(  # type: ignore[method-assign]
            (first := made(request, model)).body, first.status, delay_s=0.3
        )
        stub.ends.append(End(looks=None))
        starting = asyncio.create_task(jobs.start(picture))
        await until(lambda: len(stub.made) == 1)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert [each["status"] for each in stub.made.values()] == ["canceled"]

    async def test_a_job_that_its_host_has_lost_ends_at_the_provider(
        self, stub: ReplicateStub, opened: Open, picture: Payload
    ) -> None:
        stub.ends.append(End(output=[stub.deliver("out-0.png", PNG)]))
        await opened(timeout_s=90.0).execute(picture)
        created = next(each for each in stub.requests if each.method == "POST")
        assert created.headers["cancel-after"] == "90s"

    async def test_the_far_side_is_left_alone_after_close(self, stub: ReplicateStub, jobs: JobProvider) -> None:
        await jobs.get_capabilities("acme/flux")
        await jobs.close()
        await until(lambda: is_quiet(stub))
