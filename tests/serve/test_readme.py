"""The README's commands work as they stand there: a newcomer types them in their order."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


def commands(chapter: str) -> list[list[str]]:
    """The words of each `curl` of that chapter, as a shell reads them."""
    text = (ROOT / "README.md").read_text().split(f"## {chapter}\n")[1].split("\n## ")[0]
    fenced = "\n".join(re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    found: list[list[str]] = [[]]
    for word in shlex.split(fenced, comments=True):
        if word == "curl":
            found.append([])
        found[-1].append(word)
    return found[1:]


def given(words: list[str], flag: str) -> list[str]:
    return [word for before, word in itertools.pairwise(words) if before == flag]


async def test_a_campaign_from_opening_it_to_the_verdicts(client: httpx.AsyncClient) -> None:
    asked = []
    batch_id = "BATCH_ID"
    for words in commands("Run the API"):
        (path,) = [word.removeprefix("localhost:8000") for word in words if word.startswith("localhost:8000/")]
        asked.append(path)
        url = path.replace("BATCH_ID", batch_id)
        if bodies := given(words, "-d"):
            answer = await client.post(url, json=json.loads(bodies[0]))
        elif parts := given(words, "-F"):
            form = dict(part.split("=", 1) for part in parts)
            file = ROOT / form.pop("submission_file").removeprefix("@")
            answer = await client.post(url, data=form, files={"submission_file": (file.name, file.read_bytes())})
        else:
            answer = await client.get(url)
        assert answer.is_success, (url, answer.text)
        if path.endswith("verify-campaign-dataset"):
            batch_id = answer.json()["batch_id"]
    assert asked == [
        "/campaigns/create-campaigns", "/ai-verification/verify-submission", "/campaigns/submit-contributions",
        "/agent-workflows/verify-campaign-dataset", "/verification-batches/BATCH_ID",
        "/verification-batches/BATCH_ID/results",
    ]  # fmt: skip
