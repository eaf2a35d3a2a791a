"""`TeamRuns`: accepts team runs, once what each was asked for was held against what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncSession

from actors.agents.llms.catalogue import LLMCatalogue
from actors.errors import (
    BadProviderError,
    LLMError,
    ProviderAnswerError,
    ProviderUnavailableError,
    ReviewRuleError,
    TeamRequestError,
    UnknownModelError,
    UnknownProviderError,
)
from actors.providers.registry import ProviderRegistry
from actors.reviews.checkpoints import registry
from actors.reviews.teams import comparison, kind
from actors.reviews.teams.request import (
    MAX_BATCH,
    AskingConfig,
    AttachmentIn,
    Candidate,
    Compared,
    ComparisonConfig,
    HITLConfig,
    RunInput,
)
from actors.reviews.teams.workshop import NO_LLM
from actors.runs.service import Runs
from storage import callbacks
from storage.engine import Database
from storage.errors import AddressRefusedError, BadReferenceError, NotFoundError
from storage.ids import new_id
from storage.posting import GuardedPoster
from storage.references import parse
from storage.runs import Run
from storage.settings import StorageSettings

Fault = dict[str, str]


KINDS = (kind.NAME, comparison.NAME)


class TeamRuns:
    """Of one database. Belongs to the event loop it is used in; `database`, `runs` and `llms` stay the caller's."""

    def __init__(
        self,
        database: Database,
        runs: Runs,
        providers: ProviderRegistry,
        llms: LLMCatalogue,
        storage: StorageSettings,
    ) -> None:
        self._database = database
        self.runs = runs
        self.providers = providers
        self._llms = llms
        self._callbacks = storage.callbacks
        self._poster = GuardedPoster(storage.fetch, timeout_s=storage.callbacks.timeout_s)

    async def start(
        self, given: RunInput, config: HITLConfig, *, owner: str | None = None, run_id: UUID | None = None
    ) -> Run:
        """Accept a run. What it was checked for holds from here on: checkpoints and thresholds are pinned in it.

        Raises `TeamRequestError` naming each fault by its path, and what `Runs.start` raises; `MissingKeyError` or
        `MissingExtraError` for a provider that cannot be used here at all. A provider that is just out of reach refuses
        nothing: the run waits for it.
        """
        require([*await self._input_faults(given, "$.run_input"), *self._config_faults(config)])
        async with self._database.begin() as session:
            return await self._accept(session, given, config, owner=owner, run_id=run_id)

    async def start_batch(
        self, inputs: Sequence[RunInput], config: HITLConfig, *, owner: str | None = None, batch_id: UUID | None = None
    ) -> UUID:
        """Accept a run for each input under one policy, all of them or none; answers the batch's id.

        The same `batch_id` a second time starts nothing. Raises as `start` does.
        """
        batch_id = batch_id or new_id()
        faults = self._config_faults(config)
        for place, given in enumerate(inputs):
            faults += await self._input_faults(given, f"$.inputs[{place}]")
        require(faults)
        async with self._database.begin() as session:
            for place, given in enumerate(inputs):
                run_id = uuid5(batch_id, str(place))
                await self._accept(session, given, config, owner=owner, run_id=run_id, parent_run_id=batch_id)
        return batch_id

    async def start_comparison(
        self,
        compared: Compared,
        candidates: Sequence[Candidate],
        config: ComparisonConfig,
        *,
        owner: str | None = None,
        run_id: UUID | None = None,
    ) -> Run:
        """Accept a comparison of these candidates. Raises as `start` does."""
        run_id = run_id or new_id()
        faults = self._config_faults(config)
        for place, candidate in enumerate(candidates):
            faults += await self._model_faults(compared.of(candidate), f"$.candidates[{place}]")
        require([*faults, *_attachment_faults(compared.attachments, "$.run_input")])
        told = {
            "compared": compared.model_dump(mode="json"),
            "candidates": [each.model_dump(mode="json") for each in candidates],
            "hitl_config": config.kept(),
        }
        async with self._database.begin() as session:
            await self._aim(session, run_id, config)
            return await self.runs.start(
                comparison.NAME, {"candidates": len(candidates)}, told, owner=owner, run_id=run_id,
                deadline_s=config.deadline_seconds, session=session,
            )  # fmt: skip

    async def get(self, run_id: UUID) -> Run:
        """The run, as it stands. Raises `NotFoundError`, also for a run of another kind."""
        run = await self.runs.get(run_id)
        if run.kind not in KINDS:
            raise NotFoundError.of("team run", str(run_id))
        return run

    async def batch(self, batch_id: UUID) -> Sequence[Run]:
        """The batch's runs, without their inputs and outputs. Raises `NotFoundError`."""
        found = await self.page(parent_run_id=batch_id, limit=MAX_BATCH)
        if not found:
            raise NotFoundError.of("batch", str(batch_id))
        return found

    async def page(
        self,
        *,
        owner: str | None = None,
        unowned: bool = False,
        states: Sequence[str] = (),
        parent_run_id: UUID | None = None,
        since: datetime | None = None,
        after: UUID | None = None,
        limit: int = 50,
        of_kind: str = kind.NAME,
    ) -> Sequence[Run]:
        """Team runs newest first, without their inputs and outputs; `states` are those of `state.STATES`."""
        return await self.runs.list(
            owner=owner, unowned=unowned, kind=of_kind, parent_run_id=parent_run_id, since=since, after=after,
            limit=limit, light=True, stages=states,
        )  # fmt: skip

    async def close(self) -> None:
        await self._poster.close()
        await self.providers.close()

    async def _accept(
        self,
        session: AsyncSession,
        given: RunInput,
        config: HITLConfig,
        *,
        owner: str | None,
        run_id: UUID | None,
        parent_run_id: UUID | None = None,
    ) -> Run:
        run_id = run_id or new_id()
        await self._aim(session, run_id, config)
        # Runs with the same checkpoints share a compiled graph.
        spec = {"allowed_steps": list(config.allowed_steps), "checkpoints": dict(config.checkpoints)}
        told = {"run_input": given.model_dump(mode="json"), "hitl_config": config.kept()}
        return await self.runs.start(
            kind.NAME, spec, told, owner=owner, run_id=run_id, deadline_s=config.deadline_seconds,
            parent_run_id=parent_run_id, session=session,
        )  # fmt: skip

    async def _aim(self, session: AsyncSession, run_id: UUID, config: AskingConfig) -> None:
        if config.callback_url is not None:
            await callbacks.aim(session, run_id, config.callback_url, config.callback_secret)

    async def _input_faults(self, given: RunInput, path: str) -> list[Fault]:
        return [*await self._model_faults(given, path), *_attachment_faults(given.attachments, path)]

    def _config_faults(self, config: AskingConfig) -> list[Fault]:
        """What of the configuration is not there, or must not be."""
        faults: list[Fault] = []
        path = "$.hitl_config"
        if isinstance(config, HITLConfig):
            try:
                registry.opened(config.allowed_steps, config.checkpoints)
            except ReviewRuleError as error:
                faults += error.details["errors"]
        if config.form_llm is not None and config.form_llm != NO_LLM:
            try:
                self._llms.check(config.form_llm)
            except LLMError as error:
                faults.append({"path": f"{path}.form_llm", "message": error.message, "code": error.code})
        if config.callback_url is not None:
            try:
                self._poster.address(config.callback_url)
            except (BadReferenceError, AddressRefusedError) as error:
                faults.append({"path": f"{path}.callback_url", "message": error.message, "code": error.code})
            if config.callback_secret is None and self._callbacks.secret is None:
                said = "a callback is signed: give a secret of `whsec_` and base64, or have HYVVE_CALLBACK_SECRET set"
                faults.append({"path": f"{path}.callback_secret", "message": said, "code": "missing"})
        return faults

    async def _model_faults(self, given: RunInput, path: str) -> list[Fault]:
        try:
            provider = self.providers.provider(given.provider)
        except (UnknownProviderError, BadProviderError) as error:
            return [{"path": f"{path}.provider", "message": error.message, "code": error.code}]
        try:
            await provider.model(given.model, given.operation)
        except UnknownModelError as error:
            return [{"path": f"{path}.model", "message": error.message, "code": error.code}]
        except (ProviderUnavailableError, ProviderAnswerError):
            return []
        return []


def require(faults: Sequence[Mapping[str, str]]) -> None:
    """Raises `TeamRequestError` where there is a fault."""
    if faults:
        said = "; ".join(f"{each['path']}: {each['message']}" for each in faults[:5])
        raise TeamRequestError(said, errors=[dict(each) for each in faults])


def _attachment_faults(attachments: Sequence[AttachmentIn], path: str) -> list[Fault]:
    faults: list[Fault] = []
    for place, attachment in enumerate(attachments):
        try:
            parse(attachment.ref)
        except (BadReferenceError, AddressRefusedError) as error:
            faults.append({"path": f"{path}.attachments[{place}].ref", "message": error.message, "code": error.code})
    return faults
