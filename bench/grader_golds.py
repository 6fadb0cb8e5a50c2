"""Grade the reference answers of published data sets: every right phrasing must pass, every wrong one must not.

    python bench/grader_golds.py --data DIR

DIR holds `gsm8k/test.jsonl` and `math500/test.jsonl` as published. Reads nothing else, writes nothing; exits 1 when a
right phrasing is refused more often than allowed or any wrong one is accepted.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent_forge.answers import grade
from agent_forge.records import AnswerKind

# MATH-500 references that may be refused: an answer in another base or form that nothing certain can be said about.
MATH_REFUSED = 2
SHOWN = 10

NUMBER_PHRASINGS = (
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
    "The answer is {}.0",
)
NUMBER_MISTAKES: Mapping[str, Callable[[str], str]] = {
    "one more": lambda gold: str(int(gold) + 1),
    "one less": lambda gold: str(int(gold) - 1),
    "other sign": lambda gold: str(-int(gold)) if int(gold) else "1",
    "ten times": lambda gold: f"{gold}0" if int(gold) else "10",
    "a little more": lambda gold: f"{gold}.5",
    "another digit before": lambda gold: f"{gold[0]}1{gold[1:]}" if gold.startswith("-") else f"1{gold}",
}
OPEN_NUMBERS = (
    "{gold} or {other}",
    "The answer is {gold} or {other}.",
    "The answer is not {gold}.",
    "#### {gold}\n#### {other}",
    r"\boxed{{{gold}}} or \boxed{{{other}}}",
    "The answer is {gold}. Wait, that is wrong. The answer is {other}.",
    "The answer is either {gold} or maybe {other}",
    "Is it {gold}?",
)

MATH_PHRASINGS = (
    r"\boxed{{{}}}",
    r"We find $x_1 + x_2$ and so the answer is $\boxed{{{}}}$.",
    "The answer is ${}$.",
    r"After simplifying we are left with \({}\).",
    "Final Answer: The final answer is ${}$. I hope it is correct.",
    "<answer>{}</answer>",
    "#### {}",
)
MATH_OPEN = (
    r"\boxed{{{gold}}} or \boxed{{{other}}}",
    r"\boxed{{{gold}}}, no: \boxed{{{other}}}",
    "The answer is ${gold}$ or ${other}$.",
    "The answer is not ${gold}$.",
)
_INTEGER = re.compile(r"\d+")


@dataclass
class Count:
    """How many of one group of completions were graded as they should be, and the first that were not."""

    total: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, as_expected: bool, shown: str) -> None:
        self.total += 1
        if not as_expected:
            self.wrong.append(shown)


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def math_mistakes(gold: str) -> Iterator[tuple[str, str]]:
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


def math_spellings(gold: str) -> Iterator[str]:
    """Yield other ways to write a LaTeX reference."""
    yield gold.replace(r"\frac", r"\dfrac")
    yield re.sub(r"(?<![A-Za-z]) | (?![A-Za-z])", "", gold)
    yield re.sub(r"(?<!\\)([=+-])", r" \1 ", gold)
    yield gold.replace(r"\left", "").replace(r"\right", "")
    yield gold.replace(r"\pi", "π").replace(r"\infty", "∞").replace(r"\cup", "∪").replace("-", "−")
    yield rf"\displaystyle {gold}."


def grade_numbers(path: Path) -> dict[str, Count]:
    counts: dict[str, Count] = {}
    for row in rows(path):
        prompt, written = row["question"], row["answer"].rpartition("####")[2].strip()
        gold = written.replace(",", "")
        for phrasing in (*NUMBER_PHRASINGS, row["answer"].replace("{", "{{").replace("}", "}}")):
            name = phrasing if phrasing in NUMBER_PHRASINGS else "the published solution"
            forms = dict.fromkeys((gold, f"{int(gold):,}"))
            right = all(_grade("number", phrasing, gold, prompt, form) for form in forms)
            _count(counts, f"right: {name}").add(right, f"{gold!r} in {phrasing[:60]!r}")
        for mistake, change in NUMBER_MISTAKES.items():
            for phrasing in NUMBER_PHRASINGS:
                accepted = _grade("number", phrasing.removesuffix(".0"), gold, prompt, change(gold))
                _count(counts, f"wrong: {mistake}").add(not accepted, f"{change(gold)!r} for {gold!r}: {phrasing!r}")
        for phrasing in OPEN_NUMBERS:
            text = phrasing.format(gold=gold, other=int(gold) + 3)
            _count(counts, "wrong: open").add(not grade("number", text, gold, prompt).correct, f"{text!r} for {gold!r}")
        repeated = grade("number", prompt, gold, prompt).correct
        _count(counts, "wrong: the question repeated").add(not repeated, prompt[:80])
    return counts


def grade_mathematics(path: Path) -> dict[str, Count]:
    counts: dict[str, Count] = {}
    published = rows(path)
    for number, row in enumerate(published):
        prompt, gold = row["problem"], row["answer"]
        for phrasing in MATH_PHRASINGS:
            _count(counts, f"right: {phrasing}").add(_grade("math", phrasing, gold, prompt, gold), gold)
        for spelling in dict.fromkeys(math_spellings(gold)):
            right = _grade("math", MATH_PHRASINGS[0], gold, prompt, spelling)
            _count(counts, "right: spelt differently").add(right, f"{spelling} for {gold}")
        solved = grade("math", row["solution"], gold, prompt).correct
        _count(counts, "right: the published solution").add(solved, f"{gold}: {row['solution'][-80:]!r}")
        for mistake, wrong in math_mistakes(gold):
            for phrasing in MATH_PHRASINGS[:3]:
                accepted = _grade("math", phrasing, gold, prompt, wrong)
                _count(counts, f"wrong: {mistake}").add(not accepted, f"{wrong} for {gold}: {phrasing}")
        for other in (published[(number + step) % len(published)]["answer"] for step in range(1, 8)):
            if _bare(other) != _bare(gold):
                accepted = _grade("math", MATH_PHRASINGS[0], gold, prompt, other)
                _count(counts, "wrong: another question's answer").add(not accepted, f"{other} for {gold}")
        for phrasing in MATH_OPEN:
            text = phrasing.format(gold=gold, other="1729")
            _count(counts, "wrong: open").add(not grade("math", text, gold, prompt).correct, text)
        _count(counts, "wrong: the question repeated").add(
            not grade("math", prompt, gold, prompt).correct, f"{gold}: {prompt[-80:]!r}"
        )
    return counts


def _bare(latex: str) -> str:
    """Return what is left when `x = 5` and `36^\\circ` are read as 5 and 36."""
    return re.sub(r"[\s{}]|^[xy]=|\^\\circ|\\[dt](?=frac)|\\left|\\right", "", latex)


def _grade(kind: AnswerKind, phrasing: str, gold: str, prompt: str, answer: str) -> bool:
    return grade(kind, phrasing.replace("{}", "\0").format().replace("\0", answer), gold, prompt).correct


def _count(counts: dict[str, Count], name: str) -> Count:
    return counts.setdefault(name, Count())


def show(title: str, counts: Mapping[str, Count]) -> None:
    print(f"\n{title}")
    for name, count in sorted(counts.items()):
        print(f"  {count.total - len(count.wrong):>6}/{count.total:<6} {name}")
        for text, times in Counter(count.wrong).most_common(SHOWN):
            print(f"{'':>16} {times} x {text}")


def passed(counts: Mapping[str, Count], refused: int) -> bool:
    allowed = {name: refused if name.startswith("right") else 0 for name in counts}
    return all(len(count.wrong) <= allowed[name] for name, count in counts.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory with gsm8k/ and math500/")
    data = parser.parse_args().data
    started = time.monotonic()
    numbers = grade_numbers(data / "gsm8k" / "test.jsonl")
    show("gsm8k test, graded as kind number", numbers)
    mathematics = grade_mathematics(data / "math500" / "test.jsonl")
    show("MATH-500, graded as kind math", mathematics)
    print(f"\n{time.monotonic() - started:.0f} s")
    return 0 if passed(numbers, 0) and passed(mathematics, MATH_REFUSED) else 1


if __name__ == "__main__":
    sys.exit(main())
