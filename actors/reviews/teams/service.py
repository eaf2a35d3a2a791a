"""`TeamRuns`: accepts team runs, once what each was asked for was held against what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncSession

from actors.agents.definition import NO_LLM
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
from actors.kind_names import TEAM_COMPARISON, TEAM_RUN
from actors.providers.base import AIProvider
from actors.providers.models import ModelInfo
from actors.providers.registry import ProviderRegistry
from actors.reviews.checkpoints import registry
from actors.reviews.teams.named_files import Fault, attachment_faults, foreign_faults
from actors.reviews.teams.request import (
    MAX_BATCH,
    AskingConfig,
    Candidate,
    Compared,
    ComparisonConfig,
    HITLConfig,
    RunInput,
)
from actors.runs.service import Runs
from storage import callbacks
from storage.engine import Database
from storage.errors import AddressRefusedError, BadReferenceError, NotFoundError
from storage.ids import new_id
from storage.posting import GuardedPoster
from storage.runs import Run
from storage.settings import StorageSettings

KINDS = (TEAM_RUN, TEAM_COMPARISON)


class TeamRuns:
    """Of one database. Belongs to the event loop it is used in; `database`, `runs` and `llms` stay the caller's."""

    def __init__(
        self,
        database: Database,
        runs: Runs,
        providers: ProviderRegistry,
        llms: LLMCatalogue,
        storage: StorageSettings,
        *,
        checkpoints: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """`checkpoints` are on in all runs that name no steps, each with its options. Raises `ReviewRuleError` where
        they cannot be.
        """
        self._database = database
        self.runs = runs
        self.providers = providers
        self._llms = llms
        self._checkpoints = {name: dict(options) for name, options in (checkpoints or {}).items()}
        registry.opened((), self._checkpoints)
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
        require([*await self._input_faults(given, "$.run_input", owner), *self._config_faults(config)])
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
            faults += await self._input_faults(given, f"$.inputs[{place}]", owner)
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
        faults = [*self._config_faults(config), *attachment_faults(compared.attachments, "$.run_input")]
        for place, candidate in enumerate(candidates):
            given, path = compared.of(candidate), f"$.candidates[{place}]"
            wrong, provider, model = await self._model(given, path)
            async with self._database.read() as session:
                foreign = await foreign_faults(
                    session, owner, given, "$.run_input", provider=provider, model=model, candidate=(path, candidate)
                )
            # What all are given is wrong once.
            faults += [*wrong, *(fault for fault in foreign if fault not in faults)]
        require(faults)
        told = {
            "compared": compared.model_dump(mode="json"),
            "candidates": [each.model_dump(mode="json") for each in candidates],
            "hitl_config": config.kept(),
        }
        async with self._database.begin() as session:
            await self._aim(session, run_id, config)
            return await self.runs.start(
                TEAM_COMPARISON, {"candidates": len(candidates)}, told, owner=owner, run_id=run_id,
                session_id=compared.session_id, deadline_s=config.deadline_seconds, session=session,
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
        session_id: str | None = None,
        since: datetime | None = None,
        after: UUID | None = None,
        limit: int = 50,
        of_kind: str = TEAM_RUN,
    ) -> Sequence[Run]:
        """Team runs newest first, without their inputs and outputs; `states` are those of `state.STATES`."""
        return await self.runs.list(
            owner=owner, unowned=unowned, kind=of_kind, parent_run_id=parent_run_id, session_id=session_id, since=since,
            after=after, limit=limit, light=True, stages=states,
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
        spec = {"allowed_steps": list(config.allowed_steps), "checkpoints": self._enabled(config)}
        told = {"run_input": given.model_dump(mode="json"), "hitl_config": config.kept()}
        return await self.runs.start(
            TEAM_RUN, spec, told, owner=owner, run_id=run_id, deadline_s=config.deadline_seconds,
            parent_run_id=parent_run_id, session_id=given.session_id, session=session,
        )  # fmt: skip

    def _enabled(self, config: HITLConfig) -> dict[str, dict[str, Any]]:
        """The options of its checkpoints beside the built-in ones."""
        named = config.allowed_steps
        ours = {name: each for name, each in self._checkpoints.items() if not named or name in named}
        return {**ours, **config.checkpoints}

    async def _aim(self, session: AsyncSession, run_id: UUID, config: AskingConfig) -> None:
        if config.callback_url is not None:
            await callbacks.aim(session, run_id, config.callback_url, config.callback_secret)

    async def _input_faults(self, given: RunInput, path: str, owner: str | None) -> list[Fault]:
        faults, provider, model = await self._model(given, path)
        async with self._database.read() as session:
            foreign = await foreign_faults(session, owner, given, path, provider=provider, model=model)
        return [*faults, *attachment_faults(given.attachments, path), *foreign]

    def _config_faults(self, config: AskingConfig) -> list[Fault]:
        """What of the configuration is not there, or must not be."""
        faults: list[Fault] = []
        path = "$.hitl_config"
        if isinstance(config, HITLConfig):
            try:
                registry.opened(config.allowed_steps, self._enabled(config))
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

    async def _model(self, given: RunInput, path: str) -> tuple[list[Fault], AIProvider | None, ModelInfo | None]:
        """(what is wrong with provider and model, both as far as they are known now)."""
        try:
            provider = self.providers.provider(given.provider)
        except (UnknownProviderError, BadProviderError) as error:
            return [{"path": f"{path}.provider", "message": error.message, "code": error.code}], None, None
        try:
            return [], provider, await provider.model(given.model, given.operation)
        except UnknownModelError as error:
            return [{"path": f"{path}.model", "message": error.message, "code": error.code}], provider, None
        except (ProviderUnavailableError, ProviderAnswerError):
            return [], provider, None


def require(faults: Sequence[Mapping[str, str]]) -> None:
    """Raises `TeamRequestError` where there is a fault."""
    if faults:
        said = "; ".join(f"{each['path']}: {each['message']}" for each in faults[:5])
        raise TeamRequestError(said, errors=[dict(each) for each in faults])
