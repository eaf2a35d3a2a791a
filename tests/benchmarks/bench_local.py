"""The local scorer against bare sentence embeddings: what screening, measuring and marking cost on top.

Same texts, same model object, same threads, interleaved rounds in one process, so that a busy machine slows both.
Two comparisons: 512 in one call each, and chunks of 64 each, as a batch scores them.
"""

from __future__ import annotations

import csv
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from actors.settings import FanoutSettings, ScorerSettings
from actors.verification.models import Content
from actors.verification.scorers import encoder
from actors.verification.scorers.local import LocalScorer
from tests.benchmarks import clinc150

LIMIT = 0.85
_SLICE = 512
_BANKING = clinc150.PATH.with_name("banking77_train.csv")


def texts(count: int) -> tuple[list[str], str]:
    """`count` different short texts and where they are from: real requests, or made ones where those are not there."""
    chance = random.Random(7)
    if clinc150.PATH.exists():
        found = [request.text for request in clinc150.requests()]
        source = "CLINC150"
        if _BANKING.exists():
            with _BANKING.open(encoding="utf-8", newline="") as lines:
                found += [row["text"] for row in csv.DictReader(lines)]
            source = "CLINC150 and BANKING77"
        found = list(dict.fromkeys(found))
        return chance.sample(found, min(count, len(found))), source
    verbs = ("book", "cancel", "find", "change", "check", "explain")
    things = ("flight", "table for two", "hotel near the station", "rental car", "recipe for lentil soup", "oil change")
    ends = (
        "please",
        "for tomorrow morning",
        "as soon as you can",
        "before the end of the week",
        "for my brother and me",
    )
    made = {
        f"could you {chance.choice(verbs)} the {chance.choice(things)} {chance.choice(ends)} number {number}"
        for number in range(count)
    }
    return sorted(made), "made requests"


def run(*, quick: bool = False) -> bool:
    """Print the rates and ratios; whether both ratios reach `LIMIT`."""
    import torch  # noqa: PLC0415 - seconds

    slices = 2 if quick else 4
    lines, source = texts(slices * _SLICE)
    rounds = 4 if quick else 16
    contents = [clinc150.content(line) for line in lines]
    brief = clinc150.BRIEFS["travel"]
    scorer = LocalScorer(ScorerSettings())
    bare = encoder.open_encoder(None)._model  # the same weights in memory for both

    def score(chunk: Sequence[Content]) -> None:
        scorer.score(brief, chunk)

    def embed(chunk: Sequence[Content]) -> None:
        bare.encode([content.text for content in chunk], show_progress_bar=False)

    for job in (score, embed):
        job(contents[:64])
    size = FanoutSettings().chunk_size
    print(
        f"  {len(lines):,} texts of {source}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; medians of "
        f"{rounds} interleaved rounds of {_SLICE} texts"
    )
    held = True
    for label, step in ((f"{_SLICE} in one call", _SLICE), (f"chunks of {size}", size)):
        ours: list[tuple[float, float]] = []
        theirs: list[tuple[float, float]] = []
        for number in range(rounds):
            start = number % slices * _SLICE
            part = contents[start : start + _SLICE]
            # Who goes first alternates, so that a slow moment hits neither always.
            for job, taken in [(score, ours), (embed, theirs)][:: 1 if number % 2 else -1]:
                taken.append(_timed(job, part, step))
        ratio, cpu = (statistics.median(b[i] / a[i] for a, b in zip(ours, theirs, strict=True)) for i in (0, 1))
        own, plain = (_SLICE / statistics.median(wall for wall, _ in taken) for taken in (ours, theirs))
        ok = ratio >= LIMIT
        held &= ok
        print(
            f"  {'ok  ' if ok else 'MISS'}  {label}: local scorer {own:,.0f} texts/s, bare encode {plain:,.0f} texts/s, "
            f"ratio {ratio:.3f} (at least {LIMIT}); by CPU seconds {cpu:.3f}"
        )
    return held


def _timed(job: Callable[[Sequence[Content]], None], contents: Sequence[Content], step: int) -> tuple[float, float]:
    """Seconds by the clock, and of this process's CPUs."""
    started, used = time.perf_counter(), time.process_time()
    for start in range(0, len(contents), step):
        job(contents[start : start + step])
    return time.perf_counter() - started, time.process_time() - used


if __name__ == "__main__":
    print("local scorer against bare SentenceTransformer.encode")
    sys.exit(0 if run(quick="--quick" in sys.argv) else 1)
