"""A table as the page shows it: every cell is text already; the first column names the row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Caption, column headings and rows; `text_columns` are set flush left, the others are figures."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: frozenset[int] = frozenset({0})
