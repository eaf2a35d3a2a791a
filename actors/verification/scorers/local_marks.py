"""From nearness and measured quality to six marks, a total and how sure it is. Pure arithmetic, every number stated.

Curves were set on texts of `make bench-quality` and the sample campaign and are part of the scorer's version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actors.verification.models import Content, Criterion, Mark
from actors.verification.scorers.encoder import Vectors
from actors.verification.scorers.local_brief import Asked
from actors.verification.scorers.local_quality import Quality

# They sum to 1. Relevance is what this scorer measures best; accuracy it can only infer.
WEIGHTS: dict[Criterion, float] = {
    Criterion.RELEVANCE: 0.40,
    Criterion.ALIGNMENT: 0.20,
    Criterion.COMPLETENESS: 0.15,
    Criterion.LANGUAGE: 0.10,
    Criterion.ORIGINALITY: 0.10,
    Criterion.ACCURACY: 0.05,
}
# The total is at most a mark plus this: what is off topic, unreadable, empty or copied is not bought by the rest.
CEILINGS: dict[Criterion, float] = {
    Criterion.RELEVANCE: 20.0,
    Criterion.LANGUAGE: 25.0,
    Criterion.COMPLETENESS: 45.0,
    Criterion.ORIGINALITY: 35.0,
}
# Nearness (0: as unrelated texts, 1: the brief's own words) to mark.
_CURVE = ((0.0, 0.0), (0.10, 10.0), (0.20, 38.0), (0.28, 70.0), (0.38, 90.0), (0.55, 100.0))
# A long text may wander: its worst third does not count, so one good paragraph before junk is half a text at most.
_WANDERING = 1 / 3
_NUMBERS = 4  # decimals a cosine is rounded to: what differs between machines lies behind them


@dataclass(frozen=True, slots=True)
class Judged:
    marks: tuple[Mark, ...]
    total: float
    confidence: float
    reasoning: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a judgement rests on. `vectors`: one per window of the text, `()` shaped 0 where no text remained."""

    content: Content
    vectors: Vectors
    tokens: int
    quality: Quality
    taken_out: tuple[str, ...]  # sentences that spoke to the judge
    blatant: bool  # one of them by its words, not by its meaning alone
    stuffed: int  # words copied from the brief, taken out
    hidden: int
    foreign: bool  # the model does not know this language


def mark_of(nearness: float) -> float:
    """0–100 by `_CURVE`."""
    return float(np.interp(nearness, [point[0] for point in _CURVE], [point[1] for point in _CURVE]))


def judge(asked: Asked, evidence: Evidence) -> Judged:
    quality = evidence.quality
    if quality.words == 0 or len(evidence.vectors) == 0:
        return _nothing_left(asked, evidence)
    nearness = _nearness(asked, evidence.vectors)
    parts = [mark_of(value) for value in nearness.max(axis=1)]
    best = sorted(parts, reverse=True)[: len(parts) - math.floor(_WANDERING * len(parts))]
    readable = quality.legibility * quality.prose
    topic = sum(best) / len(best)
    completeness, completeness_reason = _completeness(asked, evidence)
    language, language_reason = _language(asked, evidence)
    relevance = topic * readable
    alignment, alignment_reason = _alignment(asked, evidence, relevance, completeness)
    originality, originality_reason = _originality(evidence)
    accuracy = min(80.0, relevance, language)
    marks = (
        Mark(
            Criterion.ACCURACY,
            _mark(accuracy),
            "Facts are not checked: this scorer knows the meaning of words, not the world; the mark follows relevance "
            f"and language, at most 80, and weighs {WEIGHTS[Criterion.ACCURACY]:.0%}.",
        ),
        Mark(Criterion.ALIGNMENT, _mark(alignment), alignment_reason),
        Mark(Criterion.RELEVANCE, _mark(relevance), _relevance_reason(asked, nearness, parts, readable)),
        Mark(Criterion.COMPLETENESS, _mark(completeness), completeness_reason),
        Mark(Criterion.LANGUAGE, _mark(language), language_reason),
        Mark(Criterion.ORIGINALITY, _mark(originality), originality_reason),
    )
    total, limit = _total(marks)
    confidence, doubts = _confidence(asked, evidence, topic, parts, total)
    return Judged(marks, total, confidence, _reasoning(marks, evidence, limit, doubts))


def _total(marks: Sequence[Mark]) -> tuple[float, str | None]:
    """The weighted mean, and which ceiling held it down."""
    weighted = sum(WEIGHTS[mark.criterion] * mark.value for mark in marks)
    given = {mark.criterion: mark.value for mark in marks}
    criterion, ceiling = min(
        ((criterion, given[criterion] + above) for criterion, above in CEILINGS.items()), key=lambda pair: pair[1]
    )
    if weighted <= ceiling:
        return round(weighted, 1), None
    return round(ceiling, 1), (
        f"The total is held at {ceiling:.0f} by {criterion}: without that the rest is not worth paying for."
    )


