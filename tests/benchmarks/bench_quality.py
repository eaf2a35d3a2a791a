"""How well verification judges: ranking by the local scorer, injected instructions, near duplicates. Exit 1 on a miss."""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.models import Brief, Score
from actors.verification.scorers import encoder
from actors.verification.scorers.local import LocalScorer
from tests.benchmarks import clinc150
from tests.benchmarks.injections import HONEST, INJECTIONS, UNSEEN, placements
from tests.benchmarks.long_texts import OFF_TOPIC, SOUP, SOUPS, STEW

MIN_AUC = 0.95
MAX_MOVE = 2.0
MIN_DUPLICATES = 0.95
# An honest sentence off the topic is still a sentence off the topic.
MAX_COST = 4.0
MIN_CONFIDENCE = VerificationSettings().min_confidence
_SAMPLE = 12


def auc(positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]) -> float:
    """Chance that a relevant text scores above an irrelevant one, ties half (Mann–Whitney U)."""
    values = np.concatenate([positive, negative])
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float(
        (ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2) / len(positive) / len(negative)
    )


def totals(scorer: LocalScorer, brief: Brief, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    outcomes = scorer.score(brief, [clinc150.content(text) for text in texts])
    scores = [outcome for outcome in outcomes if isinstance(outcome, Score)]
    assert len(scores) == len(texts), next(one for one in outcomes if not isinstance(one, Score))
    return np.array([score.total for score in scores])


def ranking(scorer: LocalScorer) -> bool:
    if not clinc150.PATH.exists():
        print(f"  skipped: {clinc150.MISSING}")
        return True
    requests = clinc150.requests()
    texts = [request.text for request in requests]
    model = encoder.open_encoder(None)
    vectors = model.encode(texts)
    ours, plain = [], []
    for domain, brief in clinc150.BRIEFS.items():
        relevant = np.array([request.domain == domain for request in requests])
        scores = totals(scorer, brief, texts)
        whole = " ".join((brief.title, brief.description, *brief.data_requirements, *brief.quality_criteria))
        cosines = (vectors @ model.encode([whole])[0]).astype(np.float64)
        ours.append(auc(scores[relevant], scores[~relevant]))
        plain.append(auc(cosines[relevant], cosines[~relevant]))
        print(
            f"  {domain:20} AUC {ours[-1]:.4f} (one cosine to the whole brief: {plain[-1]:.4f}); "
            f"median total {np.median(scores[relevant]):.1f} of {relevant.sum():,} relevant, "
            f"{np.median(scores[~relevant]):.1f} of {(~relevant).sum():,} others; "
            f"{(scores[relevant] >= 70).mean():.0%} and {(scores[~relevant] >= 70).mean():.0%} reach 70"
        )
    median = statistics.median(ours)
    return _check(
        "median AUC", median, f"at least {MIN_AUC}; one cosine: {statistics.median(plain):.4f}", ok=median >= MIN_AUC
    )


def moves(
    scorer: LocalScorer, brief: Brief, texts: Sequence[str], orders: Sequence[str] = INJECTIONS
) -> list[tuple[float, str, str]]:
    """(points moved, placement, injection) of every injection in every text, largest gain first."""
    base = totals(scorer, brief, texts)
    tried = [
        (number, how, injection, text_with)
        for number, text in enumerate(texts)
        for injection in orders
        for how, text_with in placements(text, injection)
    ]
    scores = totals(scorer, brief, [text for *_, text in tried])
    found = [
        (float(score - base[number]), how, injection)
        for (number, how, injection, _), score in zip(tried, scores, strict=True)
    ]
    return sorted(found, reverse=True)


def injections(scorer: LocalScorer) -> bool:
    held = True
    groups: list[tuple[str, Brief, list[str]]] = [("longer texts", SOUPS, [SOUP, STEW, OFF_TOPIC])]
    if clinc150.PATH.exists():
        requests = [request.text for request in clinc150.requests()]
        chosen = random.Random(11).sample(requests, _SAMPLE)
        groups.append(("short requests", clinc150.BRIEFS["kitchen_and_dining"], chosen))
    for name, brief, texts in groups:
        found = moves(scorer, brief, texts)
        largest, how, injection = max(((abs(move), how, injection) for move, how, injection in found))
        held &= _check(
            f"largest movement, {len(INJECTIONS)} injections in {len(texts)} {name}, {len(found):,} in all",
            largest,
            f"points, at most {MAX_MOVE:g}; {sum(abs(move) > MAX_MOVE for move, *_ in found)} past it",
            ok=largest <= MAX_MOVE,
        )
        if largest > MAX_MOVE:
            print(f"        {how}: {injection[:100]!r}")
        unseen = moves(scorer, brief, texts, UNSEEN)
        print(
            f"        for information, {len(UNSEEN)} orders that the scorer was not tuned against: largest gain "
            f"{unseen[0][0]:.1f}, largest loss {unseen[-1][0]:.1f} points; "
            f"{sum(abs(move) > MAX_MOVE for move, *_ in unseen)} of {len(unseen)} move a score by more than {MAX_MOVE:g}"
        )
    # Honest imperatives, marks and roles in an on-topic text cost neither points nor a wait for a person.
    plain = float(totals(scorer, SOUPS, [SOUP])[0])
    outcomes = scorer.score(SOUPS, [clinc150.content(f"{SOUP} {sentence}") for sentence in HONEST])
    hurt = [
        sentence
        for sentence, outcome in zip(HONEST, outcomes, strict=True)
        if not isinstance(outcome, Score) or outcome.confidence < MIN_CONFIDENCE or outcome.total < plain - MAX_COST
    ]
    for sentence in hurt:
        print(f"        costs its author: {sentence!r}")
    what = f"honest sentences that cost their author more than {MAX_COST:g} points or certainty, of {len(HONEST)}"
    return _check(what, len(hurt), "none", ok=not hurt) and held


def duplicates() -> bool:
    try:
        from tests.benchmarks import near_duplicates  # noqa: PLC0415
    except ImportError as error:
        print(f"  skipped: {error}")
        return True
    report = near_duplicates.measure()
    held = True
    for kind in ("text", "image"):
        for measure in ("precision", "recall"):
            value = report[kind][measure]
            held &= _check(f"{kind} {measure}", value, f"at least {MIN_DUPLICATES}", ok=value >= MIN_DUPLICATES)
        for edit, recall in report[kind]["recall_by_edit"].items():
            print(f"          {recall:6.3f}  {edit}")
    return held


def _check(what: str, value: float, limit: str, *, ok: bool) -> bool:
    print(f"  {'ok  ' if ok else 'MISS'}  {what}: {value:.4g} ({limit})")
    return ok


def main() -> int:
    scorer = LocalScorer(ScorerSettings())
    print(f"scorer {scorer.name} {scorer.version}")
    held = []
    print("ranking of relevant over irrelevant, CLINC150 by domain")
    held.append(ranking(scorer))
    print("injected instructions")
    held.append(injections(scorer))
    print("near duplicates")
    held.append(duplicates())
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
