"""The actors of verification, and the `VerificationService` that works through them.

Two detached actors a database: the batch runner, and the one that judges for people who wait, so that no model is ever
loaded into the API's replicas. Both are started by whoever needs them first, and neither is the record of anything.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from actors import detached
from actors.errors import ClusterUnavailableError, WorkerLostError
from actors.settings import VerificationSettings
from actors.verification.fanout import RayFanout, fault, finished, verify_alone
from actors.verification.online import OnlineVerifier, submission_of
from actors.verification.rows import Submission, error_row
from actors.verification.runner import BatchRunner
from actors.verification.scorers.registry import open_scorer
from actors.verification.workplace import ScorerFactory, Setup
from storage import campaigns, contributions, verifications
from storage.engine import Database
from storage.settings import StorageSettings
from storage.verifications import ResultRow

log = logging.getLogger(__name__)

# Calls judged at once by the actor that serves people who wait.
_ONLINE = 64
# A batch is committed before anybody is woken, and the runner looks by itself: nobody waits longer than this.
_WAKE_S = 3.0
# Below the time that the API gives each of its checks, so that this sentence is the one that is read.
_READY_S = 2.5
# After its process died: each call alone in a process of its own, this often.
_TRIES_ALONE = 2


# No CPU: they wait for others most of the time, and a cluster that is full of chunks must not keep them from starting.
# `wake` and `has` may be repeated, so a restart in their midst is no error.
@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class RunnerActor(BatchRunner):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, RayFanout(setup))


# A file may kill this process; its other calls must not be repeated into it blindly (see `RayVerification`).
@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0)
class OnlineActor(OnlineVerifier):
    pass


def ensure_runner(setup: Setup) -> Any:
    """The batch runner of this database, started where there is none, anew where it was set up otherwise.

    Ray must be connected. Raises `ClusterUnavailableError`.
    """
    return detached.ensure(RunnerActor, setup, "batches", max_concurrency=1000)


def _running(setup: Setup) -> Any:
    """The batch runner of this database, however it was set up, started where there is none."""
    try:
        return ray.get_actor(detached.name_of(setup, "batches"), namespace=detached.NAMESPACE)
    except ValueError:
        return ensure_runner(setup)


def ensure_online(setup: Setup) -> Any:
    """The actor that judges for people who wait; as `ensure_runner`."""
    return detached.ensure(OnlineActor, setup, "online", max_concurrency=_ONLINE)


def stop_actors(setup: Setup) -> None:
    """End both actors of this database. Batches stay where they are and go on when a runner is started again."""
    detached.stop(setup, "batches", "online")


class RayVerification:
    """A `VerificationService` on the cluster that this process is connected to. Starts the actors it needs."""

    def __init__(
        self,
        database: Database,
        storage: StorageSettings,
        verification: VerificationSettings,
        *,
        open_scorer: ScorerFactory = open_scorer,
    ) -> None:
        self._database = database
        self._setup = Setup(storage=storage, verification=verification, open_scorer=open_scorer)
        self._online: Any = None
        self._runner: Any = None

    async def verify_submission(
        self, *, onchain_campaign_id: str, wallet_address: str, data: bytes, file_name: str, declared_type: str | None
    ) -> ResultRow:
        try:
            return await self._verify(
                "verify_submission",
                onchain_campaign_id=onchain_campaign_id,
                wallet_address=wallet_address,
                data=data,
                file_name=file_name,
                declared_type=declared_type,
            )
        except WorkerLostError as error:
            async with self._database.read() as session:
                campaign = await campaigns.by_onchain_id(session, onchain_campaign_id)
            submission = Submission(contribution_id=None, seq=0, contributor=wallet_address, data_url="")
            return await self._failed(campaign.campaign_id, submission, error)

    async def verify_contribution(self, contribution_id: UUID, *, data_url: str | None = None) -> ResultRow:
        try:
            return await self._verify("verify_contribution", contribution_id=contribution_id, data_url=data_url)
        except WorkerLostError as error:
            async with self._database.read() as session:
                contribution = await contributions.get(session, contribution_id)
            return await self._failed(contribution.campaign_id, submission_of(contribution, data_url), error)

    async def wake(self, batch_id: UUID) -> None:
        try:
            async with asyncio.timeout(_WAKE_S):
                if self._runner is None:
                    self._runner = await asyncio.to_thread(ensure_runner, self._setup)
                await self._runner.wake.remote(batch_id)
        except (TimeoutError, RayError, ClusterUnavailableError) as error:
            self._runner = None
            log.warning("the runner was not woken and will find batch %s by itself: %s", batch_id, error)

    async def ready(self) -> None:
        """Asks the runner, and starts one where there is none. One that was set up otherwise is named, never ended:
        while a new version is rolled out, replicas of both would end each other's for ever.
        """
        try:
            async with asyncio.timeout(_READY_S):
                runner = await asyncio.to_thread(_running, self._setup)
                ours = await runner.has.remote(self._setup)
        except (TimeoutError, RayError) as error:
            reason = f"not within {_READY_S:g} s" if isinstance(error, TimeoutError) else type(error).__name__
            raise ClusterUnavailableError(
                f"the cluster's batch runner does not answer ({reason}); batches wait until it does: "
                "see `hyvve status` and the Ray dashboard"
            ) from error
        if not ours:
            raise ClusterUnavailableError(
                "the cluster's batch runner was started with other settings than this API; "
                "`hyvve down` and `hyvve up` start both anew"
            )

    async def _verify(self, call: str, **arguments: Any) -> ResultRow:
        """What the online actor answers. Where its process dies, which another caller's file may have done, the call is
        made alone. Raises what the call raised, `WorkerLostError`, or `ClusterUnavailableError`.
        """
        if self._online is None:
            self._online = await asyncio.to_thread(ensure_online, self._setup)
        try:
            row: ResultRow = await self._online.verify.remote(call, arguments)
        except (ActorDiedError, ActorUnavailableError) as error:
            log.warning("the online actor died in the midst of %s: %s", call, error)
            self._online = None
        except RayError as error:
            raise fault(error) from error
        else:
            return row
        for last in (*[False] * (_TRIES_ALONE - 1), True):
            try:
                row = await finished(verify_alone.remote(self._setup, call, arguments))
            except WorkerLostError:
                if last:
                    raise
            else:
                return row
        raise AssertionError

    async def _failed(self, campaign_id: UUID, submission: Submission, error: WorkerLostError) -> ResultRow:
        row = error_row(campaign_id, submission, error)
        async with self._database.begin() as session:
            await verifications.write_single(session, row)
        return row
