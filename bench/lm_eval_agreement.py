"""Compare this package's grades of numbers with lm-evaluation-harness on identical completions of gsm8k.

    python bench/lm_eval_agreement.py --data DIR

DIR holds `gsm8k/test.jsonl` as published. The filters, the metric and the task's settings are those of the installed
package lm-eval; it and what its filters import are wanted in an environment of their own:

    pip install --no-deps lm-eval && pip install numpy pyyaml sacrebleu pydantic more_itertools

Completions are the reference in many phrasings, wrong answers in the same, and texts as models of several families
write them; for each it is known whether a reader would call it right. Prints, for both filters, how often the grades
agree, and each class of differences with its count and an example. Exits 1 when a grade of this package is wrong.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter

from agent_forge.answers import grade
from agent_forge.audit import numbers
from agent_forge.audit.cases import Case
from agent_forge.records import Question

# As models write: LaTeX ends, currency, units, bold, chatter after the answer, a next question made up, equations.
MESSY = {
    "chat, bold with a unit": "Let's break it down:\n\n1. First, 2 * 3 = 6.\n2. Then we add.\n\n**Answer: {} dollars**",
    "display box": "To solve this, we work step by step.\n\n\\[ \\boxed{{{}}} \\]",
    "box, then a closing line": "Thus the result is $\\boxed{{{}}}$.\n\nLet me know if you have 2 or more questions!",
    "hash with currency": "She pays it.\n#### ${}",
    "hash with a unit": "So that is it.\n#### {} apples",
    "hash in bold": "**#### {}**",
    "hash with a full stop": "#### {}.",
    "equation last": "The total is 1 + 1 = 2 at first, and in the end x = {}",
    "answer first": "The answer is {}. We get it by adding 2 and 3 parts.",
    "the next question made up": "#### {}\n\nQuestion: Ann has 5 pens and buys 6. How many?\nAnswer: 11\n#### 11",
    "thinking, then the answer": "Okay, so 7 of them... hmm, maybe 8? Let me check.\n\n**Final Answer**\n{}",
}


def completions(question: Question) -> Iterator[Case]:
    yield from numbers.cases(question, ())
    for name, text in MESSY.items():
        for right, answer in ((True, question.reference), (False, str(int(question.reference) + 1))):
            yield Case(name, text.replace("{{{}}}", "{" + answer + "}").replace("{}", answer), right)


class Harness:
    """The task's own filters and metric."""

    def __init__(self) -> None:
        path = Path(str(distribution("lm-eval").locate_file("lm_eval/tasks/gsm8k/gsm8k.yaml")))
        task: dict[str, Any] = yaml.safe_load(path.read_text())
        self._filters = {one["name"]: self._regex(one["filter"][0]) for one in task["filter_list"]}
        metric = task["metric_list"][0]
        self._metric = {name: metric[name] for name in ("ignore_case", "ignore_punctuation", "regexes_to_ignore")}
        self._until: list[str] = task["generation_kwargs"]["until"]

    @staticmethod
    def _regex(settings: dict[str, Any]) -> RegexFilter:
        return RegexFilter(**{name: value for name, value in settings.items() if name != "function"})

    def stop(self, text: str) -> str:
        """Cut a completion where generation would have ended, for both graders alike."""
        return text[: min([place for stop in self._until if (place := text.find(stop)) >= 0], default=len(text))]

    def grades(self, completion: str, answer: str) -> dict[str, bool]:
        return {name: self._equal(one.apply([[completion]], [{}]), answer) for name, one in self._filters.items()}

    def _equal(self, extracted: Any, answer: str) -> bool:
        found = exact_match_hf_evaluate([next(iter(extracted))[0]], [answer], **self._metric)
        return bool(found["exact_match"] == 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory with gsm8k/")
    parser.add_argument("--limit", type=int, help="compare the first questions only")
    arguments = parser.parse_args()
    lines = (arguments.data / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    harness, total, ours_wrong = Harness(), 0, 0
    table: Counter[tuple[str, bool, bool]] = Counter()
    differences: Counter[tuple[str, bool, bool, str]] = Counter()
    examples: dict[tuple[str, bool, bool, str], str] = {}
    for number, row in enumerate(map(json.loads, lines[: arguments.limit])):
        gold = row["answer"].rpartition("####")[2].strip().replace(",", "")
        question = Question(id=str(number), prompt=row["question"], reference=gold, kind="number")
        for case in (Case("published solution", row["answer"], True), *completions(question)):
            text = harness.stop(case.completion)
            ours = grade("number", text, gold, question.prompt).correct
            total += 1
            if ours != case.right:
                ours_wrong += 1
                print(f"graded wrongly here: {case.name}, {gold}: {text[-200:]!r}")
            for name, theirs in harness.grades(text, row["answer"]).items():
                table[name, ours, theirs] += 1
                if ours != theirs:
                    key = (name, ours, case.right, case.name.removesuffix(" with thousands commas"))
                    differences[key] += 1
                    examples.setdefault(key, f"{gold}: {text[-90:]!r}")
    print(f"lm-eval {distribution('lm-eval').version}, {total} completions, {ours_wrong} graded wrongly here\n")
    show(table, differences, examples, total)
    return 1 if ours_wrong else 0


def show(
    table: Counter[tuple[str, bool, bool]],
    differences: Counter[tuple[str, bool, bool, str]],
    examples: dict[tuple[str, bool, bool, str], str],
    total: int,
) -> None:
    for name in dict.fromkeys(key[0] for key in table):
        both, neither = table[name, True, True], table[name, False, False]
        print(
            f"{name}: agree {both + neither} ({(both + neither) / total:.1%}): both accept {both}, both refuse "
            f"{neither}; accepted here only {table[name, True, False]}, there only {table[name, False, True]}"
        )
    for key, times in sorted(differences.items()):
        name, ours, right, case = key
        print(f"{name:<17} {'here ' if ours else 'there'} only, {'right' if right else 'wrong'}: {times:>6} {case!r}")
        print(f"{'':>20}{examples[key]}")


if __name__ == "__main__":
    sys.exit(main())
