"""The scorer that needs no key and no network: nearness to the brief's points by sentence embeddings, measured quality.

What it can tell: whether a text is about what the brief asks for, readable, long enough, in the language asked for and
not repetitive. What it cannot: whether it is true. Each mark's reason says so.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import inspect
import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actors.errors import ScorerError
from actors.settings import ScorerSettings
from actors.verification.models import Brief, Content, Score
from actors.verification.readers import language
from actors.verification.scorers import (
    encoder,
    local_background,
    local_brief,
    local_instructions,
    local_marks,
    local_quality,
)
from actors.verification.scorers.encoder import Encoder, Vectors
from actors.verification.scorers.local_brief import Asked
from actors.verification.scorers.local_instructions import Screened
from actors.verification.scorers.local_marks import Evidence
from storage.errors import HyvveError

log = logging.getLogger(__name__)

# Tokens of a window. Sentence models are trained on passages of about this length: longer ones blur topics, and junk
# hides behind an on-topic beginning. With the two marks that most models add it fills a batch's length.
_WINDOW = 126
# Windows embedded of one text, evenly spread: what a hostile 24,000-token text can cost.
_MOST_WINDOWS = 32
# A doubtful sentence is taken for an order where it means what `EXAMPLES` mean, and that more than anything asked for.
_ORDER = 0.45
_IN_COMPANY = 0.4
# Words beside an order are the contributor's own where they mean nothing of the kind.
_OWN = 0.3
_KNOWN_LANGUAGE = "en"
_MOST_BRIEFS = 16


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A text on its way: what remains of it, and where its windows stand among the chunk's."""

    content: Content
    text: str
    windows: tuple[str, ...]
    tokens: int
    words: tuple[str, ...]
    taken_out: tuple[str, ...]
    blatant: bool
    stuffed: int
    hidden: int


@dataclass(frozen=True, slots=True)
class _Meaning:
    """Of the sentences asked about: those that order the judge, those that go with an order, those that do neither."""

    orders: frozenset[str]
    company: frozenset[str]
    own: frozenset[str]

    @property
    def of_note(self) -> frozenset[str]:
        return self.orders | self.company | self.own


_NOTHING = _Meaning(frozenset(), frozenset(), frozenset())


