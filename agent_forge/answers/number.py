r"""Numbers: is the number that a completion commits to the reference number?

Where the completion says what its answer is (`marks`), that number counts; without a mark, its last number does.
Whatever leaves it open is wrong, and the grade's reason says so:

    #### 12 or 13                       several numbers
    \boxed{12} ... \boxed{13}           contradicts itself
    The answer is 12. Wait, it is 13.   taken back
    ... so 5 + 7                        an expression, not a number
    The answer is not 12                negated
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from agent_forge.answers.commitment import EXPRESSION, NEGATED, Problem, is_open_ended, read_answer, stands_alone
from agent_forge.answers.denials import CORRECTION, denied_behind, is_asked
from agent_forge.answers.marks import Mark, find_marks, sentence_start
from agent_forge.answers.quantity import Quantity, clean, quantities
from agent_forge.answers.repeats import without_question
from agent_forge.records import Grade

_HEADING = re.compile(r"\W*(?:(?:step|part|case|option|question|problem)\s?\d|\d+[.)]\s+\S)", re.I)
_LABEL = re.compile(r"(?:\b(?:step|part|case|option|question|problem)|(?<!#)#)\s?$", re.I)
_ENUMERATOR = re.compile(r"[.)]\s+\S")
_FACTORIAL = re.compile(r"[\d)}]\s?!")
# What puts another number beside an answer: `It could also be 13`; `2 or more questions` does not.
_HEDGE = re.compile(
    r"\b(?:could|might|may|possibl[ey]|perhaps|maybe|alternatively|or(?!\s+(?:more|less|fewer|so)\b)|either|otherwise|unless)\b",
    re.I,
)
_CONCLUSION = re.compile(r"\b(?:so|therefore|thus|hence|final|finally|result|total)\b", re.I)
_WRONG = re.compile(r"\b(?:no|wrong|incorrect|mistaken?)\b", re.I)


# Samples of one question often say the same, in one round and in the next.
@lru_cache(maxsize=1 << 11)
def grade_number(completion: str, reference: str, prompt: str = "") -> Grade:
    """Compare the completion's number with the reference, exactly.

    Args:
        completion: what the model wrote.
        reference: one number; units and separators may stand around it.
        prompt: the question, so that repeating it is not taken for answering it.
    """
    expected = read_reference(reference)
    if expected is None:
        return Grade(extracted=None, correct=False, reason=f"the reference {reference[:80]!r} is no number")
    found = find_number(clean(without_question(completion, prompt)))
    if isinstance(found, Problem):
        return Grade(extracted=None, correct=False, reason=found.reason)
    correct = found.equals(expected, prompt)
    return Grade(extracted=str(found), correct=correct, reason="equal" if correct else f"expected {expected}")


@lru_cache(maxsize=1 << 12)
def read_reference(reference: str) -> Quantity | None:
    """Return the number of a reference answer, None when it is not exactly one."""
    found = quantities(clean(reference))
    return found[0] if len(found) == 1 and found[0].value is not None else None


def find_number(text: str) -> Quantity | Problem:
    """Return the number that a cleaned text commits to, or why there is none."""
    marks = find_marks(text)
    if marks and not marks[-1].content:
        return Problem("nothing stands where the answer belongs, or it is denied there")
    read = [(mark, _read_mark(mark)) for mark in marks]
    answers = [(mark, answer) for mark, answer in read if answer is not None]
    return _agreed(text, answers) if answers else last_number(text)


def last_number(text: str) -> Quantity | Problem:
    """Return the last number of a cleaned text without marks, if it stands there as a result."""
    if text.rstrip().rstrip("*\"')").endswith("?"):
        return Problem("ends with a question")
    found = [number for number in quantities(text) if not _is_label(text, number)]
    if not found:
        return Problem("no number")
    last = found[-1]
    if is_asked(text[last.end :]) or denied_behind(text, last.end):
        return NEGATED
    return stands_alone(text, text[sentence_start(text, last.start) : last.start], found)


def _read_mark(mark: Mark) -> Quantity | Problem | None:
    if mark.style == "hash" and _HEADING.match(mark.content):
        return None
    if mark.formal and mark.content.rstrip(" .*_)$").endswith("?"):
        return Problem("asks, does not answer")
    answer = read_answer(mark.content)
    if mark.style == "box" and _FACTORIAL.search(mark.content):
        return EXPRESSION
    if answer is None and mark.style in ("box", "tag"):
        return Problem("no number in the marked answer")
    return answer


def _is_label(text: str, number: Quantity) -> bool:
    """Whether a number counts something off, as in `Step 2` or `2. Add`."""
    before = text[max(0, number.start - 20) : number.start]
    line = before.rpartition("\n")[2]
    starts_line = not line.strip() and (len(line) < len(before) or number.start == len(before))
    return bool(_LABEL.search(before)) or (starts_line and _ENUMERATOR.match(text, number.end) is not None)


def _agreed(text: str, answers: Sequence[tuple[Mark, Quantity | Problem]]) -> Quantity | Problem:
    """Return the last answer if no other contradicts it; prose may correct itself, a formal mark may not."""
    last_mark, last = answers[-1]
    if isinstance(last, Problem):
        return last
    for mark, answer in answers[:-1]:
        if isinstance(answer, Problem):
            if mark.formal:
                return answer
        elif not answer.equals(last) and (mark.formal or not CORRECTION.search(text, mark.end, last_mark.start)):
            return Problem(f"contradicts itself: {answer} and {last}")
    return _unless_taken_back(text[last_mark.end :], last)


def _unless_taken_back(rest: str, answer: Quantity) -> Quantity | Problem:
    """Return the answer unless what follows it draws another conclusion or ends in another number."""
    if is_open_ended(rest.lstrip("}$*_)")):
        return NEGATED
    corrected = CORRECTION.search(rest) is not None
    numbers = quantities(rest)
    if not numbers:
        denied = denied_behind(rest, 0) or (corrected and _WRONG.search(rest))
        return Problem("taken back") if denied else answer
    last = numbers[-1]
    if last.equals(answer):
        return answer
    tail = rest[sentence_start(rest, last.start) :]
    is_bare = len(re.findall(r"[^\W\d]+", tail)) <= 1
    if corrected or is_bare or _HEDGE.search(tail) or _CONCLUSION.search(rest):
        return Problem(f"taken back: {answer}, then {last}")
    return answer
