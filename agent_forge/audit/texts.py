"""Words: the reference in several phrasings, with something beside it, and other questions' answers."""

from collections.abc import Iterator

from agent_forge.answers.text import comparison_form
from agent_forge.audit.cases import REVISED, Case, fill, phrased, unanswered
from agent_forge.records import Question

PHRASINGS = (
    "{}",
    "So it is this:\nThe answer: {}",
    "The answer is {}.",
    "Answer: {}",
    "**{}**",
    "#### {}",
    "<answer>{}</answer>",
    "Final answer: {}",
    r"\boxed{{{}}}",
)
OPEN = {
    "A or B": "{gold} or {other}",
    "A or B after a cue": "The answer is {gold} or {other}.",
    "denied": "The answer is not {gold}.",
    "more words": "{gold} {other}",
    "several boxes": "\\boxed{{{gold}}} \\boxed{{{other}}}",
    "revised": REVISED,
}
OTHER = "zyzzyva"


def cases(question: Question, others: tuple[str, ...]) -> Iterator[Case]:
    """Yield completions of a question whose answer is words."""
    gold = question.reference.strip()
    form = comparison_form(gold)
    # A lone brace ends or keeps open the box around it: such a reference cannot be boxed.
    boxable = gold.count("{") == gold.count("}") == 0
    for phrasing in PHRASINGS if boxable else PHRASINGS[:-1]:
        yield phrased(phrasing, gold)
        for other in (OTHER, *others):
            if form(other) != form(gold):
                yield Case("another answer", fill(phrasing, other), right=False)
    for name, text in OPEN.items():
        yield Case(name, text.format(gold=gold, other=OTHER), right=False)
    yield from unanswered(question.prompt)
