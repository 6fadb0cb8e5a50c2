r"""Numbers: extracted from the strongest cue there is, compared exactly.

Cues, strongest first: the last `####`, the last `\boxed{}`, the last "answer is" or "answer:"; without a cue the last
number of the completion. After a cue exactly one value may stand: "12 or 13" is wrong.
"""

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from agent_forge.records import Grade

_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?|-?\.\d+")
_CUES = (
    re.compile(r"####([^\n]*)"),
    re.compile(r"\\boxed\{([^{}]*)\}"),
    re.compile(r"\banswer(?:\s+is|\s*:)([^\n]*)", re.IGNORECASE),
)
_HEDGE = re.compile(r"\bor\b", re.IGNORECASE)
# Longer digit strings are no answer, and converting them takes quadratic time.
_LONGEST = 400


def grade_number(completion: str, reference: str) -> Grade:
    """Compare the completion's number with the reference; both are exact fractions."""
    expected = parse_number(reference)
    if expected is None:
        return Grade(extracted=None, correct=False, reason=f"the reference {reference!r} is no number")
    text = completion.replace("−", "-").replace("$", "")
    place, cued = _answer_place(text)
    found = [match.group() for match in _NUMBER.finditer(place)]
    if not found:
        return Grade(extracted=None, correct=False, reason="no number found")
    values = {parse_number(number) for number in found}
    if cued and len(values) > 1 and _HEDGE.search(place):
        return Grade(extracted=place.strip()[:80], correct=False, reason="several different answers")
    extracted = found[0] if cued else found[-1]
    correct = parse_number(extracted) == expected
    return Grade(extracted=extracted, correct=correct, reason="equal" if correct else f"expected {reference}")


def parse_number(text: str) -> Fraction | None:
    """Return the value of a number written in digits, None when it is none."""
    plain = text.strip().replace(",", "").replace("−", "-").removeprefix("$").rstrip(".")
    if len(plain) > _LONGEST:
        return None
    above, slash, below = plain.partition("/")
    try:
        value = Fraction(Decimal(above))
        return value / Fraction(Decimal(below)) if slash else value
    except (InvalidOperation, ZeroDivisionError, ValueError, OverflowError):
        return None


def _answer_place(text: str) -> tuple[str, bool]:
    """Return where the answer stands, and whether a cue says so."""
    for cue in _CUES:
        places = [match.group(1) for match in cue.finditer(text)]
        if places:
            return places[-1], True
    return text, False
