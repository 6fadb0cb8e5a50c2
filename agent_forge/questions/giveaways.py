r"""Giveaways: prompts that hold their own reference answer. Reported, never dropped: many are coincidences.

number   a number of the prompt equals the reference          `Tom has 7 apples and eats none.`   reference 7
math     so does a number, or the reference's words stand there  `Simplify $2k+2$.`               reference 2k+2
choice   the prompt says which option it is; listing it is none  `... (B) iron. Answer: B`        reference B
text     the reference's words stand there                     `Curie, Marie Curie, was ...`      reference Marie Curie
code     the reference's words stand there                     a canonical solution left in the prompt
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from agent_forge.answers.choice import read_options, reference_letter
from agent_forge.answers.number import read_reference
from agent_forge.answers.quantity import clean, quantities
from agent_forge.answers.text import normalise_text
from agent_forge.questions.leak_words import leak_words, runs
from agent_forge.records import GiveawayCount, Question

EXAMPLES = 5

_SAID = r"\b(?:answer|solution|(?:correct|right)\s+(?:option|choice|letter|one))\s*(?:\W{0,3}\bis\b|[:=]|\W*->)\W{0,4}"
_TOLD_LETTER = re.compile(
    rf"(?i:{_SAID}(?:(?:option|choice|letter)\s+)?)\(?([A-Z]|[a-z](?=[).\]*]))(?![\w'])(?!\s+[a-z])"
)
_TOLD = re.compile(_SAID, re.IGNORECASE)


def count_giveaways(questions: Iterable[Question]) -> tuple[GiveawayCount, ...]:
    """Return, for every task, how many of its questions hold their own reference answer."""
    asked: Counter[str] = Counter()
    found: Counter[str] = Counter()
    shown: dict[str, tuple[str, ...]] = {}
    for question in questions:
        asked[question.task] += 1
        if gives_away(question):
            found[question.task] += 1
            shown[question.task] = (*shown.get(question.task, ()), question.id)[:EXAMPLES]
    return tuple(
        GiveawayCount(
            task=task,
            questions=total,
            count=found[task],
            rate=found[task] / total,
            examples=shown.get(task, ()),
        )
        for task, total in asked.items()
    )


def gives_away(question: Question) -> bool:
    """Whether a question's prompt holds its reference answer."""
    if question.kind == "choice":
        return _tells_option(question.prompt, question.reference)
    if question.kind in ("number", "math") and (expected := read_reference(question.reference)) is not None:
        return any(number.equals(expected) for number in quantities(clean(question.prompt)))
    wanted = leak_words(question.reference)
    # One letter or sign, such as the `x` of an equation, is no answer given away.
    if not wanted or (question.kind == "math" and len(wanted) == 1 and len(wanted[0]) == 1):
        return False
    return bool(runs(leak_words(question.prompt), wanted))


def _tells_option(prompt: str, reference: str) -> bool:
    options = read_options(prompt)
    letter = reference_letter(reference, options)
    if letter is None:
        return False
    if any(told.upper() == letter for told in _TOLD_LETTER.findall(prompt)):
        return True
    return any(_option_told(prompt[told.end() :], options) == letter for told in _TOLD.finditer(prompt))


def _option_told(rest: str, options: Mapping[str, str]) -> str | None:
    """Return the letter of the longest option whose text a prompt goes on with."""
    by_length = sorted(options.items(), key=lambda option: -len(option[1]))
    said = normalise_text(rest[: 4 * max(map(len, options.values()), default=0) + 8])
    return next((name for name, text in by_length if text and re.match(rf"{re.escape(text)}(?!\w)", said)), None)
