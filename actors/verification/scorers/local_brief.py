"""What a brief asks for, as far as it can be measured: topics, form, length, language.

Measured on CLINC150 (`make bench-quality`): the nearest of title, sentences of the description and requirements ranks
relevant over irrelevant as well as requirements alone (AUC 0.97) and far better than the whole brief as one text
(0.79–0.91). Quality criteria alone rank like a coin (0.48–0.53): "clear English" is near to any clear English. So a
quality criterion is a topic only where it lies as near to the requirements as they do to one another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from actors.verification.models import Brief
from actors.verification.scorers.encoder import Encoder, Vectors
from actors.verification.scorers.local_background import BACKGROUND

_SENTENCES = re.compile(r"(?<=[.!?。！？])\s+|\n+")
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
# More topics than this say nothing new and cost time per text.
_MOST_TARGETS = 96
# Cosine to the nearest requirement from which a quality criterion is about the topic.
_TOPICAL = 0.45
# Cosine to the other topics below which a requirement is about form ("one file per recipe", "at least 100 words").
_OFF_TOPIC_REQUIREMENT = 0.15

_SHORT_FORMS = re.compile(
    r"\b(?:questions?|requests?|utterances?|quer(?:y|ies)|sentences?|phrases?|messages?|tweets?|captions?|headlines?|"
    r"titles?|commands?|names?|labels?|one[- ]liners?|keywords?|slogans?|comments?|prompts?|search terms?)\b",
    re.IGNORECASE,
)
_LONG_FORMS = re.compile(
    r"\b(?:articles?|essays?|stor(?:y|ies)|recipes?|reports?|reviews?|tutorials?|guides?|step[- ]by[- ]step|detailed|"
    r"complete|instructions?|dialogues?|conversations?|transcripts?|letters?|chapters?|documentation|papers?|"
    r"descriptions?|interviews?|in depth|thorough|paragraphs?|accounts?)\b",
    re.IGNORECASE,
)
_SINGULAR_SHORT = re.compile(r"\bshort\b|\bbrief\b|\bone sentence\b|\bsingle sentence\b", re.IGNORECASE)
_COUNT = r"(\d{1,3}(?:[ ,]\d{3})+|\d+)"
_AT_LEAST = re.compile(
    rf"\b(?:at least|minimum(?: of)?|min\.?|(?<!no )more than|no (?:less|fewer|shorter) than|from|over)\s+{_COUNT}\s+(words?|sentences?|characters?)|"
    rf"\b{_COUNT}\s+(words?|sentences?|characters?) (?:or more|minimum|at least)|{_COUNT}\+ (words?|sentences?|characters?)",
    re.IGNORECASE,
)
_AT_MOST = re.compile(
    rf"\b(?:at most|maximum(?: of)?|max\.?|less than|fewer than|no (?:more|longer) than|up to|under|within)\s+{_COUNT}\s+(words?|sentences?|characters?)|"
    rf"\b{_COUNT}\s+(words?|sentences?|characters?) (?:or (?:less|fewer)|maximum|at most)",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    rf"\b{_COUNT}\s*(?:-|–|to|and)\s*{_COUNT}\s+(words?|sentences?|characters?)\b", re.IGNORECASE
)  # fmt: skip
_WORDS_PER = {"word": 1.0, "sentence": 12.0, "character": 1 / 6}

_LANGUAGES = {
    "english": "en", "german": "de", "french": "fr", "spanish": "es", "italian": "it", "portuguese": "pt", "dutch": "nl",
    "polish": "pl", "russian": "ru", "ukrainian": "uk", "greek": "el", "turkish": "tr", "arabic": "ar", "hebrew": "he",
    "hindi": "hi", "bengali": "bn", "urdu": "ur", "chinese": "zh", "mandarin": "zh", "japanese": "ja", "korean": "ko",
    "vietnamese": "vi", "thai": "th", "indonesian": "id", "swahili": "sw", "swedish": "sv", "norwegian": "no",
    "danish": "da", "finnish": "fi", "czech": "cs", "romanian": "ro", "hungarian": "hu", "persian": "fa",
}  # fmt: skip
_LANGUAGE = re.compile(rf"\b({'|'.join(_LANGUAGES)})\b", re.IGNORECASE)
_WRITTEN_IN = re.compile(
    rf"\b(?:written|language|spoken|native|fluent|natural|plain|clear) (?:\w+ )?({'|'.join(_LANGUAGES)})\b",
    re.IGNORECASE,
)
_ABOUT_MODELS = re.compile(
    r"\b(?:prompts|prompt injections?|jailbreaks?|instructions? (?:to|for) (?:an? |the )?(?:ai|assistants?|chatbots?|models?))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Length:
    """Words asked for: all is there from `enough` on, nothing to speak of below `least`. `stated` by the brief itself."""

    least: int
    enough: int
    most: int | None
    stated: bool
    form: str


@dataclass(frozen=True, slots=True)
class Target:
    """One topic of the brief, and how near unrelated texts come to it."""

    text: str
    requirement: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A brief made ready: `vectors` are `targets`', row by row; `floor` is the nearness that unrelated texts reach."""

    targets: tuple[Target, ...]
    vectors: Vectors
    floor: float
    topical: Vectors  # the requirements that say what it is about: each should be met by something in a long text
    topical_texts: tuple[str, ...]
    length: Length
    languages: frozenset[str]
    words: frozenset[str]  # content words of the brief
    copied: frozenset[tuple[str, ...]]  # its runs of `RUN` words
    short_items: tuple[tuple[str, ...], ...]  # whole bullets of fewer words
    about_models: bool


