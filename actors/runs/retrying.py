"""When a failed step is tried again: errors by what can be done about them, and how long to wait."""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from langgraph.errors import GraphBubbleUp

from actors import errors as actors_errors
from actors.errors import StepTimeoutError
from actors.runs.step import current
from storage import errors as storage_errors
from storage.errors import HyvveError
from storage.retrying import RETRYABLE_STATUSES

T = TypeVar("T")

ErrorClass = Literal["retryable", "permanent", "needs_person"]

_RETRYABLE = (
    storage_errors.DatabaseUnavailableError,
    storage_errors.CacheUnavailableError,
    storage_errors.BlobUnavailableError,
    actors_errors.ScorerUnavailableError,
    actors_errors.ScorerAnswerError,
    actors_errors.LLMUnavailableError,
    actors_errors.LLMAnswerError,
    actors_errors.SearchError,
    actors_errors.ToolTimeoutError,
    actors_errors.ClusterUnavailableError,
    actors_errors.WorkerLostError,
    actors_errors.StepTimeoutError,
    TimeoutError,
    ConnectionError,
)
_NEEDS_PERSON = (
    actors_errors.NeedsPersonError,
    actors_errors.MissingKeyError,
    actors_errors.MissingExtraError,
    actors_errors.LLMKeyError,
    actors_errors.LLMQuotaError,
    actors_errors.ProviderKeyError,
    actors_errors.ProviderQuotaError,
)
# Keys that are refused or gone, quotas that are used up: 402, 403 and 401.
_PERSON_STATUSES = frozenset({401, 402, 403})
# Of libraries that are not imported for it: connections, and workers that died.
_BRIEFLY = frozenset({
    "APIConnectionError", "APITimeoutError", "TransportError", "ClientConnectionError", "OperationalError",
    "RedisError", "RayActorError", "WorkerCrashedError",
})  # fmt: skip


def classify(error: BaseException) -> ErrorClass:
    """What can be done about an error: try again, nothing, or only what a person does.

    A foreign library's error is judged by its HTTP status, where it has one, and by the names of its classes. What
    nobody knows is permanent: repeating a fault of ours helps nobody.
    """
    if isinstance(error, _NEEDS_PERSON):
        return "needs_person"
    if isinstance(error, _RETRYABLE):
        return "retryable"
    if isinstance(error, HyvveError):
        return "retryable" if getattr(error, "retryable", False) else "permanent"
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        if status in _PERSON_STATUSES:
            return "needs_person"
        return "retryable" if status in RETRYABLE_STATUSES or status >= 500 else "permanent"
    names = {kind.__name__ for kind in type(error).__mro__}
    return "retryable" if names & _BRIEFLY else "permanent"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`attempts` in all, the first included. Waits grow from `base_s` by `factor` to `cap_s`, each with a jitter of
    half its length, so that steps that failed together do not come back together. A wait that the error itself names
    (`details["retry_after_s"]`) is kept to, up to the cap.
    """

    attempts: int = 4
    base_s: float = 0.5
    factor: float = 2.0
    cap_s: float = 30.0
    classify: Callable[[BaseException], ErrorClass] = classify

    def wait_s(self, failed: int, error: BaseException) -> float:
        """Seconds before the next try after `failed` failed ones (from 1)."""
        exponential = min(self.cap_s, self.base_s * self.factor ** (failed - 1))
        jittered = exponential * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        asked = error.details.get("retry_after_s") if isinstance(error, HyvveError) else None
        return min(self.cap_s, max(jittered, asked if isinstance(asked, int | float) else 0.0))


DEFAULT = RetryPolicy()
ONCE = RetryPolicy(attempts=1)


async def attempted(call: Callable[[], Awaitable[T]], retry: RetryPolicy, *, timeout_s: float | None = None) -> T:
    """What `call` answers, tried as the policy says, each try within `timeout_s`. Each retry is an event of the run.

    Raises the last try's error; `StepTimeoutError` for one that took too long.
    """
    context = current()
    failed = 0
    while True:
        context.begin_try(failed + 1)
        try:
            with _limited(context.step, timeout_s):
                async with asyncio.timeout(timeout_s):
                    return await call()
        except Exception as error:
            failed += 1
            kind = retry.classify(error)
            # LangGraph's own signals are no failures: interrupts, and commands to a parent graph.
            if isinstance(error, GraphBubbleUp) or kind != "retryable" or failed >= retry.attempts:
                raise
            wait_s = retry.wait_s(failed, error)
            context.emit(
                "step.retrying",
                {"attempt": failed, "wait_s": round(wait_s, 3), "error": described(error, kind)},
            )
            await asyncio.sleep(wait_s)


def described(error: BaseException, kind: ErrorClass) -> dict[str, Any]:
    """An error as a run's row and events tell it."""
    known = isinstance(error, HyvveError)
    message = str(error) if known else f"{type(error).__name__}: {error}"
    return {
        "code": error.code if isinstance(error, HyvveError) else "unexpected",
        "message": message[:2000],
        "class": kind,
        "retryable": kind == "retryable",
        **({"subject": error.subject} if isinstance(error, HyvveError) and error.subject is not None else {}),
    }


def durable(
    node: Callable[..., Any], *, retry: RetryPolicy | None = None, timeout_s: float | None = None
) -> Callable[..., Awaitable[Any]]:
    """The node with its own retry policy and a limit for each try, inside the engine or alone.

    A plain function runs in a thread; past its limit it is left to itself, for a thread cannot be stopped.
    """
    policy = retry or DEFAULT

    @functools.wraps(node)
    async def tried(*args: Any, **kwargs: Any) -> Any:
        async def call() -> Any:
            if inspect.iscoroutinefunction(node):
                return await node(*args, **kwargs)
            return await asyncio.to_thread(node, *args, **kwargs)

        return await attempted(call, policy, timeout_s=timeout_s)

    tried.__durable__ = True  # type: ignore[attr-defined]  # the engine then adds no policy of its own
    return tried


@contextmanager
def _limited(step: str, timeout_s: float | None) -> Iterator[None]:
    """Tells our limit from a timeout of what the step itself called."""
    try:
        yield
    except TimeoutError as error:
        # `asyncio.timeout` raises it from the cancellation that it made.
        if timeout_s is not None and isinstance(error.__cause__, asyncio.CancelledError):
            raise StepTimeoutError(f"step {step!r} took longer than {timeout_s:g} s", subject=step) from error
        raise