def _nearness(asked: Asked, vectors: Vectors) -> Vectors:
    """Windows × targets: cosines above the floor of unrelated texts, as a share of what is possible."""
    cosines = np.round(vectors @ asked.vectors.T, _NUMBERS)
    return np.asarray((cosines - asked.floor) / (1.0 - asked.floor), dtype=np.float32)


def _relevance_reason(asked: Asked, nearness: Vectors, parts: Sequence[float], readable: float) -> str:
    window, target = np.unravel_index(int(nearness.argmax()), nearness.shape)
    value = float(nearness[window, target])
    topic = _short(asked.targets[target].text)
    if value < _CURVE[2][0]:
        reason = f"It is about something else: even the nearest point of the brief, “{topic}”, is hardly nearer than to any text"
    elif value < _CURVE[3][0]:
        reason = f"It is loosely related to “{topic}”"
    else:
        reason = f"It is about “{topic}”"
    reason += f" ({max(value, 0.0):.2f}, where unrelated texts have 0 and the brief's own words 1)"
    if len(parts) > 1:
        on_topic = sum(part >= 50 for part in parts)
        reason += f"; {on_topic} of its {len(parts)} parts are on the topic"
    if readable < 0.9:
        reason += "; what is not readable text does not count"
    return reason + "."


def _alignment(asked: Asked, evidence: Evidence, relevance: float, completeness: float) -> tuple[float, str]:
    quality = evidence.quality
    reasons: list[str] = []
    value = relevance
    if len(asked.topical) and asked.length.form != "short":
        cosines = np.round(evidence.vectors @ asked.topical.T, _NUMBERS).max(axis=0)
        met = [mark_of(float(cosine - asked.floor) / (1.0 - asked.floor)) for cosine in cosines]
        ranked = sorted(met, reverse=True)[: max(math.ceil(0.75 * len(met)), 1)]
        value = sum(ranked) / len(ranked) * quality.legibility * quality.prose
        number = sum(mark >= 50 for mark in met)
        reasons.append(f"it touches {number} of the {len(met)} requirements that name a subject")
        if number < len(met):
            missing = asked.topical_texts[int(np.argmin(met))]
            reasons.append(f"farthest is “{_short(missing)}”")
    else:
        reasons.append("it fits one of the brief's points" if value >= 50 else "it fits none of the brief's points")
    most = asked.length.most
    if most is not None and quality.words > most * 1.1:
        value *= 0.6
        reasons.append(f"it has {quality.words:,} words where at most {most:,} are asked for")
    if completeness < 50:
        value *= 0.5 + completeness / 100
        reasons.append("it is too short to do so properly")
    # What is off topic aligns with nothing, however it is worded.
    return min(value, relevance + 25), _sentence("; ".join(reasons))


def _completeness(asked: Asked, evidence: Evidence) -> tuple[float, str]:
    quality, length = evidence.quality, asked.length
    share = (quality.words - length.least) / max(length.enough - length.least, 1)
    value = 100.0 * max(0.0, min(1.0, share))
    wanted = "the brief asks for" if length.stated else "a contribution of this form usually has"
    words = "1 word" if quality.words == 1 else f"{quality.words:,} words"
    reason = f"{words}; {wanted} {length.enough:,} or more" if value < 100 else f"{words} is as much as is asked for"
    if quality.placeholders:
        value *= 0.4
        reason += f"; it holds placeholders ({', '.join(quality.placeholders)})"
    if quality.is_cut:
        value *= 0.9
        reason += "; it ends inside a sentence"
    if evidence.content.left_out:
        reason += f"; not seen by this scorer: {', '.join(evidence.content.left_out)}"
    return value, _sentence(reason)


def _language(asked: Asked, evidence: Evidence) -> tuple[float, str]:
    quality = evidence.quality
    value = 100.0
    reasons: list[str] = []
    if quality.legibility < 0.9:
        reasons.append(
            "many of its words are no words" if quality.legibility < 0.5 else "some of its words are no words"
        )
    if quality.prose < 0.9:
        reasons.append("its words form a list of terms rather than sentences")
    value *= quality.legibility * quality.prose
    if quality.shouting > 0.3:
        value *= 0.85
        reasons.append("it is mostly in capitals")
    if quality.markup > 0.2:
        value *= max(0.3, 1 - quality.markup)
        reasons.append(f"{quality.markup:.0%} of it is markup and addresses")
    if quality.fresh < 0.5:
        value *= 0.8
        reasons.append("it says the same over and over")
    language = evidence.content.language
    spoken = language if evidence.foreign or quality.english < 0.2 else "en"
    if asked.languages and spoken and spoken not in asked.languages and (evidence.foreign or quality.words >= 8):
        value *= 0.35
        wanted = " or ".join(sorted(asked.languages))
        reasons.append(f"it is in “{spoken}”, where “{wanted}” is asked for")
    elif evidence.foreign:
        reasons.append(
            "it is in a language or script that this model does not know, so how well it is written is a guess"
        )
        value = min(value, 60.0)
    if not reasons:
        return value, "It reads as running text: real words, in sentences or rows, nothing garbled."
    return value, _sentence("; ".join(reasons))


