"""The parts of a report that show single contributions: the list, and duplicates side by side."""

from __future__ import annotations

import re

from cluster.report.model import Item, Preview, Report
from serve.shown.chart import bar
from serve.shown.difference import MAX_WORDS, marked
from serve.shown.escape import inert, isolated

_EXCERPT = 1_500
_OPEN = ' open="open"'
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Names:
    """Paths in place of contribution ids, which say nothing to the owner of a folder."""

    def __init__(self, report: Report) -> None:
        self._paths = {item.contribution_id: item.path for item in report.items if item.contribution_id}

    def named(self, text: str) -> str:
        return _ID.sub(lambda found: self._paths.get(found[0], found[0]), text)


def badge(verdict: str) -> str:
    return f'<span class="badge {verdict.lower()}">{inert(verdict)}</span>'


def listed(item: Item, report: Report, names: Names) -> str:
    """One contribution as a line that opens to everything known about it."""
    score = "–" if item.score is None else f"{item.score:.1f}"
    reason = names.named(item.reasoning)
    line = (
        f"{badge(item.verdict)}"
        f'<span class="score">{"" if item.score is None else bar(item.score, item.verdict)}<b>{score}</b></span>'
        f'<span class="what"><span class="path">{isolated(item.path)}</span>'
        f'<span class="why">{isolated(_short(reason, 150))}</span></span>'
    )
    return (
        f'<details class="item" id="c{item.number}" data-verdict="{inert(item.verdict)}"'
        f' data-score="{-1 if item.score is None else item.score:.4f}" data-number="{item.number}">'
        f'<summary>{line}</summary><div class="body">{_facts(item, report, reason)}</div></details>'
    )


def _facts(item: Item, report: Report, reason: str) -> str:
    parts = [f'<p class="reason">{isolated(reason)}</p>']
    original = report.by_number.get(item.original) if item.original is not None else None
    if original is not None:
        parts.append(f"<p>{_likeness(item)} {link(original)}.</p>")
    if item.marks:
        rows = "".join(
            f'<tr><th scope="row">{inert(mark.criterion)}</th><td class="number">{mark.value:.0f}</td>'
            f"<td>{bar(mark.value, item.verdict)}</td><td>{isolated(mark.reason)}</td></tr>"
            for mark in item.marks
        )
        parts.append(
            '<table class="marks"><caption class="unseen">Marks</caption><thead class="unseen"><tr>'
            '<th scope="col">criterion</th><th scope="col">mark</th><th scope="col">as a bar</th>'
            f'<th scope="col">reason</th></tr></thead><tbody>{rows}</tbody></table>'
        )
    if item.left_out:
        parts.append(f'<p class="quiet">Not judged, for its length: {isolated("; ".join(item.left_out))}</p>')
    parts.append(_preview(item.preview))
    parts.append(f'<dl class="facts">{_details(item)}</dl>')
    return "".join(parts)


def _details(item: Item) -> str:
    found: list[tuple[str, str | None]] = [
        ("contributor", item.contributor),
        ("type", item.media_type),
        ("size", _bytes(item.size)),
        ("confidence", None if item.confidence is None else f"{item.confidence:.0%}"),
        (
            "score before fairness adjustment",
            None if item.raw_score is None else f"{item.raw_score:.2f} ({item.adjustment or 0:+.2f})",
        ),
        ("scorer", None if item.scorer is None else f"{item.scorer} {item.scorer_version or ''}"),
        ("error", item.error_code),
        ("SHA-256", item.content_hash),
        ("contribution", item.contribution_id),
    ]
    return "".join(f"<div><dt>{name}</dt><dd>{isolated(value)}</dd></div>" for name, value in found if value)


def _preview(preview: Preview | None) -> str:
    if preview is None:
        return ""
    if preview.image:
        return f'<p>{_image(preview)}<br/><span class="quiet">{preview.width} × {preview.height} pixels</span></p>'
    if not preview.text:
        return ""
    text = preview.text[:_EXCERPT]
    more = ' <span class="quiet">(goes on)</span>' if preview.shortened or len(preview.text) > _EXCERPT else ""
    return f'<blockquote class="excerpt" dir="auto" tabindex="0" aria-label="Content">{inert(text)}{more}</blockquote>'


def _image(preview: Preview) -> str:
    return f'<img src="{inert(preview.image or "")}" alt="The submitted picture, made small" loading="lazy"/>'


def pair(item: Item, report: Report, *, is_open: bool) -> str:
    """A duplicate beside its original, differences highlighted."""
    original = report.by_number[item.original or 0]
    likeness = f'<span class="quiet">{_likeness(item)}</span>'
    title = f"{badge(item.verdict)}<h3>{isolated(item.path)} {likeness} {isolated(original.path)}</h3>"
    links = f'<p class="quiet">Details: {link(original)}, {link(item)}</p>'
    return (
        f'<details class="pair"{_OPEN if is_open else ""}><summary>{title}</summary>'
        f'<div class="sides">{_sides(original, item)}{links}</div></details>'
    )


def _sides(original: Item, item: Item) -> str:
    left, right = original.preview, item.preview
    if left is None or right is None:
        return '<p class="quiet">Not shown: the content cannot be displayed.</p>'
    if left.image and right.image:
        return _side("original", original, _image(left)) + _side("copy", item, _image(right))
    if item.content_hash == original.content_hash:
        text = f'<div class="text" dir="auto" tabindex="0">{inert(left.text[:_EXCERPT])}</div>'
        return _side("both, byte for byte", original, text, also=item)
    one, two = marked(left.text, right.text)
    note = ""
    if "<mark>" not in one + two:
        note = '<p class="quiet">The words are the same; letter case, line breaks or the file type differ.</p>'
    elif max(len(left.text.split()), len(right.text.split())) > MAX_WORDS:
        note = f'<p class="quiet">The first {MAX_WORDS:,} words are shown.</p>'
    return (
        _side("original", original, f'<div class="text" dir="auto" tabindex="0">{one}</div>')
        + _side("copy", item, f'<div class="text" dir="auto" tabindex="0">{two}</div>')
        + note
    )


def _side(label: str, item: Item, content: str, *, also: Item | None = None) -> str:
    who = isolated(item.contributor) + (f" and {isolated(also.contributor)}" if also else "")
    return f'<figure class="{"whole" if also else "half"}"><figcaption>{label} · {who}</figcaption>{content}</figure>'


def link(item: Item) -> str:
    return f'<a href="#c{item.number}">{isolated(item.path)}</a>'


def _likeness(item: Item) -> str:
    if item.duplicate_kind == "exact":
        return "repeats"
    # Rounded down: 99.6 % alike is not the same.
    return f"is {int((item.similarity or 0) * 100)} % like"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " …"


def _bytes(size: int) -> str:
    if size < 1024:
        return f"{size} bytes"
    return f"{size / 1024:,.1f} KiB" if size < 1024 * 1024 else f"{size / 1024 / 1024:,.1f} MiB"
