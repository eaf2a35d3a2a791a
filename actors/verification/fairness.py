"""The fairness adjustment: a small nudge that breaks ties between equal scores without favouring a wallet.

Scorers give many contributions the very same total. Where only some of them can be paid, ordering by arrival or by
wallet would favour whoever is fast or lucky with an address; ordering by a number drawn from the content's own hash
favours nobody: it cannot be chosen without changing the content, it is the same on every run and every machine, and
equal contents get equal scores. The nudge is stored beside the raw score, so it can always be taken off again.
"""

from __future__ import annotations

import hashlib

# Scores have two decimals; so do adjusted ones.
_STEPS = 10_000


def apply_fairness_adjustment(score: float, content_hash: str, *, bound: float) -> tuple[float, float]:
    """`(adjusted, adjustment)`: the score moved by at most `bound` points, and by how much it was moved.

    Deterministic from `content_hash` alone, spread evenly over −`bound` … +`bound`; `adjusted` stays within 0–100 and
    `adjustment` is what was in fact added. Raises `ValueError` for a score that is no number from 0 to 100.
    """
    if not 0 <= score <= 100:
        raise ValueError(f"a score lies between 0 and 100, not at {score}")
    # Hashed again under a name, so that a hash ground for its leading digits buys nothing.
    digest = hashlib.sha256(b"hyvve fairness\x00" + content_hash.encode()).digest()
    place = int.from_bytes(digest[:8], "big") % (2 * _STEPS + 1) - _STEPS
    adjusted = min(100.0, max(0.0, round(score + bound * place / _STEPS, 4)))
    # Rounding must not carry it past the bound.
    adjusted = min(max(adjusted, score - bound, 0.0), score + bound, 100.0)
    return adjusted, adjusted - score
