"""Drawings as SVG elements that live inside an HTML page.

A drawing takes its colours from the page, as variables of its style sheet, so one serves light, dark and print. Text
stays text in the page's own font; how wide it will be is guessed from its characters. Nothing in an element names a
date, a host or an address, nothing in it has an id, and its bytes depend on what is drawn alone.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup, escape

INK, MUTED, GRID, PAPER = "var(--ink)", "var(--muted)", "var(--rule)", "var(--paper)"
BLUE, ORANGE, GREEN = "var(--blue)", "var(--orange)", "var(--green)"
PURPLE, GREY = "var(--purple)", "var(--grey)"
COLOURS = (INK, MUTED, GRID, PAPER, BLUE, ORANGE, GREEN, PURPLE, GREY)

FONT_SIZE = 13
LINE_HEIGHT = 16
DASHES = "6 5"
Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]

# Corners of a mark on a square from -1 to 1; a circle has none.
_CORNERS: dict[str, tuple[Point, ...]] = {
    "s": ((-0.89, -0.89), (0.89, -0.89), (0.89, 0.89), (-0.89, 0.89)),
    "^": ((0, -1), (1, 0.85), (-1, 0.85)),
    "v": ((0, 1), (1, -0.85), (-1, -0.85)),
    "D": ((0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)),
}


@dataclass
class Canvas:
    """What has been drawn so far; places in CSS pixels at the drawing's natural size, downwards from the top left."""

    width: int
    height: int
    _drawn: list[str] = field(default_factory=list)

    def line(self, points: Sequence[Point], colour: str, width: float, dashed: bool = False) -> None:
        """Draw a line through points."""
        if len(points) > 1:
            path = "M" + "L".join(f"{_told(x)} {_told(y)}" for x, y in points)
            dashes = f";stroke-dasharray:{DASHES}" if dashed else ""
            self._drawn.append(f'<path d="{path}" style="fill:none;stroke:{colour};stroke-width:{width}{dashes}"/>')

    def box(self, left: float, top: float, right: float, bottom: float, colour: str, edge: str | None = None) -> None:
        """Fill a rectangle, with a thin edge in another colour."""
        place = f'x="{_told(left)}" y="{_told(top)}" width="{_told(right - left)}" height="{_told(bottom - top)}"'
        stroke = f";stroke:{edge}" if edge else ""
        self._drawn.append(f'<rect {place} style="fill:{colour}{stroke}"/>')

    def mark(self, at: Point, shape: str, colour: str, size: float, edge: str | None = None) -> None:
        """Draw a mark as wide as `size`: a circle `o`, a square `s`, a diamond `D`, a triangle `^` or `v`."""
        x, y, reach = *at, size / 2
        style = f'style="fill:{colour}' + (f";stroke:{edge}" if edge else "") + '"'
        if shape == "o":
            self._drawn.append(f'<circle cx="{_told(x)}" cy="{_told(y)}" r="{_told(reach)}" {style}/>')
            return
        corners = " ".join(f"{_told(x + reach * a)},{_told(y + reach * b)}" for a, b in _CORNERS[shape])
        self._drawn.append(f'<polygon points="{corners}" {style}/>')

    def text(
        self,
        at: Point,
        text: str,
        colour: str = INK,
        anchor: Anchor = "start",
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """Write lines of text, centred on a height; `turned` writes them upwards."""
        x, y = at
        turn = f' transform="rotate(-90 {_told(x)} {_told(y)})"' if turned else ""
        weight = ";font-weight:bold" if bold else ""
        lines = text.split("\n")
        for row, line in enumerate(lines):
            # A third of the size below its middle stands the line that letters stand on.
            height = y + LINE_HEIGHT * (row - (len(lines) - 1) / 2) + FONT_SIZE / 3
            self._drawn.append(
                f'<text x="{_told(x)}" y="{_told(height)}" style="fill:{colour};text-anchor:{anchor}{weight}"{turn}>'
                f"{escape(printable(line))}</text>"
            )

    def element(self) -> Markup:
        """Return the `<svg>` element, marked as decoration: the text alternative stands around it."""
        opening = f'<svg viewBox="0 0 {self.width} {self.height}" aria-hidden="true" focusable="false"'
        return Markup(f'{opening} style="font-size:{FONT_SIZE}px">{"".join(self._drawn)}</svg>')


def printable(text: str) -> str:
    """Return a label with everything that XML cannot hold replaced."""
    return "".join(
        c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def text_width(text: str) -> float:
    """Return about how wide the longest of some lines will be, in pixels; rather too much than too little."""
    return max((sum(map(_width, line)) for line in text.split("\n")), default=0.0)


def _width(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return FONT_SIZE * 1.05
    return FONT_SIZE * (0.35 if character in " .,:;'|!ijltI()[]" else 0.62)


def _told(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"
