"""Numbers as people read them: percent with one decimal, points, p-values, durations, sizes.

A value that is not finite was not measured; it reads "n/a" and never `nan`.
"""

import math

NOT_MEASURED = "n/a"
MINUS = "\N{MINUS SIGN}"


def percent(fraction: float | None) -> str:
    """Return a fraction in [0, 1] as percent with one decimal: `12.3%`."""
    if fraction is None or not math.isfinite(fraction):
        return NOT_MEASURED
    return f"{_tidy(100 * fraction, 1)}%"


def points(difference: float | None) -> str:
    """Return a difference of two fractions in signed percentage points: `+8.4 points`."""
    if difference is None or not math.isfinite(difference):
        return NOT_MEASURED
    return f"{signed(100 * difference)} points"


def threshold(difference: float) -> str:
    """Return the size of a limit in percentage points, without a sign: `2.0 points`."""
    return points(abs(difference)).removeprefix("+")


def bare(text: str) -> str:
    """Return a text of `points`, `points_interval` or `probability` as a column shows it whose head names the unit."""
    return text.removesuffix(" points").removeprefix("= ")


def signed(value: float, digits: int = 1) -> str:
    """Return a number with its sign written out; zero has none."""
    text = _tidy(value, digits)
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def percent_interval(interval: tuple[float, float]) -> str:
    """Return an interval of fractions: `7.1% to 18.9%`."""
    return f"{percent(interval[0])} to {percent(interval[1])}"


def points_interval(interval: tuple[float, float]) -> str:
    """Return an interval of differences: `+2.1 to +9.0 points`."""
    low, high = interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return NOT_MEASURED
    return f"{signed(100 * low)} to {signed(100 * high)} points"


def probability(p: float | None) -> str:
    """Return a p-value as an equation's right-hand side: `= 0.012`, `< 0.001`, `> 0.999`."""
    if p is None or not math.isfinite(p):
        return NOT_MEASURED
    if p < 0.001:
        return "< 0.001"
    return "> 0.999" if p > 0.999 else f"= {p:.3f}"


def duration(seconds: float | None) -> str:
    """Return a time span: `0.4 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_MEASURED
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def size(count: int) -> str:
    """Return bytes in binary units: `512 B`, `3.8 MiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if round(value, 1) < 1024:
            break
        value, unit = value / 1024, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separated: `12,345`."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    return _tidy(value, digits)


def significant(value: float | None) -> str:
    """Return a number of any magnitude with three significant digits: `2.94e-07`, `0.125`."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    return f"{value:.3g}".replace("-", MINUS)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: `1 question`, `2 questions`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _tidy(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    if text.startswith("-") and not text.strip("-0.,"):
        text = text[1:]
    return text.replace("-", MINUS)
