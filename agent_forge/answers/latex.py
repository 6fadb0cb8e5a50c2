r"""Mathematical answers as written, reduced to one plain LaTeX: what is left is mathematics, a unit or a text.

\dfrac{270}7\text{ degrees}   ->  body \frac{270}7, unit degrees
\$32,\!348                    ->  body 32348
864 inches^2                  ->  body 864, unit inches
\text{(C)}                    ->  text c
"""

import re
from dataclasses import dataclass

from agent_forge.answers.characters import plain_answer
from agent_forge.answers.text import normalise_text

_COMMANDS = {
    "π": "pi",
    "∞": "infty",
    "±": "pm",
    "∓": "mp",
    "∪": "cup",
    "∩": "cap",
    "∈": "in",
    "×": "times",
    "·": "cdot",
    "÷": "div",
    "≤": "le",
    "≥": "ge",
    "≠": "ne",
    "√": "sqrt",
    "∅": "emptyset",
    "°": "degree",
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "θ": "theta",
    "λ": "lambda",
    "μ": "mu",
    "φ": "phi",
    "ω": "omega",
}
_UNICODE = str.maketrans({symbol: rf"\{name} " for symbol, name in _COMMANDS.items()})
_TEXT = r"\\text\s?\{([^{}]*)\}"
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^\\text\s?\{\s*(?i:(?:the\s+)?(?:final\s+)?answer)\s*(?:is|:|=)?\s*:?\s*\}", ""),
        (r"\\(?:textcolor|color)\s?\{\w{1,20}\}|\\underline(?=\s?\{)", ""),
        (r"\{([^{}]{0,80})\\over(?![A-Za-z])([^{}]{0,80})\}", r"\\frac{\1}{\2}"),
        (r"\\begin\{array\}\s?\{[lcr|\s]{0,60}\}", r"\\begin{matrix}"),
        (r"\\end\{array\}", r"\\end{matrix}"),
        (r"\\mathbb\s?(?:\{R\}|R(?![A-Za-z]))", r"(-\\infty,\\infty)"),
        (r"\\varnothing(?![A-Za-z])|\\\{\s{0,3}\\\}", r"\\emptyset "),
        (r"\\(?:bf|rm|it|bfseries)(?![A-Za-z])\s?(?!\s?\{)", ""),
        (r"\\(?:mathrm|rm)\s?\{\s?([ei])\s?\}", r"\1 "),
        (r"\\(?:mbox|mathrm|textbf|mathbf|textit|textrm|rm|hbox|bf)\s?(?=\{)", r"\\text"),
        (
            r"(?<![\d.])(\d{0,20})\.(\d{0,20})\\(?:overline|bar|dot)\s?\{(\d{1,20})\}",
            lambda match: _recurring(*match.groups()),
        ),
        (r"\\operatorname\s?\{([a-z]+)\}", r"\\\1 "),
        (r"(?<!\\)\\[()\[\]]", ""),
        (r"\\f?box(?:ed)?\s?(?=\{)", ""),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|limits)(?![A-Za-z])\.?", ""),
        (r"\\leq(?:slant)?(?![A-Za-z])", r"\\le"),
        (r"\\geq(?:slant)?(?![A-Za-z])", r"\\ge"),
        (r"\\neq(?![A-Za-z])", r"\\ne"),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\(?:l|r)brace(?![A-Za-z])", lambda match: r"\{" if "l" in match.group()[1] else r"\}"),
        (r"(?<=\d)(?:,\\!|\{,\}|\\[,! ])\s?(?=\d{3}(?!\d))", ""),
        (r"(?<!\\)\\[,!;: ]|\\q?quad(?![A-Za-z])|~", " "),
        (r"\^\s?\{?\s?\\circ\s?\}?", r"\\degree "),
        (r"\\degree\s*(?:\\text\s?\{\s*([CF])\s*\}|([CF]))$", r"\\text{degrees\1\2}"),
        (r"(?<!\\);", ","),
        (r"(?<=[\w)}])\*\*(?=[\d({-])", "^"),
        (r"\\?\$|\*\*", ""),
        (r"(?<![\\A-Za-z])(sqrt|sinh?|cosh?|tanh?|cot|sec|csc|log|ln|exp|pi)(?![A-Za-z])", r"\\\1"),
        (r"(?<![\\A-Za-z])(?:infinity|inf)(?![A-Za-z])", r"\\infty"),
        (r"(?<!\d)(\d{1,300})\s{1,3}(\d{1,300})/(\d{1,300})(?!\d)", r"\1\\frac{\2}{\3}"),
        (r"\s*\\text\s?\{\s*(?:and|or|,)\s*\}\s*|(?<=[\d)}])\s+(?:and|or)\s+(?=\S)", ", "),
        (r",\s*,", ","),
    )
)
_GROUPED = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])")
_SPACED = re.compile(r"(?<![\d,.])\d{1,3}(?: \d{3})+(?![\d,.])")
_TRAILING_TEXT = re.compile(rf"\s*{_TEXT}\s*(?:\^\s?\{{?(\d)\}}?)?$")
_TRAILING_WORDS = re.compile(
    r"(?<=[\d})i])\s+(?!(?:mod|and|or)\b)([A-Za-z]{2,20}(?:[ /][A-Za-z]{1,20}){0,3})\s?(?:\^\s?\{?(\d)\}?)?$"
)
_IN_BRACKETS = re.compile(r"^[(\[]\s*\\begin\{matrix\}(.*)\\end\{matrix\}\s*[)\]]$", re.DOTALL)
_IN_BRACES = re.compile(r"^\{([^{}\\]*)\}$")
_DEGREE = re.compile(r"\s*(?:\\degree|degrees?)\s*$")
_LETTER = re.compile(r"[^\W\d_]")
# `5 or more` and `5 if x > 0` count nothing in a unit.
_CONDITION = re.compile(r"\s*(?:or|and|if|unless|but|not|when|for)\b", re.I)
_ARTICLE = re.compile(r"^(?:an?|the) (?=\w)", re.I)
_WORD = re.compile(r"[A-Za-z]{3,}(?:[ '-][A-Za-z]+)*")


