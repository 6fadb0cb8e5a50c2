"""LaTeX answers: phrasings, other spellings, and answers that differ in value, order, brackets, sign or parts."""

import re
from collections.abc import Iterator

from agent_forge.audit.cases import REVISED, Case, fill, phrased, unanswered
from agent_forge.records import Question

PHRASINGS = (
    r"\boxed{{{}}}",
    r"We find $x_1 + x_2$ and so the answer is $\boxed{{{}}}$.",
    "The answer is ${}$.",
    r"After simplifying we are left with \({}\).",
    "Final Answer: The final answer is ${}$. I hope it is correct.",
    "<answer>{}</answer>",
    "#### {}",
    "**Final Answer**\n\\[ \\boxed{{{}}} \\]",
)
OPEN = {
    "several boxes": r"\boxed{{{gold}}} or \boxed{{{other}}}",
    "a box taken back": r"\boxed{{{gold}}}, no: \boxed{{{other}}}",
    "A or B": "The answer is ${gold}$ or ${other}$.",
    "denied": "The answer is not ${gold}$.",
    "revised": REVISED.replace("{gold}", "${gold}$").replace("{other}", "${other}$"),
}
_INTEGER = re.compile(r"\d+")


def cases(question: Question, others: tuple[str, ...]) -> Iterator[Case]:
    """Yield completions of a question whose answer is written in LaTeX; others are answers of other questions."""
    gold = question.reference
    for phrasing in PHRASINGS:
        yield phrased(phrasing, gold)
    for spelling in dict.fromkeys(spellings(gold)):
        yield Case("spelt differently", fill(PHRASINGS[0], spelling), right=True)
    for mistake, wrong in mistakes(gold):
        for phrasing in PHRASINGS[:3]:
            yield Case(mistake, fill(phrasing, wrong), right=False)
    for other in others:
        if _bare(other) != _bare(gold):
            yield Case("another question's answer", fill(PHRASINGS[0], other), right=False)
    for name, text in OPEN.items():
        yield Case(name, text.format(gold=gold, other="1729"), right=False)
    yield from unanswered(question.prompt)


def mistakes(gold: str) -> Iterator[tuple[str, str]]:
    """Yield answers that differ from a LaTeX reference in value, order, brackets, sign or number of parts."""
    for place in _INTEGER.finditer(gold):
        for step in (1, 2):
            changed = str(int(place.group()) + step)
            yield "a number changed", gold[: place.start()] + changed + gold[place.end() :]
    yield "one added", f"{gold} + 1"
    yield "one more item", f"{gold}, 1729"
    if gold != "0":
        yield "doubled", rf"2 \cdot \left({gold}\right)"
    if not re.match(r"\\text|[xy] ?[=\\]", gold):
        yield "other sign", f"-({gold})" if gold != "0" else "-1"
    for old, new in ((" - ", " + "), (" + ", " - "), ("(", "["), ("]", ")"), (r"\pi", "3.14159"), ("sqrt", "sin")):
        if old in gold and r"\text{(" not in gold:
            yield f"{old.strip()} written {new.strip()}", gold.replace(old, new, 1)
    if "," in gold and gold[:1] not in "(" and "!" not in gold and "text" not in gold:
        yield "an item missing", gold.rpartition(",")[0].lstrip("\\{")


def spellings(gold: str) -> Iterator[str]:
    """Yield other ways to write a LaTeX reference."""
    yield gold.replace(r"\frac", r"\dfrac")
    yield re.sub(r"(?<![A-Za-z]) | (?![A-Za-z])", "", gold)
    yield re.sub(r"(?<!\\)([=+-])", r" \1 ", gold)
    yield gold.replace(r"\left", "").replace(r"\right", "")
    yield gold.replace(r"\pi", "π").replace(r"\infty", "∞").replace(r"\cup", "∪").replace("-", "−")
    yield rf"\displaystyle {gold}."


def _bare(latex: str) -> str:
    r"""Return what is left when `x = 5` and `36^\circ` are read as 5 and 36."""
    return re.sub(r"[\s{}]|^[xy]=|\^\\circ|\\[dt](?=frac)|\\left|\\right", "", latex)
