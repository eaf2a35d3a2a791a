"""What ended in each minute of the last hour, as inline SVG, with the same numbers as a table for who cannot see it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

MINUTES = 60
_WIDTH, _HEIGHT = 1160, 190
_LEFT, _TOP, _BOTTOM = 34, 10, 24
# Bottom to top within a bar, with their tones.
_STACK = (("completed", "accept"), ("failed", "reject"), ("cancelled", "error"))


def throughput(ended: Sequence[tuple[datetime, str, int]], until: datetime) -> str:
    """Bars of `ended`, (minute, state, how many), over the hour before `until`."""
    first = until.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
    bins: list[dict[str, int]] = [{} for _ in range(MINUTES)]
    for minute, state, count in ended:
        index = int((minute - first).total_seconds() // 60)
        if 0 <= index < MINUTES:
            bins[index][state] = bins[index].get(state, 0) + count
    highest = max(sum(each.values()) for each in bins)
    if highest == 0:
        return '<p class="quiet">No run has ended within the last hour.</p>'
    step = max(1, -(-highest // 4))
    top = -(-highest // step) * step
    inner, slot = _HEIGHT - _TOP - _BOTTOM, (_WIDTH - _LEFT - 8) / MINUTES
    parts: list[str] = []
    for value in range(0, top + 1, step):
        y = _TOP + inner - inner * value / top
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>')
    for index, counts in enumerate(bins):
        y = float(_TOP + inner)
        for state, tone in _STACK:
            if count := counts.get(state, 0):
                height = inner * count / top
                y -= height
                parts.append(
                    f'<rect class="{tone}" x="{_LEFT + slot * index + 1:.1f}" y="{y:.1f}" width="{slot - 2:.1f}"'
                    f' height="{height:.1f}" rx="1"><title>{_at(first, index)}: {count:,} {state}</title></rect>'
                )
    for index in range(MINUTES):
        if (first + timedelta(minutes=index)).minute % 10 == 0:
            x = _LEFT + slot * (index + 0.5)
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{_at(first, index)}</text>'
            )
    return (
        f'<svg class="throughput" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Runs ended in each minute of'
        f' the last hour; the table below holds the numbers">{"".join(parts)}</svg>{_table(first, bins)}'
    )


def _at(first: datetime, index: int) -> str:
    return f"{first + timedelta(minutes=index):%H:%M}"


def _table(first: datetime, bins: Sequence[dict[str, int]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_at(first, index)}</th>'
        f"{''.join(f'<td>{counts.get(state, 0)}</td>' for state, _ in _STACK)}</tr>"
        for index, counts in enumerate(bins)
        if counts
    )
    heads = "".join(f'<th scope="col">{state}</th>' for state, _ in _STACK)
    return (
        '<table class="unseen"><caption>Runs ended, by minute (UTC)</caption><thead><tr><th scope="col">minute</th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )
