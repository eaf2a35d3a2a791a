"""A typo or a wrong value in the environment is told by name, before anything starts."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from actors.settings import ScorerSettings, SearchSettings, VerificationSettings
from actors.verification.demand import cpus_per_task
from cluster.environment import BY_NAME, UNITS, VARIABLES
from cluster.errors import SettingError
from cluster.settings import Settings
from storage.blobs.open import open_store


def test_with_an_empty_environment_everything_is_embedded_in_the_working_directory() -> None:
    settings = Settings.from_environment({})
    assert settings.storage.data_dir == Path.cwd() / ".hyvve"
    assert settings.cluster.embedded_postgres
    assert settings.cluster.embedded_redis
    assert settings.serve.port == 8000
    assert settings.serve.host == "127.0.0.1"
    assert settings.actors.verification.scorer.kind == "local"


def test_variables_reach_the_room_that_uses_them() -> None:
    settings = Settings.from_environment(
        {
            "SQLALCHEMY_DATABASE_URL": "postgresql://a:b@db/x",
            "REDIS_URL": "redis://cache:6379/1",
            "HYVVE_PORT": "8123",
            "HYVVE_CORS_ORIGINS": "https://a.example, https://b.example",
            "HYVVE_SCORER": "openai",
            "OPENAI_BASE_URL": "http://localhost:9999/v1",
            "OPENAI_API_KEY": "sk-1",
            "HYVVE_SCORER_RPM": "300",
            "HYVVE_WORKER_GPUS": "0.5",
        }
    )
    scorer = settings.actors.verification.scorer
    assert settings.storage.database_url == "postgresql://a:b@db/x"
    assert not settings.cluster.embedded_postgres
    assert not settings.cluster.embedded_redis
    assert settings.serve.port == 8123
    assert settings.serve.cors_origins == ("https://a.example", "https://b.example")
    assert (scorer.kind, scorer.base_url, scorer.requests_per_minute) == ("openai", "http://localhost:9999/v1", 300)
    assert scorer.api_key is not None
    assert scorer.api_key.get_secret_value() == "sk-1"
    assert settings.actors.verification.fanout.num_gpus == 0.5


def test_voters_get_their_providers_keys_and_the_shared_pace() -> None:
    settings = Settings.from_environment(
        {
            "HYVVE_SCORER": "vote",
            "HYVVE_SCORER_MEMBERS": "openai:gpt-4o-mini, gemini",
            "OPENAI_API_KEY": "sk-1",
            "GOOGLE_API_KEY": "g-1",
            "HYVVE_SCORER_TIMEOUT_S": "12",
        }
    )
    first, second = settings.actors.verification.scorer.members
    assert (first.kind, first.model, first.timeout_s) == ("openai", "gpt-4o-mini", 12)
    assert first.api_key is not None
    assert first.api_key.get_secret_value() == "sk-1"
    assert (second.kind, second.model, second.timeout_s) == ("gemini", None, 12)
    assert second.api_key is not None
    assert second.api_key.get_secret_value() == "g-1"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("HYVVE_PORT", "http", "integer"),
        ("HYVVE_PORT", "70000", "65535"),
        ("HYVVE_REPLICAS", "0", "greater than or equal to 1"),
        ("HYVVE_SCORER", "gpt", "'local', 'openai', 'gemini', 'atoma' or 'vote'"),
        ("HYVVE_BLOB_STORE", "s3", "'local' or 'walrus'"),
        ("HYVVE_SCORER_VISION", "perhaps", "boolean"),
        ("HYVVE_MIN_CONFIDENCE", "1.5", "less than or equal to 1"),
        ("HYVVE_MAX_UPLOAD_MB", "-1", "whole number from 1"),
        ("HYVVE_SCORER_RPM", "0", "greater than or equal to 1"),
        ("RAY_ADDRESS", "ray://head:10001", "host:port"),
        ("SQLALCHEMY_DATABASE_URL", "sqlite:///x.db", "postgresql://"),
        ("REDIS_URL", "cache:6379", "redis://"),
        ("OPENAI_BASE_URL", "localhost:80", "https://"),
        ("GOOGLE_GEMINI_BASE_URL", "localhost:80", "https://"),
        ("HYVVE_SEARCH_URL", "localhost:80", "https://"),
        ("HYVVE_SEARCH", "altavista", "'tavily'"),
        ("HYVVE_LLM_MODELS", "gpt-4o", "google|openai|atoma"),
        ("HYVVE_LLM_PRICES", "gpt-4o=cheap", "pattern"),
        ("HYVVE_SCORER_TIMEOUT_S", "0", "greater than 0"),
        ("HYVVE_SCORER_MAX_DISAGREEMENT", "nan", "finite number"),
        ("HYVVE_SCORER_MAX_DISAGREEMENT", "101", "less than or equal to 100"),
        ("HYVVE_RUN_DAYS", "999999999", "less than or equal to"),
        ("HYVVE_FETCH_NETWORKS", "127.0.0.1, 10.0.0.5/8", "write 10.0.0.0/8, or 10.0.0.5 for that address alone"),
        ("HYVVE_FETCH_NETWORKS", "files.example", "'files.example' is no network: write it as CIDR"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({name: value})
    assert caught.value.subject == name
    assert name in caught.value.message
    assert allowed in caught.value.message


def _numbers(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """The places of all numbers among these settings."""
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        if int in kinds or float in kinds:
            yield (name,)
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not model:
                yield from ((name, *below) for below in _numbers(kind))


@pytest.mark.parametrize("place", [pytest.param(each, id=".".join(each)) for each in _numbers(Settings)])
def test_no_number_is_infinite_negative_or_none_at_all(place: tuple[str, ...]) -> None:
    """Each would start, and then fail every call (a time limit of -5 s) or hold for none (a bound of nan)."""
    for wrong in (math.nan, math.inf, -math.inf, -1):
        values = Settings.from_environment({}).model_dump()
        within = values
        for part in place[:-1]:
            within = within[part]
        within[place[-1]] = wrong
        with pytest.raises(ValidationError) as caught:
            Settings.model_validate(values)
        assert [each["loc"] for each in caught.value.errors()] == [place], wrong


def test_the_numbers_of_every_room_are_held_to_that() -> None:
    rooms = Counter(place[0] for place in _numbers(Settings))
    assert rooms.keys() == {"storage", "actors", "serve", "cluster"}
    assert rooms.total() > 60


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingError, match=r"HYVVE_PROT .*did you mean HYVVE_PORT\?"):
        Settings.from_environment({"HYVVE_PROT": "8001"})


def test_others_variables_are_not_our_business() -> None:
    Settings.from_environment({"PATH": "/bin", "PORT": "x", "RAY_TMPDIR": "/x"})


@pytest.mark.parametrize(
    ("environ", "subject"),
    [
        ({"HYVVE_SCORER": "vote"}, "HYVVE_SCORER_MEMBERS"),
        ({"HYVVE_SCORER_MEMBERS": "local"}, "HYVVE_SCORER_MEMBERS"),
        ({"HYVVE_SCORER": "vote", "HYVVE_SCORER_MEMBERS": "local,claude"}, "HYVVE_SCORER_MEMBERS"),
        ({"HYVVE_BLOB_STORE": "walrus"}, "WALRUS_PUBLISHER_URL"),
        (
            {"HYVVE_BLOB_STORE": "walrus", "WALRUS_PUBLISHER_URL": "https://p.example"},
            "WALRUS_AGGREGATOR_URL",
        ),
    ],
)
def test_settings_that_need_another_say_which(environ: dict[str, str], subject: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment(environ)
    assert caught.value.subject == subject


def test_secrets_show_neither_in_errors_nor_in_the_settings_text() -> None:
    settings = Settings.from_environment({"OPENAI_API_KEY": "sk-verysecret", "HYVVE_SCORER": "openai"})
    assert "sk-verysecret" not in repr(settings)
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({"SQLALCHEMY_DATABASE_URL": "mysql://root:hunter2@db/x"})
    assert "hunter2" not in caught.value.message


def test_agents_models_get_the_same_keys_and_addresses_as_the_scorers() -> None:
    llms = Settings.from_environment(
        {
            "OPENAI_BASE_URL": "http://localhost:9999/v1", "GEMINI_API_KEY": "g-1", "ATOMASDK_BEARER_AUTH": "a-1",
            "HYVVE_ATOMA_CONFIDENTIAL": "true", "HYVVE_LLM_MODELS": "openai:qwen3:32b, google:gemma-4",
            "HYVVE_LLM_PRICES": "qwen3:32b=0.1/0.2",
        }
    ).actors.agents.llms  # fmt: skip
    assert llms.openai.base_url == "http://localhost:9999/v1"
    assert llms.google.api_key is not None
    assert llms.google.api_key.get_secret_value() == "g-1"
    assert llms.atoma.confidential
    assert llms.models == ("openai:qwen3:32b", "google:gemma-4")
    both = Settings.from_environment({"GEMINI_API_KEY": "g-1", "GOOGLE_API_KEY": "g-2"}).actors.agents.llms
    assert both.google.api_key is not None
    assert both.google.api_key.get_secret_value() == "g-2"


def test_a_search_key_chooses_its_service_unless_another_is_set() -> None:
    def search(**environ: str) -> SearchSettings:
        return Settings.from_environment(environ).actors.agents.tools.search

    assert search().backend == "keyless"
    found = search(BRAVE_API_KEY="b-1")
    assert found.backend == "brave"
    assert found.api_key is not None
    assert found.api_key.get_secret_value() == "b-1"
    assert search(BRAVE_API_KEY="b-1", HYVVE_SEARCH="wikipedia").api_key is None
    with pytest.raises(SettingError) as caught:
        search(HYVVE_SEARCH="tavily")
    assert caught.value.subject == "TAVILY_API_KEY"


def test_settings_travel_to_ray_workers_unchanged() -> None:
    settings = Settings.from_environment({"OPENAI_API_KEY": "sk-1", "HYVVE_SCORER": "openai"})
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_two_data_directories_share_no_address() -> None:
    one = Settings.from_environment({"HYVVE_DATA_DIR": "/tmp/one"})
    two = Settings.from_environment({"HYVVE_DATA_DIR": "/tmp/two"})
    assert one.storage.database_url != two.storage.database_url
    assert one.storage.redis_url != two.storage.redis_url


def test_on_a_cluster_the_api_listens_on_all_interfaces_unless_told_otherwise() -> None:
    assert Settings.from_environment({"RAY_ADDRESS": "10.0.0.1:6379"}).serve.host == "0.0.0.0"
    assert (
        Settings.from_environment({"RAY_ADDRESS": "10.0.0.1:6379", "HYVVE_HOST": "10.0.0.1"}).serve.host == "10.0.0.1"
    )


def test_every_variable_sets_a_setting_that_exists() -> None:
    values = {
        "HYVVE_SCORER_MEMBERS": "local", "HYVVE_SCORER": "vote", "HYVVE_BLOB_STORE": "walrus",
        "HYVVE_LLM_MODELS": "openai:m", "HYVVE_LLM_PRICES": "m=1/2", "HYVVE_SEARCH": "keyless",
        "HYVVE_PROVIDER_KEYS": "acme=k", "HYVVE_PROVIDER_URLS": "acme=https://x.example",
        "HYVVE_PROVIDER_WEBHOOK_URLS": "acme=https://x.example", "HYVVE_PROVIDER_WEBHOOK_SECRETS": "acme=whsec_s",
        "HYVVE_REVIEW_CHECKPOINTS": '{"security_scan": {}}',
        "HYVVE_PROVIDER_MODELS": "acme:m", "HYVVE_PROVIDER_PRICES": "m=0.001",
        "HF_ENDPOINT": "https://x.example", "HF_INFERENCE_ENDPOINT": "https://x.example",
        "HYVVE_FETCH_NETWORKS": "10.0.0.0/8", "HYVVE_REVIEW_GROUPS": '{"leads": ["ann"]}', "HYVVE_VERDICT_REVIEWS": '{"group": "leads"}',
    }  # fmt: skip
    urls = {"SQLALCHEMY_DATABASE_URL": "postgresql://x/y", "REDIS_URL": "redis://x"}
    for variable in VARIABLES:
        sample = values.get(variable.name) or urls.get(variable.name)
        if sample is None:
            sample = "https://x.example" if variable.name.endswith(("_URL", "GATEWAY")) else "1"
        environ = {
            "WALRUS_PUBLISHER_URL": "https://p.example", "WALRUS_AGGREGATOR_URL": "https://a.example",
            variable.name: sample,
        }  # fmt: skip
        if variable.name == "HYVVE_SCORER":
            environ["HYVVE_SCORER_MEMBERS"] = "local"
        if variable.name == "HYVVE_SCORER_MEMBERS":
            environ["HYVVE_SCORER"] = "vote"
        Settings.from_environment(environ)


def test_ai_providers_are_reached_by_the_names_that_their_own_libraries_use() -> None:
    providers = Settings.from_environment(
        {
            "REPLICATE_API_TOKEN": "r8_1",
            "REPLICATE_WEBHOOK_SECRET": "whsec_1",
            "OPENAI_API_KEY": "sk-1",
            "OPENAI_BASE_URL": "http://localhost:9999/v1",
            "ANTHROPIC_API_KEY": "sk-ant-1",
            "HF_TOKEN": "hf_1",
            "HF_ENDPOINT": "https://hub.example",
            "HYVVE_PROVIDER_KEYS": "acme=a=b",
            "HYVVE_PROVIDER_URLS": "acme=https://acme.example/v1?x=1",
            "HYVVE_PROVIDER_TIMEOUT_S": "30",
        }
    ).actors.providers
    keys = [providers.reach_of(name).api_key for name in ("replicate", "openai", "anthropic", "huggingface", "acme")]
    assert [key and key.get_secret_value() for key in keys] == ["r8_1", "sk-1", "sk-ant-1", "hf_1", "a=b"]
    assert providers.openai.base_url == "http://localhost:9999/v1"
    assert providers.huggingface_hub == "https://hub.example"
    assert providers.reach_of("acme").base_url == "https://acme.example/v1?x=1"
    assert providers.reach_of("unknown").api_key is None
    assert providers.timeout_s == 30


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HYVVE_PROVIDER_KEYS", "sk-verysecret"), ("HYVVE_PROVIDER_MODELS", "flux"), ("HYVVE_PROVIDER_PRICES", "m=free"),
        ("REPLICATE_BASE_URL", "localhost"), ("REPLICATE_WEBHOOK_URL", "http://a.example/hook"), ("HF_ENDPOINT", "hub"),
    ],
)  # fmt: skip
def test_an_ai_providers_setting_that_cannot_be_used_is_named_and_shows_no_key(name: str, value: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({name: value})
    assert caught.value.subject == name
    assert "verysecret" not in str(caught.value)


def test_one_variable_sets_every_limit_on_a_files_size(tmp_path: Path) -> None:
    """Else a file of 15 MB is taken by the API, and then refused by the store or the reader."""
    settings = Settings.from_environment({"HYVVE_MAX_UPLOAD_MB": "20", "HYVVE_DATA_DIR": str(tmp_path)})
    size = 20 * 1024 * 1024
    assert settings.serve.max_upload_bytes == size
    assert settings.actors.verification.read.max_bytes == size
    assert settings.storage.fetch.max_bytes == size
    assert settings.storage.walrus.max_bytes == 10 * 1024 * 1024  # Walrus's own

    async def kept(data: bytes) -> bytes:
        store = open_store(settings.storage)
        return await store.get(await store.put(data))

    large = bytes(15 * 1024 * 1024)
    assert asyncio.run(kept(large)) == large


def test_the_operations_page_lists_every_variable_as_the_code_has_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert [each.name for each in VARIABLES if f"| `{each.name}` | {each.help} |\n" not in page] == []


def test_the_defaults_that_people_are_told_are_those_that_hold() -> None:
    settings = Settings.from_environment({})
    told = {
        variable: json.loads(found[1])
        for variable in VARIABLES
        if (found := re.search(r"\((?:default )?([\d.]+|true|false)\)$", variable.help))
    }
    assert len(told) > 25
    for variable, number in told.items():
        value: Any = settings
        for part in variable.field.replace("atoma.", "actors.verification.scorer.").split("."):
            value = getattr(value, part)
        assert value == number * UNITS.get(variable.form, 1), variable.name
    scorers = [ScorerSettings(kind="local"), ScorerSettings(kind="openai")]
    computing, asking = [cpus_per_task(VerificationSettings(scorer=each)) for each in scorers]
    assert f"({computing:g}; {asking:g} where a provider scores)" in BY_NAME["HYVVE_WORKER_CPUS"].help


@pytest.mark.parametrize(
    "written", ["leads", '["leads"]', '{"leads": "ann"}', '{"leads": []}', '{"leads": [" "]}', "{"]
)
def test_groups_of_reviewers_that_cannot_be_read_are_refused_by_name(written: str) -> None:
    with pytest.raises(SettingError, match="HYVVE_REVIEW_GROUPS"):
        Settings.from_environment({"HYVVE_REVIEW_GROUPS": written})
    given = Settings.from_environment({"HYVVE_REVIEW_GROUPS": '{"leads": ["ann", "bob"]}'})
    assert given.actors.reviews.groups == {"leads": ("ann", "bob")}


@pytest.mark.parametrize(
    "written",
    [
        "{",
        '{"needed": 2, "asked": 1}',
        '{"on_timeout": "escalate"}',
        '{"reviewers": ["ann"], "needed": 2}',
        '{"who": 1}',
    ],
)
def test_a_policy_of_verdicts_that_cannot_be_kept_is_refused_by_name(written: str) -> None:
    with pytest.raises(SettingError, match="HYVVE_VERDICT_REVIEWS"):
        Settings.from_environment({"HYVVE_VERDICT_REVIEWS": written})
    given = Settings.from_environment({"HYVVE_VERDICT_REVIEWS": '{"reviewers": ["ann"], "finally": "reject"}'})
    policy = given.actors.verification.verdict_reviews
    assert (policy.reviewers, policy.finally_) == (("ann",), "reject")
