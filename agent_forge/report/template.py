"""The template's surroundings: filters, style sheet, and what every value passes on its way into the page.

Everything that comes from data is escaped, freed of characters that HTML cannot hold and masked where it looks like a
credential, in one place: `_shown`, which the template engine calls for each value.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from agent_forge.answers.code import shown_reference
from agent_forge.records import Question
from agent_forge.report import formats
from agent_forge.report.plots import ARM_NAMES, CHECKED_ARM_NAMES, reason_name
from agent_forge.report.redact import masked_text

SHOWN_CHARACTERS, SHOWN_LINES = 900, 18

# What HTML calls a parse error: controls, surrogates and noncharacters.
_CONTROLS = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
_PLANE_ENDS = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_FORBIDDEN = re.compile(f"[\x80-\x9f\ud800-\udfff\ufdd0-\ufdef{_PLANE_ENDS}]")


@dataclass(frozen=True)
class Clipped:
    """The part of a text that is shown, and the number of characters that are not."""

    shown: str
    hidden: int


@cache
def environment() -> Environment:
    """Return the template engine with its filters."""
    made = Environment(
        loader=PackageLoader("agent_forge", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    names = ("percent", "points", "percent_interval", "points_interval", "probability", "duration", "size", "number")
    made.filters.update(
        {name: getattr(formats, name) for name in (*names, "significant", "plural", "threshold", "bare")}
    )
    made.filters.update(clip=clip, reason_name=reason_name, setting=_setting, reference=_reference)
    style = files("agent_forge.report").joinpath("style.css").read_text(encoding="utf-8")
    made.globals.update(style=Markup(style), arm_names=ARM_NAMES, checked_arm_names=CHECKED_ARM_NAMES)
    return made


def clip(text: str, characters: int = SHOWN_CHARACTERS, lines: int = SHOWN_LINES) -> Clipped:
    """Cut a text after so many characters or lines, whichever comes first."""
    shown = "".join(text[:characters].splitlines(keepends=True)[:lines])
    return Clipped(shown, len(text) - len(shown))


def visible(text: str) -> str:
    """Return a text with every character that HTML cannot hold made visible or replaced."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").translate(_CONTROLS))


def _shown(value: object) -> object:
    """Make a value fit for the page; markup is the page's own and passes."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return visible(masked_text(value))


def _reference(question: Question) -> str:
    """Return a question's reference answer as people read it."""
    return shown_reference(question.reference) if question.kind == "code" else question.reference


def _setting(value: object) -> str:
    """Write a setting as JSON, so that a line break or an empty text can be told."""
    return json.dumps(value, ensure_ascii=False)
