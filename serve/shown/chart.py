"""The score histogram as inline SVG, with the same numbers as a table for who cannot see it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_BIN = 5
BINS = 100 // _BIN
_WIDTH, _HEIGHT = 760, 330
_LEFT, _TOP, _BOTTOM = 34, 22, 26
# Bottom to top within a bar.
_STACK = ("ACCEPT", "REVIEW", "REJECT")


def binned(counted: Iterable[tuple[float | None, str, int]]) -> list[dict[str, int]]:
    """Counts by verdict in steps of five points, of (score, verdict, how many); what has no score is left out."""
    bins = [dict.fromkeys(_STACK, 0) for _ in range(BINS)]
    for score, verdict, count in counted:
        if score is not None and verdict in _STACK:
            bins[min(int(max(score, 0.0) // _BIN), BINS - 1)][verdict] += count
    return bins


def histogram(bins: Sequence[dict[str, int]], required: float) -> str:
    """What `binned` counted, coloured by verdict, with the required score as a line."""
    highest = max((sum(each.values()) for each in bins), default=0)
    if highest == 0:
        return '<p class="quiet">No contribution has a score.</p>'
    step = _step(highest)
    top = -(-highest // step) * step
    inner = _HEIGHT - _TOP - _BOTTOM
    slot = (_WIDTH - _LEFT - 8) / len(bins)
    parts: list[str] = []
    for value in range(0, top + 1, step):
        y = _TOP + inner - inner * value / top
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    for index, counts in enumerate(bins):
        x, y = _LEFT + slot * index, float(_TOP + inner)
        for verdict in _STACK:
            if not counts[verdict]:
                continue
            height = inner * counts[verdict] / top
            y -= height
            parts.append(
                f'<rect class="{verdict.lower()}" x="{x + 1.5:.1f}" y="{y:.1f}" width="{slot - 3:.1f}"'
                f' height="{height:.1f}" rx="1.5"><title>{_span(index)}: {counts[verdict]} {verdict}</title></rect>'
            )
    for score in range(0, 101, 10):
        x = _LEFT + slot * len(bins) * score / 100
        parts.append(f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{score}</text>')
    x = _LEFT + slot * len(bins) * required / 100
    side, offset = ("end", -6) if required > 60 else ("start", 6)
    parts.append(f'<line class="required" x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{_TOP + inner}"/>')
    parts.append(
        f'<text class="required" x="{x + offset:.1f}" y="16" text-anchor="{side}">required {required:g}</text>'
    )
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Histogram of scores; the'
        f' table below holds its numbers">{"".join(parts)}</svg>{_table(bins)}'
    )


def bar(value: float, verdict: str) -> str:
    """A small bar of 0–100."""
    return (
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="6" rx="3"/>'
        f'<rect class="{verdict.lower()}" width="{min(max(value, 0.0), 100.0):.1f}" height="6" rx="3"/></svg>'
    )


def proportions(counts: dict[str, int]) -> str:
    """One bar of all verdicts, as wide as they are frequent."""
    total = sum(counts.values()) or 1
    parts, x = [], 0.0
    for verdict, count in counts.items():
        width = 1000 * count / total
        parts.append(f'<rect class="{verdict.lower()}" x="{x:.2f}" width="{width:.2f}" height="10"/>')
        x += width
    return (
        '<svg class="proportions" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _step(highest: int) -> int:
    step = 1
    for factor in (2, 2.5, 2) * 8:
        if highest / step <= 5:
            break
        step = int(step * factor)
    return step


def _span(index: int) -> str:
    return f"{index * _BIN}–{(index + 1) * _BIN}"


def _table(bins: Sequence[dict[str, int]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_span(index)}</th>{"".join(f"<td>{counts[verdict]}</td>" for verdict in _STACK)}</tr>'
        for index, counts in enumerate(bins)
        if any(counts.values())
    )
    heads = "".join(f'<th scope="col">{verdict}</th>' for verdict in _STACK)
    return (
        '<table class="unseen"><caption>Scores by verdict</caption><thead><tr><th scope="col">score</th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )
