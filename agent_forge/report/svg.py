"""Turn a matplotlib figure into an SVG element that lives inside an HTML page.

The plot takes its colours from the page: it is drawn in stand-in colours, and each of them is replaced by a CSS
variable of the page's style sheet, so one drawing serves light, dark and print. Text stays text in the page's own
font. Nothing in the element names a date, a host or an address, and its bytes depend on the data alone.
"""

import io
import re
import warnings
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Stand-in colour -> CSS variable. Values are arbitrary but distinct, and nothing else is drawn in them.
INK, MUTED, GRID, PAPER = "#010101", "#010102", "#010103", "#010104"
BLUE, ORANGE, GREEN, PURPLE, GREY = "#010111", "#010112", "#010113", "#010114", "#010115"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--rule",
    PAPER: "--paper",
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    PURPLE: "--purple",
    GREY: "--grey",
}

FONT_SIZE = 13
STYLE = {
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": FONT_SIZE,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": FONT_SIZE,
    "grid.color": GRID,
    "grid.linewidth": 1,
    "legend.frameon": False,
    "path.simplify": False,
    "svg.fonttype": "none",
    "text.color": INK,
    # Labels come from data: a dollar sign in a task's name is a dollar sign.
    "text.parse_math": False,
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
}

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_COLOUR = re.compile(r"#0101[01][0-9a-f]")
_FAMILY = re.compile(r" ?font-family: [^;]*;")
_UNTURNED = re.compile(r"rotate\(-?0 .*\)")
_REFERENCE = re.compile(r"#([\w-]+)")


def draw(name: str, width: int, height: int, paint: Callable[[Axes], None]) -> Markup:
    """Draw one plot and return its `<svg>` element, marked as decoration: the text alternative stands around it.

    Args:
        name: unique in the page; ids in the element are made from it and from what is drawn.
        width: of the drawing, in CSS pixels at its natural size.
        height: the same.
        paint: draws on the axes it is given.
    """
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The page's fonts draw the text; that matplotlib's own font lacks a glyph only makes its width a guess.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        canvas = FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        buffer = io.StringIO()
        # Not `savefig`, which would draw everything once more for nothing to find the layout.
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Markup(_inline(buffer.getvalue(), name))


def printable(text: str) -> str:
    """Return a label with everything that XML cannot hold replaced."""
    return "".join(
        c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _inline(document: str, name: str) -> str:
    root = ElementTree.fromstring(document)
    _drop_page_wide(root)
    referenced = {found for node in root.iter() for text in node.attrib.values() for found in _REFERENCE.findall(text)}
    for node in root.iter():
        node.tag = node.tag.removeprefix(_SVG)
        node.text, node.tail = (node.text or "").strip(), None
        node.attrib = {
            key.removeprefix(_XLINK): _value(key.removeprefix(_XLINK), text, name)
            for key, text in node.attrib.items()
            if not (key == "id" and text not in referenced) and not _UNTURNED.fullmatch(text)
        }
    root.attrib = {"viewBox": root.attrib["viewBox"], "aria-hidden": "true", "focusable": "false"}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _drop_page_wide(root: ElementTree.Element) -> None:
    """Remove the metadata, and the style element: inside a page it would apply to all of it."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{_SVG}metadata", f"{_SVG}style"}:
                parent.remove(child)


def _value(key: str, text: str, name: str) -> str:
    if key == "id":
        return f"{name}-{text}"
    text = _COLOUR.sub(lambda found: f"var({VARIABLES[found[0]]})", text)
    if key == "style":
        text = _FAMILY.sub("", text)
    return _REFERENCE.sub(rf"#{name}-\1", text)
