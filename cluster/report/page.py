"""report.html: one file that opens anywhere, without a network, and runs nothing that a contributor wrote.

Its content security policy allows its own style sheet and script, by their hashes, and pictures inside the file;
everything else is refused by the browser, whatever the contents hold. It can be read without JavaScript, which only
adds search and filters.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cluster.report.items import Names, listed, pair
from cluster.report.model import MEANING, VERDICTS, Item, Report
from serve.shown.amounts import coins
from serve.shown.chart import binned, histogram, proportions
from serve.shown.escape import inert, isolated

# Past these a browser gets slow; results.csv holds every row.
MAX_ITEMS = 5_000
MAX_PAIRS = 200
_OPEN_PAIRS = 6
# Error codes in words; one that is not here speaks through its rows' reasons.
_ERRORS = {
    "unreadable": "broken, cut off or without any text",
    "unsupported_type": "of a type that nothing here reads, or not what its name says",
    "content_too_large": "past a limit, or expanding past one",
    "empty_content": "nothing in it",
    "scorer_unavailable": "the scorer was down or too slow",
    "scorer_rate_limited": "the scorer asked to slow down, again and again",
    "scorer_refused": "the scorer refused",
    "scorer_answer": "the scorer answered nonsense",
    "missing_extra": "a package is not installed",
    "missing_key": "a key is not set",
    "worker_lost": "the worker that read it died, more than once",
    "item_timeout": "not done within the time limit",
    "cluster_unavailable": "the cluster could not run the work",
    "not_judged": "the batch ended before its turn",
    "blob_too_large": "larger than the blob store takes",
    "blob_unavailable": "the blob store did not answer",
}
_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")


def render(report: Report) -> str:
    """The report as an HTML document."""
    sections = [
        _verdicts(report),
        f'<div class="columns">{_scores(report)}{_brief(report)}</div>',
        _duplicates(report),
        _errors(report),
        _contributors(report),
        _skipped(report),
        _contributions(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/><meta name="referrer" content="no-referrer"/>'
        f"<title>{inert(report.brief.title)} – verification report</title>"
        f"<style>{_STYLE}</style></head>\n<body>"
        '<a class="skip" href="#contributions">Skip to the contributions</a>'
        f"{_head(report)}<main>{''.join(sections)}</main>{_foot(report)}<script>{_SCRIPT}</script></body></html>\n"
    )


def _policy() -> str:
    def digest(text: str) -> str:
        return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; img-src data:; style-src '{digest(_STYLE)}'; script-src '{digest(_SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _head(report: Report) -> str:
    people = len({item.contributor for item in report.items})
    scorers = ", ".join(report.scorers) or "no scorer"
    facts = [
        f"{_count(len(report.items), 'file')} of {_count(people, 'contributor')}",
        f"judged by {inert(scorers)} in {_duration(report.seconds)}",
        f'<time datetime="{report.finished_at.isoformat()}">{report.finished_at:%d %B %Y, %H:%M} UTC</time>',
    ]
    unfinished = ""
    if report.state != "completed":
        unfinished = f'<p class="warning">This batch was {inert(report.state)}: what is shown is not all.</p>'
    return (
        f'<header><p class="eyebrow">Hyvve · verification report</p><h1>{isolated(report.brief.title)}</h1>'
        f'<p class="lead">{isolated(report.brief.description)}</p><p class="quiet">{" · ".join(facts)}</p>{unfinished}'
        "</header>"
    )


def _verdicts(report: Report) -> str:
    counts, total = report.counts, len(report.items) or 1
    tiles = "".join(
        f'<a class="tile {verdict.lower()}" href="#contributions" data-filter="{verdict}">'
        f'<span class="name">{verdict}</span><span class="count">{count:,}</span>'
        f'<span class="quiet">{count / total:.0%} · {MEANING[verdict]}</span></a>'
        for verdict, count in counts.items()
    )
    price = report.brief.unit_price
    pay = ""
    if price:
        pay = (
            '<p class="pay">To pay for what is accepted: '
            f"{_count(counts['ACCEPT'], 'contribution')} × {coins(price)} = "
            f"<b>{report.payout} {'coin' if report.payout == '1' else 'coins'}</b></p>"
        )
    return (
        f'<section aria-label="Verdicts"><div class="tiles">{tiles}</div>{proportions(counts)}{pay}{_jumps(report)}'
        "</section>"
    )


def _jumps(report: Report) -> str:
    targets = [
        ("duplicates", "Duplicates", bool(report.duplicates)),
        ("errors", "Errors", bool(report.errors)),
        ("contributors", "Contributors", len(report.contributors) > 1),
        ("contributions", "All contributions", True),
    ]
    links = "".join(f'<a href="#{target}">{name}</a>' for target, name, there in targets if there)
    return f'<nav class="jumps" aria-label="On this page">{links}</nav>'


def _scores(report: Report) -> str:
    unscored = sum(item.score is None for item in report.items)
    note = (
        f'<p class="quiet">{_count(unscored, "contribution")} without a score: not shown here.</p>' if unscored else ""
    )
    legend = "".join(f'<span class="{verdict.lower()}">{verdict}</span>' for verdict in VERDICTS[:3])
    bins = binned((item.score, item.verdict, 1) for item in report.items)
    return (
        f'<section><h2>Scores</h2><div class="legend">{legend}</div>'
        f"{histogram(bins, report.brief.required_quality_score)}{note}</section>"
    )


def _brief(report: Report) -> str:
    def bullets(texts: tuple[str, ...]) -> str:
        return "<ul>" + "".join(f"<li>{isolated(text)}</li>" for text in texts) + "</ul>"

    brief = report.brief
    return (
        '<section class="brief"><h2>What was asked for</h2>'
        f"<h3>Data</h3>{bullets(brief.data_requirements)}<h3>Quality</h3>{bullets(brief.quality_criteria)}"
        f'<p class="quiet">Accepted from {brief.required_quality_score:g} points of 100.</p></section>'
    )


def _errors(report: Report) -> str:
    if not report.errors:
        return ""
    rows = []
    for code, count in report.errors:
        failed = [item for item in report.items if item.verdict == "ERROR" and (item.error_code or "unknown") == code]
        paths = ", ".join(f'<a href="#c{item.number}">{isolated(item.path)}</a>' for item in failed[:8])
        more = f" and {len(failed) - 8:,} more" if len(failed) > 8 else ""
        rows.append(
            f'<tr><th scope="row"><code>{inert(code)}</code><br/><span class="quiet">{_ERRORS.get(code, "")}</span>'
            f'</th><td class="number">{count:,}</td>'
            f"<td>{paths}{more}</td></tr>"
        )
    return (
        '<section id="errors"><h2>Errors by reason</h2>'
        '<p class="quiet">An error is no score: nothing could judge these files.</p><div class="wide">'
        '<table class="errors"><thead><tr><th scope="col">reason</th><th scope="col" class="number">files</th>'
        f'<th scope="col">which</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div></section>'
    )


def _duplicates(report: Report) -> str:
    found = [item for item in report.duplicates if item.original in report.by_number]
    if not found:
        return ""
    exact = sum(item.duplicate_kind == "exact" for item in found)
    cut = f" The first {MAX_PAIRS} are shown." if len(found) > MAX_PAIRS else ""
    pairs = "".join(pair(item, report, is_open=index < _OPEN_PAIRS) for index, item in enumerate(found[:MAX_PAIRS]))
    return (
        '<section id="duplicates"><h2>Duplicates</h2>'
        f'<p class="quiet">{_count(len(found), "contribution")} that repeat an earlier one, of any contributor: '
        f"{exact:,} exactly, {len(found) - exact:,} nearly. Words that differ are <mark>marked</mark>.{cut}</p>"
        f"{pairs}</section>"
    )


def _contributors(report: Report) -> str:
    contributors = report.contributors
    if len(contributors) < 2:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{isolated(each.name)}</th><td class="number">{each.files:,}</td>'
        + "".join(f'<td class="number">{each.verdicts[verdict] or "·"}</td>' for verdict in VERDICTS)
        + f'<td class="number">{each.duplicates or "·"}</td>'
        f'<td class="number">{"–" if each.mean_score is None else f"{each.mean_score:.1f}"}</td></tr>'
        for each in contributors[:MAX_PAIRS]
    )
    heads = "".join(
        f'<th scope="col" class="number">{name}</th>'
        for name in ("files", *(verdict.lower() for verdict in VERDICTS), "duplicates", "mean score")
    )
    cut = f'<p class="quiet">The first {MAX_PAIRS} are shown.</p>' if len(contributors) > MAX_PAIRS else ""
    return (
        '<section id="contributors"><h2>Contributors</h2><div class="wide"><table class="people"><thead><tr>'
        f'<th scope="col">contributor</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{cut}</section>'
    )


def _skipped(report: Report) -> str:
    if not report.skipped:
        return ""
    rows = "".join(
        f"<li><b>{isolated(path)}</b>: {isolated(reason)}</li>" for path, reason in report.skipped[:MAX_PAIRS]
    )
    more = f"<li>and {len(report.skipped) - MAX_PAIRS:,} more</li>" if len(report.skipped) > MAX_PAIRS else ""
    return f"<section><h2>Not taken in</h2><ul>{rows}{more}</ul></section>"


def _contributions(report: Report) -> str:
    names = Names(report)
    shown = report.items[:MAX_ITEMS]
    options = "".join(f'<option value="{verdict}">{verdict}</option>' for verdict in VERDICTS)
    cut = ""
    if len(report.items) > len(shown):
        cut = (
            f'<p class="warning">The first {MAX_ITEMS:,} of {len(report.items):,} are shown; results.csv holds all.</p>'
        )
    controls = (
        '<form class="controls" id="controls" hidden="hidden" role="search">'
        '<label>Search <input type="search" id="search" placeholder="path, contributor, reason, text"'
        ' autocomplete="off"/></label>'
        f'<label>Verdict <select id="verdict"><option value="">all</option>{options}</select></label>'
        '<label>Order <select id="order"><option value="number">as submitted</option>'
        '<option value="high">highest score first</option><option value="low">lowest score first</option>'
        "</select></label>"
        '<output id="shown" aria-live="polite"></output></form>'
    )
    return (
        f'<section id="contributions"><h2>Contributions</h2>{cut}{controls}'
        f'<div id="items">{"".join(_item(item, report, names) for item in shown)}</div></section>'
    )


def _item(item: Item, report: Report, names: Names) -> str:
    return listed(item, report, names) + "\n"


def _foot(report: Report) -> str:
    hidden = f", {_count(report.hidden, 'hidden file')} left out" if report.hidden else ""
    return (
        f'<footer class="quiet"><p>Campaign <code>{inert(report.campaign)}</code>, '
        f"batch <code>{inert(report.batch)}</code>, folder {isolated(report.folder)}{hidden}. "
        f"Hyvve {inert(report.version)}. This file needs no network and loads nothing.</p></footer>"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
