"""Multiple choice: the right letter or text in several phrasings, other letters and texts, and several at once."""

from collections.abc import Iterator

from agent_forge.answers.choice import read_options, reference_letter
from agent_forge.audit.cases import REVISED, Case, fill, phrased, unanswered
from agent_forge.records import Question

PHRASINGS = (
    "{}",
    "({})",
    "The answer is {}.",
    "Answer: {}",
    "**{}**",
    r"\boxed{{{}}}",
    "<answer>{}</answer>",
    "#### {}",
    "The correct option is ({}).",
)
OPEN = {
    "A or B": "{gold} or {other}",
    "A or B after a cue": "The answer is {gold} or {other}.",
    "denied": "The answer is not {gold}.",
    "several boxes": "\\boxed{{{gold}}} \\boxed{{{other}}}",
    "revised": REVISED,
}


def cases(question: Question, _others: tuple[str, ...]) -> Iterator[Case]:
    """Yield completions of a question with options."""
    options = read_options(question.prompt)
    gold = reference_letter(question.reference, options) or question.reference
    wrong = [letter for letter in options or "ABCD" if letter != gold]
    for phrasing in PHRASINGS:
        yield phrased(phrasing, gold)
        for other in wrong:
            yield Case("another letter", fill(phrasing, other), right=False)
    for name, text in OPEN.items():
        yield Case(name, text.format(gold=gold, other=wrong[0]), right=False)
    if gold in options and list(options.values()).count(options[gold]) == 1:
        yield from _texts(gold, wrong, options)
    yield from unanswered(question.prompt)


def _texts(gold: str, wrong: list[str], options: dict[str, str]) -> Iterator[Case]:
    yield Case("letter and text", f"{gold}) {options[gold]}", right=True)
    # A text that is a letter of the list is read as that letter.
    if options[gold].upper() not in options:
        yield Case("the option's text", options[gold], right=True)
    for other in wrong:
        if options[other].upper() not in options:
            yield Case("another option's text", options[other], right=False)
            yield Case("the letter with another's text", f"{gold}) {options[other]}", right=False)
        yield Case("another letter with the text", f"{other}) {options[gold]}", right=False)
