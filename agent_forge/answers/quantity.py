r"""Numbers as people and models write them, read exactly.

    $1,234.50   18%   3/4   1 1/2   \frac{3}{4}   1.5e3   2 \times 10^{-3}   −5   5 km   1.5 million   1.234,5

A digit string that could mean several things (`1,2`, `5:30`, `1.2.3`) is a quantity without a value: it is no number,
and it is never skipped in favour of another one.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from agent_forge.answers.characters import plain_answer

# Longer digit strings and exponents are no answer, and exact arithmetic on them takes time.
LONGEST_DIGITS = 300
LARGEST_EXPONENT = 300

_LATEX = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:text|mathrm|mbox|textbf|mathbf|textit|operatorname)\s?\{([^{}]*)\}", r" \1 "),
        (r"(?<=\d)(?:\\[,;:! ]|\{,\}|,\\!)\s?(?=\d{3}(?!\d))", ","),
        (r"~~[^~\n]{1,200}~~", " "),
        (r"\\\\", "\n"),
        (r"\\[,;:! ]|\\q?quad\b|~", " "),
        (r"\\(?:left|right|displaystyle)(?![A-Za-z])", ""),
        (r"(\d?)\s{0,3}\\[dtc]?frac\s?\{\s?(\d{1,300})\s?\}\s?\{\s?(\d{1,300})\s?\}", r"\1 \2/\3"),
        (r"(\d?)\s{0,3}\\[dtc]?frac\s?(\d)\s?(\d)(?!\d)", r"\1 \2/\3"),
        (r"(?<=-) (?=\d+/)", ""),
        (r"\\(?:times|cdot)(?![A-Za-z])", "×"),
        (r"\\div(?![A-Za-z])", "÷"),
        (r"\\(?:approx|simeq)(?![A-Za-z])|≈", "="),
        (r"\^\s?\{?\\circ\}?|°", " degrees "),
        (r"(?<=\d)\s?\*\*\s?(?=[-+]?\d)", "^"),
        (r"\\[%]", "%"),
        (r"(?<!\w)_([\d.,]{1,20})_(?!\w)", r" \1 "),
        (r"-(?=\*\*\d)\*\*", "-"),
        (r"(?<![\w)}\]])-\((\d[\d.,]{0,20})\)", r"-\1"),
        (r"-\s?\\?[$€£¥₹₽₩₪]\s?(?=[\d.])", "-"),
        (r"\\?[$€£¥₹₽₩₪]|\bRs\.?(?=\s?\d)", " "),
        (r"\*\*|__|`|\\[()\[\]]", " "),
        (r"(?<=\d) and (?:a|one)[ -]half\b", " 1/2"),
        (r"(?<=\d) and (?:a|one)[ -](?:quarter|fourth)\b", " 1/4"),
        (r"(?<=\d) and three[ -](?:quarters|fourths)\b", " 3/4"),
        (r"(?:(?<=[=:#>{(])|(?<=\bis))[ \t]{0,3}-[ \t]{1,3}(?=[\d.])", " -"),
    )
)

# Every pattern of `_LATEX` needs one of these; most questions have none, and a million are read.
_MARKED = re.compile(r"[\\{~≈°*_`$€£¥₹₽₩₪-]|\bRs|\d and ")

_PLAIN = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_GROUPED = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d{1,3}(?:['_ ]\d{3})+)(?:\.\d+)?")
_EUROPEAN = re.compile(r"\d{1,3}(?:\.\d{3}){2,}|\d{1,3}(?:\.\d{3})+,\d+")
_RUN = r"(?:\d{1,3}(?:[ ]\d{3})+(?![\d,.:'_]*\d)|\.?\d(?:[\d,.:'_]*\d)?)"
_TOKEN = re.compile(
    rf"""
    (?P<negative>\b(?:minus|negative)\s{{1,3}})?
    (?P<sign>(?<![\w)\]}}.%])[-+])?
    (?<![\w\\^#√.\u0300-\u036f])(?<![\w\\^}})\]]{{)
    (?:(?P<whole>\d+)[ ]+(?=\d+\s?/\s?\d))?
    (?P<number>{_RUN})
    (?:\s?/\s?(?P<below>{_RUN}))?
    (?:[eE](?P<e>[-+]?\d+)(?![A-Za-z]) | \s?[×x*·]\s?10\s?\^\s?[{{(]?(?P<power>[-+]?\d+)[}})]?)?
    (?P<percent>\s?%|\s?percent\b)?
    (?:\s?(?P<scale>dozen|hundred|thousand|million|billion|trillion)s?\b | (?P<kilo>[kK])(?![A-Za-z]))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_POWER_OF_TEN = re.compile(r"(?<![\w.])(?P<sign>-?)10\s?\^\s?[{(]?(?P<power>[-+]?\d+)[})]?")
_SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


@dataclass(frozen=True)
class Quantity:
    """One number in a text, at `text[start:end]`; `value` is None when it cannot be read as one number.

    Attributes:
        percent: a percent sign follows; `value` is the number before it.
        scale: the word `million` or the like that follows, already in `value`.
    """

    start: int
    end: int
    value: Fraction | None
    percent: bool = False
    scale: str = ""

    def equals(self, other: "Quantity", question: str = "") -> bool:
        """Whether both say the same number.

        `50%` is 50 or 0.5 where only one side has a percent sign, and `5 million` is 5 where the question itself
        counts in millions.
        """
        if self.value is None or other.value is None:
            return False
        percent_counts = self.percent != other.percent
        theirs = other._readings(question, percent_counts)
        return any(reading in theirs for reading in self._readings(question, percent_counts))

    def _readings(self, question: str, percent_counts: bool) -> list[Fraction]:
        if self.value is None:
            return []
        readings = [self.value]
        if self.percent and percent_counts:
            readings.append(self.value / 100)
        if self.scale and self.scale in question.lower():
            readings.append(self.value / _SCALES[self.scale])
        return readings

    def __str__(self) -> str:
        """The value in digits: an integer, a decimal that ends, or a fraction; with its percent sign."""
        return "" if self.value is None else digits(self.value) + "%" * self.percent


def clean(text: str) -> str:
    """Return the text with LaTeX and currency around numbers reduced to plain characters."""
    text = plain_answer(text)
    for pattern, replacement in _LATEX if _MARKED.search(text) else ():
        text = pattern.sub(replacement, text)
    return text


def quantities(text: str) -> list[Quantity]:
    """Return every number of a cleaned text in order."""
    found = []
    position = 0
    while (token := _next_token(text, position)) is not None:
        found.append(_power_of_ten(token) if token.re is _POWER_OF_TEN else _quantity(token))
        position = token.end()
    return found


def digits(value: Fraction) -> str:
    """Return a fraction as an integer, as a decimal if that ends within 20 places, else as `p/q`."""
    if value.denominator == 1:
        return str(value.numerator)
    for places in range(1, 21):
        if (value * 10**places).denominator == 1:
            scaled = str(abs(int(value * 10**places))).rjust(places + 1, "0")
            return f"{'-' * (value < 0)}{scaled[:-places]}.{scaled[-places:]}"
    return f"{value.numerator}/{value.denominator}"


def _next_token(text: str, position: int) -> re.Match[str] | None:
    token = _TOKEN.search(text, position)
    if token is not None and token["number"] == "10" and (power := _POWER_OF_TEN.match(text, token.start())):
        return power
    return token


def _power_of_ten(token: re.Match[str]) -> Quantity:
    value = _scaled(Fraction(-1 if token["sign"] else 1), token["power"])
    return Quantity(token.start(), token.end(), value)


def _quantity(token: re.Match[str]) -> Quantity:
    scale = (token["scale"] or "").lower()
    start = token.start()
    value = _token_value(token)
    if value is not None and (scale or token["kilo"]):
        value *= _SCALES.get(scale, 1000)
    return Quantity(start, token.end(), value, bool(token["percent"]), scale)


def _token_value(token: re.Match[str]) -> Fraction | None:
    value = _run_value(token["number"])
    if value is not None and token["below"] is not None:
        below = _run_value(token["below"])
        value = value / below if below else None
    if value is not None and token["whole"] is not None:
        whole = _run_value(token["whole"])
        value = None if whole is None or value >= 1 else whole + value
    if value is None:
        return None
    negative = (token["sign"] == "-") != bool(token["negative"])
    exponent = token["e"] or token["power"]
    value = -value if negative else value
    return value if exponent is None else _scaled(value, exponent)


def _run_value(run: str) -> Fraction | None:
    if len(run) > LONGEST_DIGITS:
        return None
    if _PLAIN.fullmatch(run):
        return Fraction(run)
    if _GROUPED.fullmatch(run):
        return Fraction(re.sub(r"[,'_ ]", "", run))
    if _EUROPEAN.fullmatch(run):
        return Fraction(run.replace(".", "").replace(",", "."))
    return None


def _scaled(value: Fraction, exponent: str) -> Fraction | None:
    if len(exponent) > 4 or abs(int(exponent)) > LARGEST_EXPONENT:
        return None
    return value * Fraction(10) ** int(exponent)
