"""`ray up ray-cluster.yaml` accepts the file, and it starts Ray as Hyvve needs it."""

from __future__ import annotations

import json
import shlex
import textwrap
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler import node_provider
from ray.autoscaler._private.util import prepare_config, validate_config

from actors.verification.ray_environment import CHUNK_ENVIRONMENT
from serve.ray_environment import SERVE_ENVIRONMENT

FILE = Path(__file__).parents[2] / "ray-cluster.yaml"
AWS = "# stopped after idle_timeout_minutes.\n#\n"


def on_premises() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text()))


def on_aws() -> dict[str, Any]:
    """The file with its commented variant put in."""
    lines = FILE.read_text().split(AWS)[1].splitlines()
    variant = yaml.safe_load(textwrap.dedent("\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)))
    return {key: value for key, value in on_premises().items() if key != "min_workers"} | dict(variant)


@pytest.mark.parametrize("config", [on_premises(), on_aws()], ids=["on premises", "aws"])
def test_rays_own_schema_and_checks_accept_it(config: dict[str, Any]) -> None:
    schema = json.loads((Path(node_provider.__file__).parent / "ray-schema.json").read_text())
    prepared = prepare_config(config)
    jsonschema.validate(prepared, schema)
    validate_config(prepared)
    # Nothing that we wrote is unknown to Ray: it takes any key, and ignores those it does not know.
    assert set(config) <= set(schema["properties"]) | {"min_workers"}


def exported(role: str) -> dict[str, str]:
    """What a node's shell exports before it starts Ray, as the shell reads it."""
    words = shlex.split(on_premises()[f"{role}_start_ray_commands"][-1])
    begin = words.index("export") + 1
    return dict(word.split("=", 1) for word in words[begin : words.index("&&", begin)])


@pytest.mark.parametrize("role", ["head", "worker"])
def test_every_node_starts_tuned_and_with_a_token(role: str) -> None:
    expected = {"RAY_AUTH_MODE": "token", **SERVE_ENVIRONMENT, **CHUNK_ENVIRONMENT}
    if role == "head":
        expected["RAY_external_storage_namespace"] = "hyvve"
    assert exported(role) == expected
    assert ". ~/hyvve/cluster.env" in on_premises()[f"{role}_start_ray_commands"][-1]


def test_the_token_is_copied_and_build_outputs_are_not() -> None:
    config = on_premises()
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert {".venv", ".hyvve", ".git"} <= set(config["rsync_exclude"])


def test_the_head_keeps_its_memory_in_redis() -> None:
    text = FILE.read_text()
    assert "RAY_REDIS_ADDRESS=" in text
    assert exported("head")["RAY_external_storage_namespace"] == "hyvve"
