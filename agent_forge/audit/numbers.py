"""Numbers: phrasings, and numbers near the right one."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from agent_forge.audit.cases import REVISED, Case, fill, phrased, unanswered
from agent_forge.records import Question

PHRASINGS = (
    "#### {}",
    "So she needs {} in the end.\n#### {}",
    "The answer is {}.",
    "Adding them up gives the total.\nFinal answer: {}",
    r"Therefore the result is \boxed{{{}}}.",
    r"We get $\boxed{{{}}}$",
    "<answer>{}</answer>",
    "Altogether that makes **{}**.",
    "Let me see: 2 + 2 = 4 first. So the answer is: ${}",
    "3 of them are left out, so the total is {} dollars",
    "{}",
)
WHOLE = "The answer is {}.0"
OPEN = {
    "A or B": "{gold} or {other}",
    "A or B after a cue": "The answer is {gold} or {other}.",
    "either": "The answer is either {gold} or maybe {other}",
    "denied": "The answer is not {gold}.",
    "two hash marks": "#### {gold}\n#### {other}",
    "several boxes": "\\boxed{{{gold}}} or \\boxed{{{other}}}",
    "revised": REVISED,
    "a question": "Is it {gold}?",
}


def cases(question: Question, _others: tuple[str, ...]) -> Iterator[Case]:
    """Yield completions of a question whose answer is a number."""
    gold = question.reference.strip().replace(",", "").removeprefix("$")
    value = _decimal(gold)
    whole = value is not None and value == value.to_integral_value() and "." not in gold
    for phrasing in (*PHRASINGS, WHOLE) if whole else PHRASINGS:
        yield phrased(phrasing, gold)
        if whole and len(gold.lstrip("-")) > 3:
            yield Case(f"{phrasing} with thousands commas", fill(phrasing, f"{int(gold):,}"), right=True)
    for mistake, wrong in _mistakes(gold, value, whole):
        for phrasing in PHRASINGS:
            yield Case(mistake, fill(phrasing, wrong), right=False)
    other = f"{value + 3:f}" if value is not None else "1729"
    for name, text in OPEN.items():
        yield Case(name, text.format(gold=gold, other=other), right=False)
    yield from unanswered(question.prompt)


def _decimal(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _mistakes(gold: str, value: Decimal | None, whole: bool) -> Iterator[tuple[str, str]]:
    if value is None:
        yield "a different number", "1729"
        return
    yield "one more", f"{value + 1:f}"
    yield "one less", f"{value - 1:f}"
    yield "other sign", f"{-value:f}" if value else "1"
    yield "ten times", f"{value * 10:f}" if value else "10"
    sign, digits = ("-", gold[1:]) if gold.startswith("-") else ("", gold)
    yield "another digit before", f"{sign}1{digits}"
    if whole:
        yield "a little more", f"{gold}.5"