@dataclass(frozen=True)
class MathAnswer:
    r"""An answer in its parts.

    Attributes:
        body: plain LaTeX without the unit.
        unit: what it is counted in, lower case; empty for none.
        percent: a percent sign ends it.
        text: set when the answer is words and not mathematics.
    """

    body: str
    unit: str = ""
    percent: bool = False
    text: str = ""


def read_math(latex: str) -> MathAnswer:
    """Take an answer apart."""
    body = tidy(latex)
    whole = re.fullmatch(rf"[\s(]*{_TEXT}[\s).]*", body)
    if whole and not _LETTER.search(whole.group(1)):
        body = whole.group(1).strip()
    elif whole or _WORD.fullmatch(_ARTICLE.sub("", body)):
        return MathAnswer("", text=_ARTICLE.sub("", normalise_text(whole.group(1) if whole else body)))
    percent = body.endswith("%")
    if percent:
        body = body[:-1].rstrip("\\ ")
    body, unit = _without_unit(body)
    if not unit and r"\$" in latex:
        unit = "dollars"
    if not re.search(r"[(\[{]", body.replace(r"\frac{", "")):
        body = _SPACED.sub(lambda match: match.group().replace(" ", ""), body)
        body = _GROUPED.sub(lambda match: match.group().replace(",", ""), body)
    return MathAnswer(body, unit, percent)


def tidy(latex: str) -> str:
    """Return the answer's LaTeX with one spelling for what can be spelt in many ways."""
    text = plain_answer(latex).translate(_UNICODE)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\\text\s?\{\s*\}", "", text)
    text = _IN_BRACKETS.sub(r"\\begin{pmatrix}\1\\end{pmatrix}", _IN_BRACES.sub(r"\1", text.strip()))
    return text.rstrip(".,;: ").strip()


def same_unit(first: str, second: str) -> bool:
    """Whether two units may be one: absent on one side, or of one power and equal or one short for the other."""
    if not first or not second:
        return True
    if "dollars" in (first, second):
        return "cent" not in first + second
    (one, one_power), (other, other_power) = _unit_power(first), _unit_power(second)
    short, long = sorted((one.removesuffix("s"), other.removesuffix("s")), key=len)
    letters = iter(long)
    abbreviates = short[:1] == long[:1] and all(letter in letters for letter in short)
    return one_power == other_power and abbreviates


def _recurring(whole: str, decimals: str, period: str) -> str:
    r"""Return `0.1\overline{6}` as the fraction `\frac{15}{90}`."""
    scale = 10 ** len(decimals)
    nines = 10 ** len(period) - 1
    above = int(whole + decimals or "0") * nines + int(period)
    return rf"\frac{{{above}}}{{{scale * nines}}}"


def _unit_power(unit: str) -> tuple[str, str]:
    """Return `inches^2` and `square inches` as (inches, 2)."""
    name, _, power = unit.partition("^")
    words = name.split()
    if len(words) > 1 and words[0] in ("square", "sq", "cubic"):
        return " ".join(words[1:]), "3" if words[0] == "cubic" else "2"
    return name, power or "1"


def _without_unit(body: str) -> tuple[str, str]:
    if (degree := _DEGREE.search(body)) and degree.start():
        return body[: degree.start()], "degrees"
    for pattern in (_TRAILING_TEXT, _TRAILING_WORDS):
        unit = pattern.search(body)
        if unit is None or _CONDITION.match(unit.group(1)):
            continue
        if unit.start() and not body[: unit.start()].endswith((",", "+", "-", "=")):
            power = f"^{unit.group(2)}" if unit.group(2) else ""
            return body[: unit.start()].strip(), normalise_text(unit.group(1)) + power
    return body, ""
