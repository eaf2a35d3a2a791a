"""Every environment variable that Hyvve reads: its name, what it sets, what it may be.

One line here is one variable: `cluster/settings.py` reads them, `docs/operations.md` lists them, a test holds both
together.
"""

# ruff: noqa: E501 - a table: one variable, one line

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# How a value is written: as it stands, as a list with commas, as scorers (see `_members`), or as a JSON object.
Form = Literal["plain", "list", "members", "megabytes", "days", "json"]

# What one of a value's units comes to.
UNITS: dict[Form, int] = {"megabytes": 1024 * 1024, "days": 24 * 3600}


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    field: str  # the setting's place, with dots
    help: str
    form: Form = "plain"
    secret: bool = False
    also: tuple[str, ...] = ()  # further places of the same value


VARIABLES = (
    Variable("SQLALCHEMY_DATABASE_URL", "storage.database_url", "PostgreSQL to use; unset: the embedded one", secret=True),
    Variable("REDIS_URL", "storage.redis_url", "Redis to use; unset: the embedded one", secret=True),
    Variable("RAY_ADDRESS", "cluster.ray_address", "Ray cluster to join, `host:port`; unset: a Ray of this machine's own"),
    Variable("HYVVE_DATA_DIR", "storage.data_dir", "where everything embedded is kept (default `./.hyvve`)"),
    Variable("HYVVE_HOST", "serve.host", "address the API listens on; `0.0.0.0` for all (default `127.0.0.1`)"),
    Variable("HYVVE_PORT", "serve.port", "port of the API (default 8000)"),
    Variable("HYVVE_DASHBOARD_PORT", "cluster.dashboard_port", "port of the Ray dashboard (default: first free from 8265)"),
    Variable("HYVVE_DASHBOARD_URL", "serve.dashboard_url", "where browsers find it, for the console's links (default: where it listens)"),
    Variable("HYVVE_CONSOLE_SESSION_S", "serve.console_session_s", "seconds that a sign-in to the console lasts (43200)"),
    Variable("HYVVE_REPLICAS", "serve.replicas", "processes that answer the API (default 1)"),
    Variable("HYVVE_CORS_ORIGINS", "serve.cors_origins", "origins of web clients, with commas, or `*`", "list"),
    Variable("HYVVE_API_KEYS", "serve.api_keys", "keys that callers must show, with commas; unset: none", "list", secret=True),
    Variable(
        "HYVVE_MAX_UPLOAD_MB", "serve.max_upload_bytes",
        "largest file, uploaded, fetched or in a folder (default 10; Walrus takes no more than 10)", "megabytes",
        also=("actors.verification.read.max_bytes", "storage.fetch.max_bytes"),
    ),
    Variable("HYVVE_MAX_UPLOADS", "serve.max_uploads", "uploaded files that a process of the API holds at once; one more is answered 503 (64)"),
    Variable("HYVVE_CPUS", "cluster.num_cpus", "CPUs that this machine's own Ray may use (default: all)"),
    Variable("HYVVE_GPUS", "cluster.num_gpus", "GPUs that this machine's own Ray may use (default: all)"),
    Variable("HYVVE_DB_POOL", "storage.pool_size", "database connections per process (default 5)"),
    Variable("HYVVE_BLOB_STORE", "storage.blob_store", "where content is kept: `local` (default) or `walrus`"),
    Variable("WALRUS_PUBLISHER_URL", "storage.walrus.publisher_url", "Walrus publisher"),
    Variable("WALRUS_AGGREGATOR_URL", "storage.walrus.aggregator_url", "Walrus aggregator"),
    Variable("WALRUS_JWT_SECRET", "storage.walrus.jwt_secret", "secret of a publisher that wants a token", secret=True),
    Variable("WALRUS_JWT_LIFETIME_S", "storage.walrus.jwt_lifetime_s", "seconds that token lives; as the publisher demands (120)"),
    Variable("WALRUS_EPOCHS", "storage.walrus.epochs", "epochs a blob is paid for (default 5)"),
    Variable("IPFS_GATEWAY", "storage.fetch.ipfs_gateway", "gateway that resolves IPFS content ids"),
    Variable(
        "HYVVE_FETCH_NETWORKS", "storage.fetch.allowed_networks",
        "private networks that a `data_url` may reach, CIDR with commas", "list",
    ),
    Variable("HYVVE_SCORER", "actors.verification.scorer.kind", "`local` (default), `openai`, `gemini`, `atoma` or `vote`"),
    Variable("HYVVE_SCORER_MODEL", "actors.verification.scorer.model", "model id, or path (default: the scorer's own)"),
    Variable("HYVVE_SCORER_VISION", "actors.verification.scorer.vision", "whether the model sees images (default true)"),
    Variable("HYVVE_SCORER_CONCURRENCY", "actors.verification.scorer.concurrency", "calls at once, all workers together (64)"),
    Variable("HYVVE_SCORER_RPM", "actors.verification.scorer.requests_per_minute", "calls a minute, all workers (no limit)"),
    Variable("HYVVE_SCORER_TIMEOUT_S", "actors.verification.scorer.timeout_s", "seconds one call may take (60)"),
    Variable("HYVVE_SCORER_RETRIES", "actors.verification.scorer.retries", "times a failed call is repeated (4)"),
    Variable(
        "HYVVE_SCORER_MEMBERS", "actors.verification.scorer.members",
        "who votes: `kind` or `kind:model`, with commas, as in `local,openai:gpt-4o-mini`", "members",
    ),
    Variable(
        "HYVVE_SCORER_MAX_DISAGREEMENT", "actors.verification.scorer.max_disagreement",
        "points between voters past which a person decides (20)",
    ),
    Variable(
        "OPENAI_BASE_URL", "openai.base_url",
        "OpenAI-compatible endpoint of the scorer, the agents' models and the AI provider `openai`",
        also=("actors.providers.openai.base_url",),
    ),
    Variable("OPENAI_API_KEY", "openai.api_key", "its key", secret=True, also=("actors.providers.openai.api_key",)),
    Variable("GEMINI_API_KEY", "gemini.api_key", "another name of `GOOGLE_API_KEY`, which goes before it", secret=True),
    Variable("GOOGLE_API_KEY", "gemini.api_key", "key of the scorer `gemini` and the agents' models `google`", secret=True),
    Variable("GOOGLE_GEMINI_BASE_URL", "gemini.base_url", "their endpoint (default: the public one)"),
    Variable("ATOMASDK_BEARER_AUTH", "atoma.api_key", "key of the scorer and the agents' models `atoma`", secret=True),
    Variable("ATOMA_BASE_URL", "atoma.base_url", "their endpoint (default: the public one)"),
    Variable("HYVVE_ATOMA_CONFIDENTIAL", "atoma.confidential", "Atoma's confidential mode, which agents cannot use (default false)"),
    Variable("HYVVE_LLM_MODELS", "actors.agents.llms.models", "further models for agents, `provider:model` with commas; the first of a provider is what its name means", "list"),
    Variable("HYVVE_LLM_PRICES", "actors.agents.llms.prices", "prices, `model=input/output` or `model=input/output/cached` in USD per million tokens, with commas", "list"),
    Variable("HYVVE_LLM_TIMEOUT_S", "actors.agents.llms.timeout_s", "seconds one answer to an agent may take (300)"),
    Variable("HYVVE_SEARCH", "search.backend", "agents' web search: `keyless`, `duckduckgo`, `wikipedia`, `tavily`, `brave` or `serper` (default: the one with a key, else `keyless`)"),
    Variable("HYVVE_SEARCH_URL", "search.base_url", "its endpoint (default: the public one)"),
    Variable("TAVILY_API_KEY", "search.keys.tavily", "key of the web search `tavily`", secret=True),
    Variable("BRAVE_API_KEY", "search.keys.brave", "key of the web search `brave`", secret=True),
    Variable("SERPER_API_KEY", "search.keys.serper", "key of the web search `serper`", secret=True),
    Variable("REPLICATE_API_TOKEN", "actors.providers.replicate.api_key", "key of the AI provider `replicate`", secret=True),
    Variable("REPLICATE_BASE_URL", "actors.providers.replicate.base_url", "its endpoint (default: the public one)"),
    Variable("REPLICATE_WEBHOOK_URL", "actors.providers.replicate.webhook_url", "where it tells that a prediction is done, as the internet reaches it; unset: predictions are only polled for"),
    Variable("REPLICATE_WEBHOOK_SECRET", "actors.providers.replicate.webhook_secret", "what it signs webhooks with, `whsec_…` (default: what it says of itself)", secret=True),
    Variable("ANTHROPIC_API_KEY", "actors.providers.anthropic.api_key", "key of the AI provider `anthropic`", secret=True),
    Variable("ANTHROPIC_BASE_URL", "actors.providers.anthropic.base_url", "its endpoint (default: the public one)"),
    Variable("HF_TOKEN", "actors.providers.huggingface.api_key", "key of the AI provider `huggingface`", secret=True),
    Variable("HF_INFERENCE_ENDPOINT", "actors.providers.huggingface.base_url", "its router (default: the public one)"),
    Variable("HF_ENDPOINT", "actors.providers.huggingface_hub", "the Hub that tells what a model is for (default: the public one)"),
    Variable("HYVVE_PROVIDER_KEYS", "actors.providers.keys", "keys of AI providers that were installed, `name=key` with commas", "list", secret=True),
    Variable("HYVVE_PROVIDER_URLS", "actors.providers.urls", "their endpoints, `name=url` with commas", "list"),
    Variable("HYVVE_PROVIDER_WEBHOOK_URLS", "actors.providers.webhook_urls", "where they tell that a job is done, `name=https://…/teams/webhooks/name` with commas", "list"),
    Variable("HYVVE_PROVIDER_WEBHOOK_SECRETS", "actors.providers.webhook_secrets", "what they sign webhooks with, `name=whsec_…` with commas", "list", secret=True),
    Variable("HYVVE_PROVIDER_MODELS", "actors.providers.models", "further models to offer, `provider:model` with commas", "list"),
    Variable("HYVVE_PROVIDER_PRICES", "actors.providers.prices", "prices, `model=usd` a second, or `model=input/output` or `model=input/output/cached` in USD per million tokens, with commas", "list"),
    Variable("HYVVE_PROVIDER_TIMEOUT_S", "actors.providers.timeout_s", "seconds one call of an AI provider may take, waiting for a job included (600)"),
    Variable("HYVVE_REVIEW_VERDICTS", "actors.verification.review_verdicts", "a person is asked about each verdict REVIEW (true)"),
    Variable("HYVVE_VERDICT_REVIEWS", "actors.verification.verdict_reviews", 'whom those are for and how long they wait, as JSON like a node\'s `review.policy` (docs/workflows.md): `{"group": "leads", "needed": 2, "asked": 3, "timeout_seconds": 86400, "on_timeout": "reject"}` (default: anybody, one decision, for ever)', "json"),
    Variable("HYVVE_FORMS_LLM", "actors.reviews.form_llm", "agents' model that fills in forms of AI providers beside the rules (default: rules alone)"),
    Variable("HYVVE_REVIEW_GROUPS", "actors.reviews.groups", 'who is in the groups that reviews are given or escalated to, as JSON: `{"leads": ["ann", "bob"]}`; they alone see and decide what is with their group (default: a group is anybody)', "json"),
    Variable("HYVVE_REVIEW_CHECKPOINTS", "actors.reviews.checkpoints", 'checkpoints that are on in team runs beside the built-in three, with their options, as JSON: `{"cost_approval": {"limit_micro_usd": 50000}}`', "json"),
    Variable("HYVVE_REVIEW_KEYS_SPEAK_FOR_MANY", "actors.reviews.keys_speak_for_many", "an API key may decide under several names where several people must agree; false: it is one voice (true)"),
    Variable("HYVVE_CALLBACK_SECRET", "storage.callbacks.secret", "what callbacks are signed with that bring no secret of their own, `whsec_…`", secret=True),
    Variable("HYVVE_CALLBACK_GIVE_UP_S", "storage.callbacks.give_up_s", "seconds after which a callback that nobody takes is given up (86400)"),
    Variable("HYVVE_REVIEW_MARGIN", "actors.verification.review_margin", "points around the required score left to a person (5)"),
    Variable("HYVVE_MIN_CONFIDENCE", "actors.verification.min_confidence", "below it a person decides, 0–1 (0.5)"),
    Variable("HYVVE_NEAR_DUPLICATE", "actors.verification.near_duplicate", "similarity of a duplicate, 0–1 (0.8)"),
    Variable("HYVVE_FAIRNESS_BOUND", "actors.verification.fairness_bound", "largest fairness adjustment, 0–5 points (1)"),
    Variable("HYVVE_SCORE_CACHE_DAYS", "actors.verification.score_cache_ttl_s", "how long a score is remembered (7)", "days"),
    Variable("HYVVE_CHUNK_SIZE", "actors.verification.fanout.chunk_size", "contributions per Ray task (128)"),
    Variable("HYVVE_MAX_CHUNKS", "actors.verification.fanout.max_chunks_in_flight", "tasks at once (what the CPUs or GPUs take; where a provider scores, one per CPU or per 16 calls at once)"),
    Variable("HYVVE_WORKER_CPUS", "actors.verification.fanout.num_cpus", "CPUs that a task holds (1; 0.4 where a provider scores)"),
    Variable("HYVVE_WORKER_GPUS", "actors.verification.fanout.num_gpus", "GPUs that a task holds; above 0: GPU workers (0)"),
    Variable("HYVVE_RUN_HOSTS", "actors.runs.hosts", "processes that drive runs (default 2)"),
    Variable("HYVVE_RUNS_PER_HOST", "actors.runs.max_driven", "runs that one of them drives at once (500)"),
    Variable("HYVVE_RUN_HISTORY_DAYS", "actors.runs.history_s", "after a run's end, how long any of its checkpoints can be forked from (7)", "days"),
    Variable("HYVVE_RUN_CHECKPOINT_DAYS", "actors.runs.checkpoints_s", "after a run's end, how long its last checkpoint is kept (30)", "days"),
    Variable("HYVVE_RUN_EVENT_DAYS", "actors.runs.events_s", "after a run's end, how long its events are kept; for good, where people were asked (90)", "days"),
    Variable("HYVVE_RUN_DAYS", "actors.runs.rows_s", "after a run's end, how long its row is kept; for good, where people decided about it (365)", "days"),
    Variable("HYVVE_RUN_CHECKPOINTS", "actors.runs.kept_checkpoints", "checkpoints kept of one thread, however long it goes on (1000)"),
)  # fmt: skip

BY_NAME = {variable.name: variable for variable in VARIABLES}