class LocalScorer:
    """A `Scorer`. One model per process, loaded at the first text; marks depend on the text and the brief alone."""

    name = "local"

    def __init__(self, settings: ScorerSettings) -> None:
        encoder.require_installed(settings.model)
        self._model = settings.model
        self.version = f"{encoder.model_version(settings.model)}/{_code_version()}"
        self._briefs: OrderedDict[str, Asked] = OrderedDict()
        self._examples: Vectors | None = None
        self._lock = threading.Lock()

    async def score_many(self, brief: Brief, contents: Sequence[Content]) -> list[Score | HyvveError]:
        """One entry per content, in order. Runs in a thread: the event loop goes on."""
        return await asyncio.to_thread(self.score, brief, contents)

    async def close(self) -> None:
        """Nothing to return: the model stays for the process's next scorer."""

    def score(self, brief: Brief, contents: Sequence[Content]) -> list[Score | HyvveError]:
        """`score_many` without a loop."""
        try:
            return self._score(brief, contents)
        except HyvveError as error:
            return [error] * len(contents)
        except Exception as error:
            if len(contents) > 1:
                # One text that breaks a library is one error.
                return [self.score(brief, [content])[0] for content in contents]
            log.exception("the local scorer failed on a content")
            return [ScorerError(f"the local scorer failed: {type(error).__name__}: {error}", subject=self.name)]

    def _score(self, brief: Brief, contents: Sequence[Content]) -> list[Score | HyvveError]:
        texts = [content for content in contents if content.kind == "text"]
        scores: dict[Content, Score] = {}
        if texts:
            model = encoder.open_encoder(self._model)
            asked = self._asked(brief, model)
            # Equal texts are judged once. What else decides stands in the key.
            scores = self._judge(asked, model, list(dict.fromkeys(texts)))
        return [scores[content] if content.kind == "text" else self._unseen(content) for content in contents]

    def _judge(self, asked: Asked, model: Encoder, contents: Sequence[Content]) -> dict[Content, Score]:
        prepared, rows = self._prepared(asked, model, contents)
        vocabulary = sorted({word for item in prepared for word in item.words})
        pieces = dict(zip(vocabulary, model.pieces(vocabulary), strict=True))
        scores: dict[Content, Score] = {}
        for content, item in zip(contents, prepared, strict=True):
            quality = local_quality.measure(item.text, pieces, asked.words)
            vectors = [rows[window] for window in item.windows]
            evidence = Evidence(
                content=item.content,
                vectors=np.stack(vectors) if vectors else np.zeros((0, 1), np.float32),
                tokens=item.tokens,
                quality=quality,
                taken_out=item.taken_out,
                blatant=item.blatant,
                stuffed=item.stuffed,
                hidden=item.hidden,
                foreign=_is_foreign(model, item.content, quality),
            )
            judged = local_marks.judge(asked, evidence)
            scores[content] = Score(
                marks=judged.marks,
                total=judged.total,
                confidence=judged.confidence,
                reasoning=judged.reasoning,
                scorer=self.name,
                scorer_version=self.version,
                usage={"tokens": item.tokens, "windows": len(item.windows)},
            )
        return scores

    def _prepared(
        self, asked: Asked, model: Encoder, contents: Sequence[Content]
    ) -> tuple[list[_Prepared], dict[str, Vectors]]:
        """The texts as they are judged, and the vectors of their windows.

        Doubtful sentences are embedded in one call with the windows of texts from which they were not yet taken out:
        nearly always they stay, and a second, small call costs as much as a tenth of a chunk.
        """
        screened = [local_instructions.screen(content.text) for content in contents]
        pairs = list(zip(contents, screened, strict=True))
        prepared = [_prepare(asked, model, content, screen, _NOTHING) for content, screen in pairs]
        sentences = sorted({text for screen in screened for text in screen.undecided()})
        plain = {text: _plain(text) for text in sentences}
        wanted = dict.fromkeys(window for item in prepared for window in item.windows) | dict.fromkeys(plain.values())
        rows: dict[str, Vectors] = dict(zip(wanted, model.encode(list(wanted)), strict=True))
        if sentences:
            vectors = np.stack([rows[plain[text]] for text in sentences])
            meaning = self._meaning(asked, model, sentences, vectors)
            for index, (content, screen) in enumerate(pairs):
                if any(text in meaning.of_note for text in screen.undecided()):
                    prepared[index] = _prepare(asked, model, content, screen, meaning)
            missing = list(dict.fromkeys(window for item in prepared for window in item.windows if window not in rows))
            rows |= dict(zip(missing, model.encode(missing), strict=True))
        return prepared, rows

    def _meaning(self, asked: Asked, model: Encoder, sentences: Sequence[str], vectors: Vectors) -> _Meaning:
        if self._examples is None:
            self._examples = model.encode(local_instructions.EXAMPLES)
        order = np.round((vectors @ self._examples.T).max(axis=1), 4).tolist()
        topic = np.round((vectors @ asked.vectors.T).max(axis=1), 4).tolist()
        found = [(text, o, o > t) for text, o, t in zip(sentences, order, topic, strict=True)]
        return _Meaning(
            orders=frozenset(text for text, near, meant in found if meant and near >= _ORDER),
            company=frozenset(text for text, near, meant in found if meant and near >= _IN_COMPANY),
            own=frozenset(text for text, near, meant in found if not meant or near < _OWN),
        )

    def _asked(self, brief: Brief, model: Encoder) -> Asked:
        with self._lock:
            asked = self._briefs.get(brief.digest)
            if asked is None:
                asked = self._briefs[brief.digest] = local_brief.prepare(brief, model)
                if len(self._briefs) > _MOST_BRIEFS:
                    self._briefs.popitem(last=False)
            return asked

    def _unseen(self, content: Content) -> Score:
        notes = f" Measured: {'; '.join(content.notes)}." if content.notes else ""
        size = f"The image decodes ({content.width} × {content.height} pixels)."
        return Score(
            marks=(),
            total=0.0,
            confidence=0.0,
            reasoning=f"{size}{notes} No vision model is configured; a person decides.",
            scorer=self.name,
            scorer_version=self.version,
        )


