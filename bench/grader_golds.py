"""Grade the reference answers of published data sets: every right phrasing must pass, every wrong one must not.

    python bench/grader_golds.py --data DIR

DIR holds `gsm8k/test.jsonl` and `math500/test.jsonl` as published. Phrasings and mutations are those of
`forge audit-grader`; the published solutions, which questions do not carry, are graded too. Reads nothing else, writes
nothing; exits 1 when a right phrasing is refused more often than allowed or any wrong one is accepted.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from agent_forge.answers import grade
from agent_forge.audit import Audit, audit
from agent_forge.records import AnswerKind, Question

# MATH-500 references that may be refused: an answer in another base or form that nothing certain can be said about.
MATH_REFUSED = 2

Row = Mapping[str, str]


def rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def asked(number: int, kind: AnswerKind, prompt: str, reference: str) -> Question:
    return Question(id=str(number), prompt=prompt, reference=reference, kind=kind)


def show(title: str, found: Audit) -> None:
    print(f"\n{title}")
    for tally in sorted(found.tallies, key=lambda tally: (not tally.right, tally.name)):
        print(
            f"  {'right' if tally.right else 'wrong'}: {tally.total - tally.wrong:>6}/{tally.total:<6} {tally.name!r}"
        )
        for example in tally.examples:
            print(f"{'':>16}{example}")


def judged(title: str, questions: list[Question], solutions: list[str], refused: int) -> bool:
    """Audit questions, grade their solutions, print both; return whether no more went wrong than is allowed."""
    found = audit(questions)
    show(title, found)
    pairs = zip(questions, solutions, strict=True)
    missed = [one.id for one, text in pairs if not grade(one.kind, text, one.reference, one.prompt).correct]
    print(f"  right: {len(questions) - len(missed):>6}/{len(questions):<6} the published solution; missed: {missed}")
    worst = max(len(missed), *(tally.wrong for tally in found.tallies if tally.right))
    return worst <= refused and found.false_positives == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory with gsm8k/ and math500/")
    data = parser.parse_args().data
    started = time.monotonic()
    gsm8k, math500 = rows(data / "gsm8k" / "test.jsonl"), rows(data / "math500" / "test.jsonl")
    numbers = [
        asked(number, "number", row["question"], row["answer"].rpartition("####")[2].strip().replace(",", ""))
        for number, row in enumerate(gsm8k, 1)
    ]
    formulas = [asked(number, "math", row["problem"], row["answer"]) for number, row in enumerate(math500, 1)]
    right = judged("gsm8k test, graded as kind number", numbers, [row["answer"] for row in gsm8k], 0)
    right &= judged("MATH-500, graded as kind math", formulas, [row["solution"] for row in math500], MATH_REFUSED)
    print(f"\n{time.monotonic() - started:.0f} s")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
