"""From a model's answer to marks: all of it or an error. No part of a score is ever guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from actors.errors import ScorerAnswerError
from actors.verification.models import Criterion, Mark
from actors.verification.scorers.prompt import WEIGHTS

MAX_ANSWER_CHARS = 64_000
_KEYS = {"marks", "confidence", "reasoning"}
_NAMES = {name.value for name in Criterion}
_FENCE = re.compile(r"\A```(?:json)?[ \t]*\r?\n(.*)\n?```\Z", re.DOTALL | re.IGNORECASE)
# Reasoning models behind plain servers put their thoughts first.
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
# Control characters (PostgreSQL takes no NUL) and the marks that turn text around.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Judgement:
    """`total` 0–100 is ours, by `WEIGHTS`; `confidence` 0–1 is the model's own."""

    marks: tuple[Mark, ...]
    total: float
    confidence: float
    reasoning: str


def total(marks: Iterable[Mark]) -> float:
    """The weighted mean of the marks by `WEIGHTS`, 0–100, to two decimals."""
    return round(sum(WEIGHTS[mark.criterion] * mark.value for mark in marks), 2)


def parse(answer: str | None, *, shown: str = "") -> Judgement:
    """The judgement in `answer`, which is one JSON object of `prompt.SCHEMA`, bare or in one code fence.

    `shown` is the text the model was shown: an answer copied from it is no judgement. Raises `ScorerAnswerError` for
    anything else: other keys, other text around, a criterion missing, a value that is no number in its range.
    """
    text = (answer or "").strip()
    if not text:
        raise ScorerAnswerError("the model gave an empty answer")
    if len(text) > MAX_ANSWER_CHARS:
        raise ScorerAnswerError(f"the model's answer is longer than {MAX_ANSWER_CHARS} characters")
    if text.startswith("<think>"):
        text = _THOUGHT.sub("", text).strip()
    if fenced := _FENCE.match(text):
        text = fenced.group(1).strip()
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ScorerAnswerError(f"the model's answer is not JSON ({error}): {_start(text)}") from None
    if shown and '"marks"' in shown and _is_copied(text, shown):
        raise ScorerAnswerError("the model's answer is copied from the contribution")
    return _judgement(body)


def _judgement(body: Any) -> Judgement:
    _exact_keys(body, _KEYS, "the answer")
    raw = body["marks"]
    _exact_keys(raw, _NAMES, "marks")
    marks = tuple(_mark(name, raw[name.value]) for name in Criterion)
    confidence = _number(body["confidence"], 1.0, "confidence")
    return Judgement(marks, total(marks), confidence, _sentence(body["reasoning"], "reasoning"))


def _mark(name: Criterion, raw: Any) -> Mark:
    _exact_keys(raw, {"value", "reason"}, f"marks.{name}")
    value = _number(raw["value"], 100.0, f"marks.{name}.value")
    return Mark(name, value, _sentence(raw["reason"], f"marks.{name}.reason"))


def _exact_keys(value: Any, keys: set[str], where: str) -> None:
    if not isinstance(value, dict):
        raise ScorerAnswerError(f"{where} is not an object: {_start(repr(value))}")
    if missing := keys - value.keys():
        raise ScorerAnswerError(f"{where} lacks {', '.join(sorted(missing))}")
    if extra := value.keys() - keys:
        raise ScorerAnswerError(f"{where} has what was not asked for: {_start(', '.join(sorted(extra)))}")


def _number(value: Any, most: float, where: str) -> float:
    # A bool is an int to Python, and no mark.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScorerAnswerError(f"{where} is not a number: {_start(repr(value))}")
    if not math.isfinite(value) or not 0 <= value <= most:
        raise ScorerAnswerError(f"{where} is {_start(repr(value))}, outside 0 to {most:g}")
    return float(value)


def _sentence(value: Any, where: str) -> str:
    if not isinstance(value, str) or not (text := _UNPRINTABLE.sub("", value).strip()):
        raise ScorerAnswerError(f"{where} is not a text: {_start(repr(value))}")
    return text


def _is_copied(answer: str, shown: str) -> bool:
    return "".join(answer.split()) in "".join(shown.split())


def _start(text: str) -> str:
    clean = _UNPRINTABLE.sub("", text)
    return clean if len(clean) <= 120 else clean[:119] + "…"
