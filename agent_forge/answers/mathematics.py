r"""Mathematical answers: is what a completion gives the reference, in whatever form it is written?

    reference \frac{3}{4}:  \boxed{\dfrac34}, "The answer is $0.75$.", \boxed{x = 3/4}   are right
                            \boxed{0.7500001}, \boxed{\frac34} after \boxed{\frac12}     are not

Where the completion says what its answer is (`marks`) decides; without a mark, its last formula or number does.
"""

import re
from itertools import pairwise

from agent_forge.answers.commitment import Problem
from agent_forge.answers.denials import BARE_NO, CORRECTION, NO, denied_behind, is_denied, is_part
from agent_forge.answers.equality import same_answer
from agent_forge.answers.latex import read_math, tidy
from agent_forge.answers.marks import find_marks
from agent_forge.answers.number import last_number
from agent_forge.answers.quantity import clean
from agent_forge.answers.repeats import without_question
from agent_forge.answers.symbolic import symbolically_equal
from agent_forge.answers.text import earlier_cues
from agent_forge.answers.values import Unreadable
from agent_forge.records import Grade

LONGEST = 500
# One grading may ask the symbolic checker this often: each call can take seconds.
MOST_SYMBOLIC = 4

_DELIMITER = re.compile(r"\\[()\[\]]|\$\$|(?<!\\)\$")
_CONNECTION = re.compile(r"\s*(?:,|;|,?\s*\b(?:and|or)\b)?\s*")
# What makes the formulas on its two sides the ends of a range, or the second a rival of the first.
_RANGE = re.compile(r"\s*(?:to|through|versus|vs\.?|[-–—~])\s*", re.I)
_RIVAL = re.compile(
    r"[\s,;.–—-]*\b(?:no|or|but|wait|actually|sorry|rather|maybe|perhaps|possibly|i\s+mean|(?:could|might|may)\s+also)\b",
    re.I,
)
_BOUND = re.compile(r"\b(?:at\s+(?:least|most)|up\s+to)\s+$", re.I)
_NEGATED = re.compile(r"\s*(?:n't|not|never|neither)\b", re.I)
_LEAD = re.compile(r"^(?:so|thus|hence|therefore|then|finally)\b[,:]?\s+", re.I)
_REASON = re.compile(r"[,;]?\s+(?:because|since|as|which|where|so|for)\b|\s+\(", re.I)
_PROSE = re.compile(r"\b(?:[A-Za-z]{2,40}[ ,]{1,4}){2}[A-Za-z]{2}")
_ALIGNED = re.compile(r"\\begin\{((?:align|aligned|gather|gathered|equation)\*?)\}(.*)\\end\{\1\}", re.DOTALL)
_FORMULA = re.compile(r"[\d\\]")
_WORDLESS = re.compile(r"\\.*|(?:\\[A-Za-z]+|[A-Za-z](?![A-Za-z]{2})|[^A-Za-z])+")
_BEGINS_WITH_FORMULA = re.compile(r"[\s*(\[-]*[\d$\\]")
_OPERATION = re.compile(r"(?<=.)[-+*/^!]|\\(?:frac|cdot|times|sqrt|sin|cos|tan|log|ln|sum|prod|int|binom|lfloor|lceil)")


def grade_mathematics(completion: str, reference: str, prompt: str = "") -> Grade:
    """Compare the completion's answer with the reference.

    Args:
        completion: what the model wrote.
        reference: the answer in LaTeX.
        prompt: the question, so that repeating its expression is not taken for answering it.
    """
    said = without_question(completion, prompt)
    candidates = find_answers(said)
    if not candidates or not candidates[-1]:
        return Grade(extracted=None, correct=False, reason="no answer")
    found = candidates[-1]
    if max(map(len, candidates)) > LONGEST:
        return Grade(extracted=None, correct=False, reason="too long for an answer")
    equal = _Equality()
    if _is_denied_behind(said) or any(not equal(other, found) for other in _corrections(said)):
        return Grade(extracted=found, correct=False, reason="taken back by what follows")
    if not all(equal(other, found) for other in dict.fromkeys(candidates) if other != found):
        return Grade(extracted=found, correct=False, reason="contradicts itself: several different answers")
    if _is_copied(found, reference, prompt):
        return Grade(extracted=found, correct=False, reason="an expression of the question, not worked out")
    correct = equal(found, reference)
    return Grade(extracted=found, correct=correct, reason="equal" if correct else f"expected {reference[:200]}")


