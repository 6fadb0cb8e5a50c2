"""Fuzz the graders, and measure that grading takes no more than linear time.

    python bench/fuzz_graders.py --seconds 300 [--seed N] [--part random|growth]

Two parts. Random completions of up to 100 kB (any Unicode, lone surrogates, marks, LaTeX, fragments of the reference
and of other answers) are graded: none may raise, and none may be accepted in which the answer does not stand:

    number, math  the digits of the reference, a large prime, stand in the text in order, only separators between
    choice        the reference letter, or every word of its option's text, stands in the text
    text          the reference's words stand in the text in their order
    code          the extracted program's lines stand in the completion, and it defines the name

These are checked on the text with compatibility characters folded, by code that shares nothing with the graders. Then
hostile texts of 1,000, 10,000 and 100,000 characters are graded. Prints counts, the slowest cases and what took
more than linear time; exits 1 when something was raised, accepted or more than linear. Writes nothing.
"""

import argparse
import random
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable

from agent_forge.answers import grade
from agent_forge.records import AnswerKind
from agent_forge.sandbox.program import find_program

LONGEST = 100_000
SIZES = (1_000, 10_000, 100_000)
# Ten times the text may take this much longer; quadratic is a hundred times.
MOST_GROWTH = 25.0
# Below this a growth is noise.
TOO_FAST = 0.05
PRIME = "1000003"
OPTIONS = "Which is it?\nA) oxygen\nB) heavy zinc\nC) sand\nD) 17"
PROMPTS = {"number": "", "math": "", "choice": OPTIONS, "text": ""}
REFERENCES = {"number": PRIME, "math": PRIME, "choice": "B", "text": "Marie Curie"}
# fmt: off
FRAGMENTS = (
    "#### ", "\\boxed{", "}", "{", "<answer>", "</answer>", "The answer is ", "Answer: ", "the answer is not ", ". ",
    "? ",
    "\n", " ", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\frac{", "\\sqrt", "\\text{", "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "\\pm ", "\\cup", "\\infty", "\\left(", "\\pi", "^", "_", "=", "<", "+", "-", "−", "/", "*", "×", "%", "e", "(",
    ")", "[",
    "]", ",", ";", ":", "!", "|", "&", "\\\\", "~~", "**", "`", "```python\n", "```\n", "1", "2", "10", "100000",
    "1000",
    "003", "3", "1000004", "1000002", "3000001", "2000006/4", "one million", "and three", "twelve", " or ", " and ",
    "wait, ",
    "no, ", "A", "C", "A) ", "(D)", "oxygen", "sand", "heavy", "lead", "Marie", "Pierre Curie", "Mari Curie", "Curie",
    "def f(x):\n", "    return x\n", "import os\n", "class A:\n", "\ud800", "\udfff", "\u202e", "\u200b", "\u0301",
    "½", "²",
    "₂", "①", "٣", "ﷺ", "\x00", "\r", "\u2028", "🙂", "\U000e0041",
)
PIECES = {
    "digits": "1", "commas": "1,", "dots": "1.", "spaces": " ", "spaced digits": "1 ", "newlines": "\n",
    "boxes": "\\boxed{",
    "closed boxes": "\\boxed{1}", "hashes": "#", "hash marks": "#### ", "hash marks on lines": "####\n",
    "cues": "the answer is ",
    "answered cues": "the answer is 1. ", "denied cues": "not the answer is ", "nots": "not ", "braces": "{",
    "closing": "}",
    "brackets": "([", "quotes": "\"'", "stars": "*", "underscores": "_1_", "tildes": "~", "struck": "~~1",
    "tags": "<answer>",
    "tag pairs": "<answer>1</answer>", "tag starts": "<answer ", "dollars": "$", "formulas": "$1$ ",
    "fractions": "\\frac{1}{2}",
    "open fractions": "\\frac{", "powers": "^", "minus": "-", "minus brackets": "-(1", "words": "a ", "letters": "a",
    "ors": " or ",
    "numbers in words": "one ", "options": "(A) ", "option lines": "A) x\n", "option texts": "heavy zinc ",
    "texts": "\\text{a}",
    "overs": "{1\\over ", "fences": "```\n", "definitions": "def f():\n", "indents": "    x\n", "combining": "\u0301",
    "ligatures": "ﷺ", "superscripts": "²", "subscripts": "₂", "joiners": "\u200d", "surrogates": "\ud800",
    "slashes": "1/",
    "equals": "1=", "colons": "1:", "exponents": "1e", "pm": "\\pm ", "aligned": "&=1\\\\", "backslashes": "\\",
    "bars": "|",
    "factorials": "!", "ands": "1 and a half ", "units": "1 m ", "question marks": "?", "emphasis": "**",
    "spaced minus": "- ",
}
# fmt: on


def random_text(source: random.Random) -> str:
    size = int(10 ** source.uniform(0, 5))
    style = source.randrange(4)
    if style == 0:
        return "".join(chr(source.randrange(0x110000)) for _ in range(min(size, 5000)))
    if style == 1:
        return (source.choice(FRAGMENTS) + source.choice(FRAGMENTS)) * (size // 8)
    pieces = [source.choice(FRAGMENTS) for _ in range(min(size, 60 if style == 2 else LONGEST // 8))]
    return "".join(pieces)[:LONGEST]


def folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def digit_string(text: str) -> str:
    """Return digits in ASCII, separators between them dropped and everything else as `|`."""
    kept = []
    for sign in folded(text):
        digit = unicodedata.decimal(sign, None)
        if digit is not None:
            kept.append(str(digit))
        elif sign.isalpha() or sign in "|;=<>":
            kept.append("|")
    return "".join(kept)


def letters_only(text: str) -> str:
    return "".join(sign for sign in folded(text) if sign.isalnum())


def holds_number(text: str) -> bool:
    return PRIME in digit_string(text) or ("million" in folded(text) and "three" in folded(text))


def holds_choice(text: str) -> bool:
    return "b" in folded(text) or "heavyzinc" in letters_only(text)


def holds_text(text: str) -> bool:
    return "mariecurie" in letters_only(text)


HOLDS: dict[AnswerKind, Callable[[str], bool]] = {
    "number": holds_number,
    "math": holds_number,
    "choice": holds_choice,
    "text": holds_text,
}


def check_code(text: str) -> str | None:
    found = find_program(text, "", "f")
    if found is None:
        return None
    lines = {line.strip() for line in text.replace("\r", "\n").split("\n")}
    strange = [line for line in found.text.split("\n") if line.strip() and line.strip() not in lines]
    return f"lines that were not written: {strange[:3]}" if strange or "f" not in found.text else None


def problem(kind: str, text: str) -> str | None:
    """Grade one text and say what was wrong with that."""
    try:
        if kind == "code":
            return check_code(text)
        answer: AnswerKind = kind  # type: ignore[assignment]
        verdict = grade(answer, text, REFERENCES[kind], PROMPTS[kind])
        verdict.model_dump_json()
    except Exception as error:
        return f"raised {error!r:.200}"
    return "accepted without the answer in it" if verdict.correct and not HOLDS[answer](text) else None


def campaign(seconds: float, seed: int) -> int:
    source, failures = random.Random(seed), 0
    graded: Counter[str] = Counter()
    slowest: dict[str, tuple[float, int, str]] = {}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        text = random_text(source)
        for kind in (*HOLDS, "code"):
            said = text.replace("Pierre Curie", "Marie Curie", 1) if kind == "text" and source.random() < 0.05 else text
            started = time.monotonic()
            found = problem(kind, said)
            spent = time.monotonic() - started
            graded[kind] += 1
            slowest[kind] = max(slowest.get(kind, (0.0, 0, "")), (spent, len(said), said[:60]))
            if found:
                failures += 1
                print(f"{kind}: {found}: {said[:300]!r}")
    print(f"seed {seed}: {sum(graded.values())} gradings {dict(graded)}, {failures} failures")
    for kind, (spent, size, text) in slowest.items():
        print(f"  slowest {kind}: {spent:.2f} s on {size} characters, beginning {text!r}")
    return failures


def seconds_for(kind: str, text: str) -> float:
    started = time.monotonic()
    problem(kind, text)
    return time.monotonic() - started


def scaling() -> int:
    """Grade hostile texts of growing size; return how many took more than linear time."""
    failures, worst = 0, Counter[str]()
    for kind in (*HOLDS, "code"):
        for name, piece in PIECES.items():
            for around in ("```\n{}\n```",) if kind == "code" else ("{}", "The answer is {}"):
                times = [seconds_for(kind, around.format(piece * (size // len(piece)))) for size in SIZES]
                grown = times[2] / max(times[1], TOO_FAST)
                worst[f"{kind}, {name} in {around!r}"] = int(1000 * times[2])
                if grown > MOST_GROWTH:
                    failures += 1
                    shown = ", ".join(f"{spent:.2f}" for spent in times)
                    print(f"more than linear: {kind}, {name} in {around!r}: {shown} s")
    print(f"{len(worst)} texts at {SIZES}: {failures} more than linear; slowest at {SIZES[-1]}:")
    for name, milliseconds in worst.most_common(5):
        print(f"  {milliseconds / 1000:.2f} s {name}")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long to grade random texts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=("random", "growth"), help="only one of the two parts")
    arguments = parser.parse_args()
    failures = 0 if arguments.part == "growth" else campaign(arguments.seconds, arguments.seed)
    failures += 0 if arguments.part == "random" else scaling()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
