"""A table as the page shows it: every cell is text already; the first column names the row."""

from dataclasses import dataclass

from agent_forge.records import LooksRecord
from agent_forge.report.formats import significant


@dataclass(frozen=True)
class Table:
    """Caption, column headings and rows; `text_columns` are set flush left, the others are figures."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: frozenset[int] = frozenset({0})


def looks_table(looks: LooksRecord) -> Table:
    """Return what each planned look asked for."""
    rows = tuple(
        (
            f"{number}{' (ended here)' if number == looks.taken else ''}",
            f"{look.questions:,}",
            significant(look.level),
            f"{look.boundary:.3f}",
            significant(look.spent),
        )
        for number, look in enumerate(looks.planned, start=1)
    )
    columns = ("Look", "Questions of each task", "p asked for", "As a normal quantile", "Part of alpha spent by then")
    return Table("Planned looks, and what a single target task had to show", columns, rows)