def _originality(evidence: Evidence) -> tuple[float, str]:
    quality = evidence.quality
    value = 100.0 * quality.fresh
    reasons: list[str] = []
    if quality.fresh < 0.9:
        reasons.append("it repeats its own words and phrases")
    if quality.borrowed > 0.5:
        value *= max(0.2, 1 - (quality.borrowed - 0.5) * 1.8)
        reasons.append(f"{quality.borrowed:.0%} of its content words are the brief's own")
    if evidence.stuffed:
        reasons.append(f"{evidence.stuffed} words copied from the brief do not count")
    if quality.placeholders:
        value *= 0.7
        reasons.append("it holds filler text")
    if not reasons:
        return value, "It does not repeat itself or the brief; whether others submitted the same is checked elsewhere."
    return value, _sentence("; ".join(reasons))


def _confidence(
    asked: Asked, evidence: Evidence, topic: float, parts: Sequence[float], total: float
) -> tuple[float, list[str]]:
    """0–1, a product of what makes the judgement unsure; and the reasons, worst first."""
    quality = evidence.quality
    factors: list[tuple[float, str]] = []
    # Half way up the curve a text is as likely related as not.
    edge = max(0.0, 1 - abs(topic - 50) / 40)
    factors.append((1 - 0.8 * edge, "its relevance lies where on-topic and off-topic texts mix"))
    if evidence.foreign:
        factors.append((0.25, "the model does not know its language or script"))
    if quality.words < 3:
        factors.append((0.5, "it is too short to tell"))
    if len(parts) > 1 and (spread := float(np.std(parts))) > 25:
        factors.append((1 - min(0.4, (spread - 25) / 50), "parts of it are on the topic and parts are not"))
    if evidence.content.left_out:
        factors.append((0.5 if topic >= 35 else 0.85, "only part of it was seen"))
    if 0.25 < quality.legibility * quality.prose < 0.75 and topic >= 35:
        factors.append((0.7, "it is hard to tell whether it is meant to be prose"))
    # Meaning alone may be a mistake, and then nobody should wait for a person.
    if evidence.blatant and (total >= 60 or asked.about_models):
        factors.append((0.5, "it tries to instruct the judge, which a person should see"))
    confidence = 0.95
    for factor, _ in factors:
        confidence *= factor
    return round(confidence, 2), [reason for factor, reason in sorted(factors) if factor < 0.8]


def _reasoning(marks: Sequence[Mark], evidence: Evidence, limit: str | None, doubts: Sequence[str]) -> str:
    by_name = {mark.criterion: mark for mark in marks}
    said = [by_name[Criterion.RELEVANCE].reason]
    # The two that cost most, beside relevance.
    costs = sorted(marks, key=lambda mark: (-(100 - mark.value) * WEIGHTS[mark.criterion], mark.criterion))
    said += [
        mark.reason
        for mark in costs[:3]
        if mark.criterion not in (Criterion.RELEVANCE, Criterion.ACCURACY) and mark.value < 75
    ]
    if limit:
        said.append(limit)
    said += _attempts(evidence)
    if doubts:
        said.append(f"Not sure: {'; '.join(doubts)}.")
    return " ".join(said)


def _attempts(evidence: Evidence) -> list[str]:
    said = []
    if evidence.taken_out:
        number = len(evidence.taken_out)
        said.append(
            f"{number} passage{'s' * (number > 1)} addressed to the judge did not count (“{_short(evidence.taken_out[0])}”)."
        )
    if evidence.stuffed:
        said.append(f"{evidence.stuffed} words copied from the brief did not count.")
    if evidence.hidden:
        said.append(f"{evidence.hidden} invisible characters that spell words did not count.")
    return said


def _nothing_left(asked: Asked, evidence: Evidence) -> Judged:
    """No word of a contribution: marks of 0 that say so."""
    if evidence.taken_out or evidence.stuffed or evidence.hidden:
        reason = "Nothing remains when what addresses the judge and what is copied from the brief is set aside."
    else:
        reason = "It holds no words."
    marks = tuple(Mark(criterion, 0.0, reason) for criterion in Criterion)
    # A campaign that collects prompts wants what is taken for an order here.
    confidence = 0.3 if asked.about_models else 0.5 if not evidence.taken_out and not evidence.stuffed else 0.9
    return Judged(marks, 0.0, confidence, " ".join([reason, *_attempts(evidence)]))


def _mark(value: float) -> float:
    return round(max(0.0, min(100.0, value)), 1)


def _short(text: str, most: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
