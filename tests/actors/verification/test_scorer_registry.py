"""Opening scorers by setting, and the stub as the process that benchmarks start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr

from actors.settings import ScorerSettings
from actors.verification.scorers.registry import open_scorer
from tests.actors.verification.scoring import BRIEF, scored, text


def test_each_kind_opens_without_a_network_under_a_name_of_its_own() -> None:
    key = SecretStr("k")
    settings = [
        ScorerSettings(kind="openai", api_key=key),
        ScorerSettings(kind="gemini", api_key=key),
        ScorerSettings(kind="atoma", api_key=key),
        ScorerSettings(kind="atoma", api_key=key, confidential=True),
    ]
    settings.append(ScorerSettings(kind="vote", members=tuple(settings[:2])))
    scorers = [open_scorer(chosen, redis_url=None) for chosen in settings]
    assert [scorer.name for scorer in scorers] == ["openai", "gemini", "atoma", "atoma-confidential", "vote"]
    assert len({scorer.version for scorer in scorers}) == 5


def test_the_registry_imports_no_model_library_until_one_is_asked_for() -> None:
    """Each Ray worker pays for what it imports: torch alone is seconds and 400 MB."""
    heavy = "torch transformers sentence_transformers openai langchain_openai langchain_google_genai atoma_sdk"
    script = f"""
import sys
import actors.verification.scorers.registry, actors.verification.score_cache
print([name for name in {heavy.split()!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_the_stub_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.stubs.openai", "--port", "0", "--latency", "0.01", "--value", "73"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    try:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        scorer = open_scorer(ScorerSettings(kind="openai", base_url=base_url, model="m"), redis_url=None)
        outcomes = await scorer.score_many(BRIEF, [text(str(n)) for n in range(100)])
        await scorer.close()
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert {scored(outcome).total for outcome in outcomes} == {73.0}