# So many of the brief's words in a row are a copy, not chance: "how to jump start a car battery" has seven.
RUN = 8


def prepare(brief: Brief, encoder: Encoder) -> Asked:
    """What `brief` asks for. Embeds its items and the background once."""
    requirements = list(dict.fromkeys(brief.data_requirements))
    rest = [brief.title, *(part for part in _SENTENCES.split(brief.description) if part.strip())]
    criteria = list(dict.fromkeys(brief.quality_criteria))
    core = list(dict.fromkeys(text.strip() for text in (*requirements, *rest) if text.strip()))[:_MOST_TARGETS]
    texts = [*core, *(criterion for criterion in criteria if criterion not in core)]
    if not texts:
        texts = core = ["anything"]
    vectors = encoder.encode(texts)
    likeness = vectors @ vectors[: len(core)].T
    kept = list(range(len(core)))
    if len(core) > 1:
        kept += [i for i in range(len(core), len(texts)) if float(likeness[i].max()) >= _TOPICAL]
    chosen = vectors[kept]
    targets = tuple(Target(texts[index], texts[index] in requirements) for index in kept)
    background = encoder.encode(BACKGROUND) @ chosen.T
    floor = round(float(np.median(background.max(axis=1))), 4)
    topical = [
        index
        for index in range(len(core))
        if texts[index] in requirements
        and (len(core) == 1 or float(np.sort(likeness[index])[-2]) >= _OFF_TOPIC_REQUIREMENT)
    ]
    everything = [brief.title, brief.description, *requirements, *criteria]
    runs = [words_of(part) for text in everything for part in _SENTENCES.split(text)]
    return Asked(
        targets=targets,
        vectors=chosen,
        floor=floor,
        topical=vectors[topical],
        topical_texts=tuple(texts[index] for index in topical),
        length=asked_length(brief),
        languages=asked_languages(brief),
        words=frozenset(word for words in runs for word in words if len(word) > 3),
        copied=frozenset(tuple(words[i : i + RUN]) for words in runs for i in range(len(words) - RUN + 1)),
        short_items=tuple(sorted({tuple(words) for words in runs if 4 <= len(words) < RUN})),
        about_models=any(_ABOUT_MODELS.search(text) for text in (brief.title, brief.description, *requirements)),
    )


def words_of(text: str) -> list[str]:
    return WORD.findall(text.lower())


def asked_length(brief: Brief) -> Length:
    """How many words a contribution should have: as the brief states it, else by the form that it names."""
    rules = " . ".join((*brief.data_requirements, *brief.quality_criteria, brief.description))
    least = most = None
    if between := _BETWEEN.search(rules):
        unit = _WORDS_PER[between[3].lower().rstrip("s")]
        least, most = _number(between[1]) * unit, _number(between[2]) * unit
    if at_least := _AT_LEAST.search(rules):
        least = _stated(at_least)
    if at_most := _AT_MOST.search(rules):
        most = _stated(at_most)
    form, usual_least, usual_enough = _form(brief)
    if least is None and most is None:
        return Length(usual_least, usual_enough, None, stated=False, form=form)
    upper = None if most is None else max(round(most), 1)
    if least is None:
        enough = min(usual_enough, max(upper or 1, 1))
        return Length(min(usual_least, enough - 1), enough, upper, stated=True, form=form)
    return Length(round(least * 0.2), max(round(least), 1), upper, stated=True, form=form)


def _form(brief: Brief) -> tuple[str, int, int]:
    """(what, words below which it is nothing, words from which it is whole)."""
    head = f"{brief.title}. {brief.description}"
    rules = ". ".join(brief.data_requirements)
    short = (
        2 * len(_SHORT_FORMS.findall(head)) + len(_SHORT_FORMS.findall(rules)) + 2 * len(_SINGULAR_SHORT.findall(head))
    )
    long = 2 * len(_LONG_FORMS.findall(head)) + len(_LONG_FORMS.findall(rules))
    if short > long:
        return "short", 1, 4
    if long > 0:
        return "long", 15, 100
    return "any", 2, 25


def _stated(match: re.Match[str]) -> float:
    number, unit = [group for group in match.groups() if group][:2]
    return _number(number) * _WORDS_PER[unit.lower().rstrip("s")]


def _number(digits: str) -> float:
    return float(re.sub(r"[ ,]", "", digits))


def asked_languages(brief: Brief) -> frozenset[str]:
    """Languages that contributions should be in; none: any may do.

    Quality criteria name them ("clear English"). Elsewhere a language may be the subject ("phrases to translate into
    French"), so there it counts only beside a word for writing.
    """
    named = {_LANGUAGES[name.lower()] for rule in brief.quality_criteria for name in _LANGUAGE.findall(rule)}
    if not named:
        prose = (brief.title, brief.description, *brief.data_requirements)
        named = {_LANGUAGES[name.lower()] for rule in prose for name in _WRITTEN_IN.findall(rule)}
    return frozenset(named)
