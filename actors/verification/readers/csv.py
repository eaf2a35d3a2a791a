"""CSV: dialect, header and rows, rendered as lines that a judge reads as easily as a person."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from actors.errors import ContentTooLargeError, EmptyContentError, UnreadableError
from actors.verification.readers.text import BYTES_PER_TOKEN, about, keep_beginning

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# The dialect shows in the first rows.
_SAMPLE_ROWS = 50
# A cell may be all that a file holds, and how much that is the reader has limited by then. The module's own limit
# (131,072 characters) is one for the whole process; this is the largest that it takes on every system.
csv.field_size_limit(2**31 - 1)
_NUMBER = re.compile(r"[-+(]?[$€£¥]?\s?[\d.,' ]*\d[\d.,' ]*%?\)?\s*$")


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text: `text` holds the header and the rows that fit, cells separated by ` | `."""

    text: str
    rows: int
    columns: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def looks_like_table(text: str) -> bool:
    """Whether a text of no claimed type is a table: at least three rows of the same two or more plain cells."""
    if text[:1] in "{[<":
        return False
    delimiter, width = _dialect(text)
    if width < 2:
        return False
    try:
        rows = [row for _, row in zip(range(_SAMPLE_ROWS), _records(text, delimiter), strict=False)]
    except UnreadableError:
        return False
    if len(rows) < 3 or any(len(row) != width for row in rows[:-1]):
        return False
    # Lines of prose with a comma each are no table: cells are short and no header cell ends like a sentence.
    return has_header(rows[0], rows[1:]) and not any(cell.rstrip().endswith((".", "!", "?")) for cell in rows[0])


def read_table(text: str, *, max_rows: int, max_tokens: int, preview: bool = False) -> Table:
    """The whole table up to the token budget; the rest is counted and named in `left_out`.

    Raises `ContentTooLargeError` past `max_rows` rows, `UnreadableError` for what the format forbids.
    """
    delimiter, width = _dialect(text)
    records = _records(text, delimiter)
    sample = [row for _, row in zip(range(_SAMPLE_ROWS), records, strict=False)]
    if not sample:
        raise EmptyContentError("the table has no rows")
    header = sample[0] if has_header(sample[0], sample[1:]) else None
    width = len(header) if header is not None else width
    lines: list[str] = []
    left_out: list[str] = []
    budget = max_tokens * BYTES_PER_TOKEN
    if header is not None:
        lines.append(_line(header))
        lines[0], dropped = keep_beginning(lines[0], max_tokens)
        if dropped:
            left_out.append(f"{about(dropped)} of the header")
        budget -= len(lines[0].encode(errors="replace")) + 1
    count = ragged = kept = 0
    for row in _chain(sample[1:] if header is not None else sample, records):
        count += 1
        if count > max_rows:
            raise ContentTooLargeError(f"the table has more rows than the limit of {max_rows:,}", limit=max_rows)
        ragged += len(row) != width
        if budget > 0 and not (preview and kept):
            line = _line(row)
            size = len(line) if line.isascii() else len(line.encode(errors="replace"))
            if size <= budget or kept == 0:
                if size > budget:
                    line, dropped = keep_beginning(line, budget // BYTES_PER_TOKEN)
                    left_out.append(f"{about(dropped)} of row {count:,}")
                lines.append(line)
                kept = count
                budget -= size + 1
            else:
                budget = 0
    if kept < count:
        left_out.append(f"rows {kept + 1:,}–{count:,}" if kept + 1 < count else f"row {count:,}")
    notes = [_describe(count, width, delimiter, header=header is not None)]
    if ragged:
        notes.append(f"{ragged:,} rows have another number of cells than {'the header' if header else 'most'}")
    return Table("\n".join(lines), count, width, tuple(left_out), tuple(notes))


def records(text: str) -> Iterator[list[str]]:
    """The rows as they stand, empty ones left out, in the dialect that the first show. Raises `UnreadableError`."""
    return _records(text, _dialect(text)[0])


def _describe(rows: int, columns: int, delimiter: str, *, header: bool) -> str:
    separated = f" separated by {_DELIMITERS[delimiter]}" if columns > 1 else ""
    return (
        f"a table of {rows:,} row{'s' * (rows != 1)} and {columns:,} column{'s' * (columns != 1)}{separated}, "
        f"{'with' if header else 'without'} a header"
    )


def _chain(first: list[list[str]], rest: Iterator[list[str]]) -> Iterator[list[str]]:
    yield from first
    yield from rest


def _line(row: list[str]) -> str:
    return " | ".join([" ".join(cell.split()) for cell in row])


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    """Rows with at least one cell that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableError(f"the table breaks off at line {reader.line_num:,}: {error}") from None
        if any(row):
            yield row


def _dialect(text: str) -> tuple[str, int]:
    """The delimiter under which the first rows agree best on a number of cells, and that number."""
    end = 0
    for _ in range(_SAMPLE_ROWS):
        end = text.find("\n", end) + 1
        if end == 0 or end > 65_536:
            break
    sample = text[: end or 65_536]
    best = (0.0, 0, ",")
    for delimiter in _DELIMITERS:
        if delimiter not in sample:
            continue
        try:
            widths = [len(row) for row in _records(sample, delimiter)]
        except UnreadableError:
            continue
        if not widths:
            continue
        common = max(set(widths), key=lambda width: (widths.count(width), width))
        if common > 1:
            best = max(best, (widths.count(common) / len(widths), common, delimiter))
    return best[2], max(best[1], 1)


def has_header(first: list[str], rest: list[list[str]]) -> bool:
    """A header names its columns: every cell is filled, short and no number, and no two are alike."""
    cells = [cell.strip() for cell in first]
    if not rest or not all(cells) or len(set(cells)) != len(cells):
        return False
    return all(len(cell) <= 64 and not _NUMBER.match(cell) for cell in cells)
