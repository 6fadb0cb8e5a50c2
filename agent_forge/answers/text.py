"""Texts: equal to the reference after normalisation, with the words that lead up to an answer taken off.

reference "Marie Curie":  `Marie Curie`, `"marie curie".`, `The answer is: **Marie Curie**`  are right,
`Marie Curie and Pierre Curie`, `It was Marie Curie, I think`  are not: what stands there must be the answer.

A reference without a letter or digit, such as `] } >`, is compared sign by sign: there brackets are the answer, not
what stands around it.
"""

import re
from collections.abc import Callable

from agent_forge.answers.characters import plain
from agent_forge.answers.denials import CORRECTION, NO
from agent_forge.answers.marks import find_marks
from agent_forge.answers.repeats import without_question
from agent_forge.records import Grade

_EDGES = " \t\n.,;:!?\"'`*_()[]{}$“”«»。、「」"
# What may stand around signs that are themselves the answer.
_SIGN_EDGES = ".,;:!?\"'`*_“”"
_WORD = re.compile(r"\w")
_MARKUP = re.compile(r"\*\*|__|`|\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it))\s?\{([^{}]*)\}")


def grade_text(completion: str, reference: str, prompt: str = "") -> Grade:
    """Compare the completion with the reference text.

    Args:
        completion: what the model wrote.
        reference: the text expected.
        prompt: the question; verbatim copies of it are not read.
    """
    normal = comparison_form(reference)
    expected = normal(reference)
    if not expected:
        return Grade(extracted=None, correct=False, reason="the reference is empty")
    said = (
        completion
        if _is_passage(completion, prompt) and normal(completion) == expected
        else without_question(completion, prompt)
    )
    answers = [*_earlier_answers(said, len(expected.split())), *marked_answers(said)]
    if takes_back(said) and not _holds(normal(said[find_marks(said)[-1].end :]), expected):
        return Grade(extracted=None, correct=False, reason="taken back: another answer follows")
    if any(answer.rstrip(" \n\"'*_`)").endswith("?") for answer in answers) and not reference.rstrip().endswith("?"):
        return Grade(extracted=None, correct=False, reason="a question, not an answer")
    found = {normal(answer) for answer in answers}
    if len(found) > 1:
        return Grade(extracted=None, correct=False, reason="contradicts itself: several marked answers")
    answer = next(iter(found))
    if not answer:
        return Grade(extracted=None, correct=False, reason="no answer")
    correct = answer == expected
    return Grade(
        extracted=answer[:200], correct=correct, reason="equal" if correct else f"expected {reference.strip()[:200]}"
    )


def _holds(text: str, words: str) -> bool:
    """Whether words stand in a text whole: `invalid` does not hold `valid`."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def takes_back(text: str) -> bool:
    """Whether words behind the last mark take back what it says."""
    marks = find_marks(text)
    rest = text[marks[-1].end :] if marks else ""
    return bool(CORRECTION.search(rest) or NO.search(rest))


def _earlier_answers(text: str, longest: int) -> list[str]:
    """Return what follows earlier cues and is as short as the answer: `The answer is easy to see` says nothing."""
    return [content for content in earlier_cues(text) if 0 < len(content.split()) <= longest]


def _is_passage(completion: str, prompt: str) -> bool:
    """Whether a completion quotes words from within the question, which may be the answer, and not its beginning."""
    return not " ".join(prompt.split()).casefold().startswith(" ".join(completion.split()).casefold())


def marked_answers(completion: str) -> list[str]:
    """Return what the formal marks hold; without any, what follows the last cue; without one, the whole text."""
    marks = find_marks(completion)
    formal = [mark.content for mark in marks if mark.formal]
    if formal:
        return formal
    return [marks[-1].content] if marks else [completion]


def earlier_cues(completion: str) -> list[str]:
    """Return what follows the cues before the last mark, without formal marks; none of what the text corrects."""
    marks = find_marks(completion)
    if not marks or any(mark.formal for mark in marks):
        return []
    return [mark.content for mark in marks[:-1] if not CORRECTION.search(completion, mark.end, marks[-1].start)]


def comparison_form(reference: str) -> Callable[[str], str]:
    """Return what brings an answer and this reference into the form they are compared in."""
    return normalise_text if _WORD.search(reference) else _signs


def _signs(text: str) -> str:
    # Spaces between signs and what ends a sentence tell nothing.
    return "".join(plain(text).split()).strip(_SIGN_EDGES)


def normalise_text(text: str) -> str:
    """Return a text's normal form: NFKC, case folded, white space single, no markup, punctuation or quotes around."""
    bare = _MARKUP.sub(lambda match: match.group(1) or " ", plain(text))
    text = " ".join(bare.casefold().split())
    stripped = text.strip(_EDGES)
    # The point of `.3` is no punctuation.
    return f".{stripped}" if stripped[:1].isdigit() and f".{stripped}" in text else stripped