def _prepare(asked: Asked, model: Encoder, content: Content, screen: Screened, meaning: _Meaning) -> _Prepared:
    """What remains of a text, without orders and copies of the brief, cut into windows."""
    more = [sentence for sentence in screen.doubtful if screen.part(sentence) in meaning.orders]
    if screen.certain or more:
        more += [sentence for sentence in screen.beside if screen.part(sentence) in meaning.company]
    text, taken_out = screen.without(more, own=meaning.own)
    text, stuffed = without_copies(text, asked)
    if taken_out or stuffed:
        # The language was told from all of it, an order in another language among that.
        content = dataclasses.replace(content, language=language.identify(text))
    windows: list[str] = []
    tokens = 0
    if text.strip():
        windows, tokens = model.windows(text, tokens=_WINDOW, most=_MOST_WINDOWS)
    return _Prepared(
        content=content,
        text=text,
        windows=tuple(_plain(window) for window in windows),
        tokens=tokens,
        words=tuple(local_quality.vocabulary(text)),
        taken_out=taken_out,
        blatant=bool(screen.certain),
        stuffed=stuffed,
        hidden=screen.hidden,
    )


def _plain(window: str) -> str:
    """What is embedded: a full stop at the end says nothing and moves a short text's vector."""
    return " ".join(window.split()).rstrip(" .!?…。,;:")


def without_copies(text: str, asked: Asked) -> tuple[str, int]:
    """The text without runs of words copied from the brief, and how many words that took out."""
    matches = list(local_brief.WORD.finditer(text))
    words = [match[0].lower() for match in matches]
    copied = [False] * len(words)
    run = local_brief.RUN
    for start in range(len(words) - run + 1):
        if tuple(words[start : start + run]) in asked.copied:
            copied[start : start + run] = [True] * run
    for item in asked.short_items:
        size = len(item)
        for start in range(len(words) - size + 1):
            if words[start] == item[0] and tuple(words[start : start + size]) == item:
                copied[start : start + size] = [True] * size
    number = sum(copied)
    if not number:
        return text, 0
    kept: list[str] = []
    last = 0
    for match, gone in zip(matches, copied, strict=True):
        if gone:
            kept.append(text[last : match.start()])
            last = match.end()
    kept.append(text[last:])
    # Bullets and marks that stood between copied words go with them.
    parts = [part for part in kept if local_brief.WORD.search(part)]
    return " ".join(part.strip() for part in parts), number


def _is_foreign(model: Encoder, content: Content, quality: local_quality.Quality) -> bool:
    """Whether an English-only model reads another language. Detection errs on short texts; small words overrule it."""
    if not model.english_only or quality.words == 0:
        return False
    if quality.latin < 0.7:
        return quality.script != "none"
    if content.language in (None, _KNOWN_LANGUAGE):
        return False
    return quality.english < 0.2 and quality.words >= 5 and not quality.is_table


@functools.cache
def _code_version() -> str:
    """Digest of all code that a mark depends on: a changed curve or sign is another scorer, and the cache forgets."""
    local = sys.modules[__name__]

    modules = (local, encoder, local_background, local_brief, local_instructions, local_marks, local_quality)
    return hashlib.sha256("".join(inspect.getsource(module) for module in modules).encode()).hexdigest()[:10]