def find_answers(text: str) -> list[str]:
    """Return the formally marked answers and a cue's after them; without marks what the text ends with."""
    marks = find_marks(text)
    if not marks:
        return _last_formula(text)
    formal = [mark for mark in marks if mark.formal]
    # Headings begin like a hash mark: of those only the last counts, and beside a box or a tag only one without words.
    chosen = [mark.content for mark in formal if mark.style != "hash"]
    if formal and formal[-1].style == "hash" and (not chosen or _WORDLESS.fullmatch(formal[-1].content)):
        chosen.append(formal[-1].content)
    if not marks[-1].formal:
        said = _said(marks[-1].content)
        if not chosen or _FORMULA.search(said):
            chosen.append(said)
    return [*(_said(cue) for cue in earlier_cues(text) if _BEGINS_WITH_FORMULA.match(cue)), *chosen]


def _corrections(text: str) -> list[str]:
    """Return the last formula behind the last mark if words there take back what it says."""
    marks = find_marks(text)
    rest = text[marks[-1].end :] if marks else ""
    correction = CORRECTION.search(rest) or NO.search(rest)
    formulas = _formulas(rest[correction.end() :]) if correction else []
    return [formula for _, _, formula in formulas[-1:]]


def _is_denied_behind(text: str) -> bool:
    marks = find_marks(text)
    return bool(marks and BARE_NO.match(text, marks[-1].end))


class _Equality:
    """Equality of two answers as written, with a bounded number of calls to the symbolic checker."""

    def __init__(self) -> None:
        self._left = MOST_SYMBOLIC

    def __call__(self, found: str, expected: str) -> bool:
        try:
            return same_answer(read_math(found), read_math(expected), self._symbolic)
        except (Unreadable, RecursionError, ArithmeticError, ValueError):
            return False

    def _symbolic(self, found: str, expected: str) -> bool:
        self._left -= 1
        return self._left >= 0 and symbolically_equal(found, expected)


def _said(content: str) -> str:
    """Return the answer in the sentence after a cue: its first formulas, or its words up to a reason."""
    if _NEGATED.match(content):
        return ""
    spans = _formulas(content)
    if not spans:
        return _REASON.split(content, maxsplit=1)[0].strip(" $*`")
    start, end, _ = spans[0]
    if is_denied(content, start, start) or is_part(content, start, end) or _BOUND.search(content[:start]):
        return ""
    joined = [spans[0]]
    for span, following in pairwise(spans):
        if not _CONNECTION.fullmatch(content, span[1], following[0]):
            break
        joined.append(following)
    rest = content[joined[-1][1] :]
    if len(joined) < len(spans) and (
        _RIVAL.match(rest) or _RANGE.fullmatch(content, joined[-1][1], spans[len(joined)][0])
    ):
        return ""
    return ", ".join(formula for _, _, formula in joined)


def _last_formula(text: str) -> list[str]:
    """Return what a text without marks ends with: its last formula, its last line, or that line's last number."""
    if text.rstrip(" \n*\"'").endswith("?"):
        return []
    spans = _formulas(text)
    if spans:
        start, end, _ = spans[-1]
        if is_denied(text, start, end) or is_part(text, start, end) or denied_behind(text, end):
            return []
        if len(spans) > 1 and _RANGE.fullmatch(text, spans[-2][1], start):
            return []
        first = len(spans) - 1
        while first and _CONNECTION.fullmatch(text, spans[first - 1][1], spans[first][0]):
            first -= 1
        return [", ".join(formula for _, _, formula in spans[first:])]
    lines = text.strip().splitlines()
    if not lines:
        return []
    if not _PROSE.search(lines[-1]):
        return [_LEAD.sub("", lines[-1].strip(" *`$"))]
    number = last_number(clean(text))
    return [] if isinstance(number, Problem) else [str(number)]


def _formulas(text: str) -> list[tuple[int, int, str]]:
    """Return start, end and content of every formula between delimiters; a delimiter without its partner is skipped."""
    found: list[tuple[int, int, str]] = []
    closing = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
    opened: re.Match[str] | None = None
    for delimiter in _DELIMITER.finditer(text):
        if opened is not None and delimiter.group() == closing[opened.group()]:
            content = _aligned(text[opened.end() : min(delimiter.start(), opened.end() + LONGEST + 1)].strip())
            found.append((opened.start(), delimiter.end(), content))
            opened = None
        elif delimiter.group() in closing:
            opened = delimiter
    return found


def _aligned(formula: str) -> str:
    r"""Return what an `align` environment comes to: its last row, from the equals sign on if that begins the row."""
    environment = _ALIGNED.fullmatch(formula)
    if environment is None:
        return formula
    rows = environment.group(2).strip().removesuffix(r"\\").split(r"\\")
    return rows[-1].replace("&", "").strip().removeprefix("=").strip()


def _is_copied(found: str, reference: str, prompt: str) -> bool:
    """Whether an answer is an expression that the question itself holds, and not the reference as written."""
    copied, expected, asked = (re.sub(r"[\s{}$]", "", tidy(text)) for text in (found, reference, prompt[:20_000]))
    return bool(_OPERATION.search(copied)) and copied != expected and copied in asked
