"""Rows in the form of published data sets, and the files they are published in."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

Row = dict[str, object]


def gsm8k(number: int) -> Row:
    return {"question": f"Ann has {number} pens and buys one. How many has she?", "answer": f"So\n#### {number + 1}"}


def mathematics(number: int) -> Row:
    return {"problem": f"Find ${number} + 1$.", "solution": f"It is $\\boxed{{{number + 1}}}$.", "level": "Level 1"}


def choice(number: int) -> Row:
    texts = [f"{number} stones", f"{number} birds", f"{number} clouds"]
    choices = {"text": texts, "label": ["A", "B", "C"]}
    return {"id": f"{number}", "question": f"What are {number} of these?", "choices": choices, "answerKey": "B"}


def bbh(number: int) -> Row:
    return {"input": f"not ( True ) and {number} is", "target": "False"}


def rows(family: str, count: int, first: int = 0) -> list[Row]:
    make = {"gsm8k": gsm8k, "math": mathematics, "math500": mathematics, "bbh": bbh}.get(family, choice)
    return [make(first + number) for number in range(count)]


def lines(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def document(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def parquet(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path
