"""Run HumanEval's own solutions and broken copies of them: every solution must pass, every broken one must not.

    python bench/code_golds.py --data DIR

DIR holds `humaneval/test.jsonl` as published. Three kinds of answers are judged, each in the sandbox:

    solution   as published, as a continuation of the prompt and as a fenced block with prose around it
    idle       the function with `return None` for its body
    mutant     the solution with one change, the first of a fixed list that the published tests tell from it

Which change that is, is found without the grader: a plain interpreter runs the published tests on it in a process of
its own, with a time limit. Reads nothing else, writes nothing; exits 1 when a solution is refused or a broken one
accepted, or when the tests tell no change from the solution.
"""

import argparse
import ast
import copy
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent_forge.answers import grade
from agent_forge.questions.sources.humaneval import read_row
from agent_forge.records import Question

Row = Mapping[str, str]
WORKERS = 2
PLAIN_SECONDS = 10
OPPOSITE: Mapping[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--data", type=Path, required=True, help="directory with humaneval/test.jsonl")
    path: Path = arguments.parse_args().data / "humaneval" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    questions = [read_row(row, f"{path}:{number}") for number, row in enumerate(rows, 1)]
    mutants = [mutant(row) for row in rows]
    fenced = [f"Here is the function:\n\n```python\n{whole(row)}\n```\n\nIt should work.\n" for row in rows]
    untold = mutants.count(None)
    failed = untold
    print(f"mutants: {len(rows) - untold} of {len(rows)} solutions have a change that the published tests see")
    for name, answers, right in (
        ("solution, continued", [row["canonical_solution"] for row in rows], True),
        ("solution, in prose", fenced, True),
        ("idle", [idle(row) for row in rows], False),
        ("mutant", [answer or idle(row) for answer, row in zip(mutants, rows, strict=True)], False),
    ):
        failed += judged(name, questions, answers, right)
    return 1 if failed else 0


def judged(name: str, questions: list[Question], answers: list[str], right: bool) -> int:
    """Grade answers one after the other; print counts and time, return how many went wrong."""
    started = time.monotonic()
    grades = [
        grade("code", answer, question.reference, question.prompt, allow_code_execution=True)
        for question, answer in zip(questions, answers, strict=True)
    ]
    seconds = time.monotonic() - started
    wrong = [
        f"{question.prompt[:60]!r}: {found.reason}"
        for question, found in zip(questions, grades, strict=True)
        if found.correct != right
    ]
    print(
        f"{name}: {len(answers) - len(wrong)} of {len(answers)} {'pass' if right else 'fail'}, "
        f"{seconds:.1f} s, {seconds / len(answers):.3f} s each"
    )
    for line in wrong:
        print(f"  {line}")
    return len(wrong)


def whole(row: Row) -> str:
    return row["prompt"] + row["canonical_solution"]


def idle(row: Row) -> str:
    return f"{row['prompt']}    return None\n"


def mutant(row: Row) -> str | None:
    """Return the solution's first change that the published tests tell from it, found by a plain interpreter."""
    with ThreadPoolExecutor(WORKERS) as pool:
        changed = list(changes(row))
        for first in range(0, len(changed), WORKERS):
            batch = changed[first : first + WORKERS]
            for source, passes in zip(batch, pool.map(lambda one: passes_plainly(one, row), batch), strict=True):
                if not passes:
                    return source
    return None


def changes(row: Row) -> Iterator[str]:
    """Yield changed programs in a fixed order: constants, operators, conditions, returned values."""
    tree = ast.parse(whole(row))
    function = next(node for node in tree.body if getattr(node, "name", "") == row["entry_point"])
    for change in (_constant, _operator, _condition, _returned):
        for place, node in enumerate(ast.walk(function)):
            copied = copy.deepcopy(tree)
            target = next(part for part in copied.body if getattr(part, "name", "") == row["entry_point"])
            if not _is_docstring(function, node) and change(list(ast.walk(target))[place]):
                yield ast.unparse(copied)


def _is_docstring(function: ast.AST, node: ast.AST) -> bool:
    first = function.body[0]  # type: ignore[attr-defined]
    return isinstance(first, ast.Expr) and node is first.value


def _constant(node: ast.AST) -> bool:
    if not isinstance(node, ast.Constant) or node.value is None:
        return False
    value = node.value
    node.value = (not value) if isinstance(value, bool) else value + ("x" if isinstance(value, str) else 1)
    return True


def _operator(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPPOSITE:
        node.ops[0] = OPPOSITE[type(node.ops[0])]()  # type: ignore[assignment]
        return True
    if isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in OPPOSITE:
        node.op = OPPOSITE[type(node.op)]()  # type: ignore[assignment]
        return True
    return False


def _condition(node: ast.AST) -> bool:
    if not isinstance(node, (ast.If, ast.IfExp)):
        return False
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return True


def _returned(node: ast.AST) -> bool:
    if not isinstance(node, ast.Return) or node.value is None:
        return False
    node.value = ast.List([node.value], ast.Load())
    return True


def passes_plainly(source: str, row: Row) -> bool:
    """Whether the published tests pass in a plain interpreter; these programs are the bench's own."""
    program = f"{row['prompt']}    pass\n\n{source}\n{row['test']}\n\ncheck({row['entry_point']})\n"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program], capture_output=True, stdin=subprocess.DEVNULL, timeout=PLAIN_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
