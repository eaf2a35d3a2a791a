"""Which scorer a setting means. A new scorer is a file and a line here; each is imported only when asked for."""

from __future__ import annotations

import hashlib

from actors.settings import ScorerSettings
from actors.verification.scorers.base import Scorer
from actors.verification.scorers.ledger import Ledger, Limits, LocalLedger, RedisLedger
from actors.verification.scorers.pacing import Pacer
from storage.cache import Cache


def open_scorer(settings: ScorerSettings, *, redis_url: str | None) -> Scorer:
    """The scorer of `settings.kind`; no network is touched yet. Close it when done: that returns its slots.

    `redis_url` is where limits are shared among workers; `None` keeps them to this process. Raises
    `MissingExtraError` or `MissingKeyError` where something must be installed or configured first.
    """
    match settings.kind:
        case "local":
            from actors.verification.scorers.local import LocalScorer  # noqa: PLC0415 - torch

            return LocalScorer(settings)
        case "openai":
            from actors.verification.scorers.openai_compatible import OpenAICompatibleScorer  # noqa: PLC0415

            return OpenAICompatibleScorer(settings, pacer=open_pacer(settings, redis_url=redis_url))
        case "gemini":
            from actors.verification.scorers.gemini import GeminiScorer  # noqa: PLC0415

            return GeminiScorer(settings, pacer=open_pacer(settings, redis_url=redis_url))
        case "atoma":
            from actors.verification.scorers.atoma import open_atoma  # noqa: PLC0415

            return open_atoma(settings, pacer=open_pacer(settings, redis_url=redis_url))
        case "vote":
            from actors.verification.scorers.vote import VoteScorer  # noqa: PLC0415

            members = [open_scorer(member, redis_url=redis_url) for member in settings.members]
            return VoteScorer(members, max_disagreement=settings.max_disagreement)


def open_pacer(settings: ScorerSettings, *, redis_url: str | None) -> Pacer:
    """A pacer that shares its limits with every worker that asks the same model with the same key."""
    limits = Limits(settings.concurrency, settings.requests_per_minute)
    ledger: Ledger = LocalLedger(limits)
    if redis_url is not None:
        ledger = RedisLedger(limits, Cache(redis_url), provider_of(settings))
    return Pacer(limits, ledger)


def provider_of(settings: ScorerSettings) -> str:
    """Names whose limits these are: providers count per key and model. Holds the key's digest, never the key."""
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"{settings.kind}|{settings.base_url or ''}|{settings.model or ''}|{digest}"
