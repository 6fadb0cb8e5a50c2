"""Load published data sets in every form their files may have: the same questions each time, and how long it takes.

    python bench/data_sets.py --data DIR

DIR holds `gsm8k/train.jsonl`, `gsm8k/test.jsonl` and `math500/test.jsonl` as published. Writes the other forms to a
temporary directory; exits 1 when a form gives other questions, or other numbers of them than were published.
"""

import argparse
import gzip
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet

from agent_forge.questions.sources import TaskQuestions, load_task
from agent_forge.questions.split import split_questions

PUBLISHED = {"gsm8k": {"train": 7473, "test": 1319}, "math500": {"test": 500}}
SAMPLES = 200


def parquet(folder: Path, part: str, rows: list[dict[str, object]]) -> None:
    half = len(rows) // 2
    for shard, some in enumerate((rows[:half], rows[half:])):
        file = folder / "data" / f"{part}-{shard:05d}-of-00002.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(some), file)


def lines(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


FORMS: dict[str, Callable[[Path, str, list[dict[str, object]]], object]] = {
    "JSON lines, gzipped": lambda folder, part, rows: (folder / f"{part}.jsonl.gz").write_bytes(
        gzip.compress(lines(rows))
    ),
    "JSON list": lambda folder, part, rows: (folder / f"{part}.json").write_text(json.dumps(rows)),
    "parquet, two shards": parquet,
}


def timed(name: str, form: str, directory: Path) -> TaskQuestions:
    started = time.monotonic()
    found = load_task(f"{name}:{directory / name}", None)
    counts = ", ".join(f"{part} {len(questions):,}" for part, questions in found.parts.items())
    print(f"{time.monotonic() - started:6.2f} s  {name}, {form}: {counts}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory with gsm8k/ and math500/")
    data = parser.parse_args().data
    passed = True
    for name, counts in PUBLISHED.items():
        first = timed(name, "as published", data)
        passed = passed and {part: len(questions) for part, questions in first.parts.items()} == counts
        for form, write in FORMS.items():
            with tempfile.TemporaryDirectory() as root:
                (Path(root) / name).mkdir()
                for part in counts:
                    text = (data / name / f"{part}.jsonl").read_text(encoding="utf-8")
                    # `splitlines` would also break inside a JSON text.
                    write(Path(root) / name, part, [json.loads(line) for line in text.split("\n") if line.strip()])
                passed = timed(name, form, Path(root)).parts == first.parts and passed
    started = time.monotonic()
    target, guard = (load_task(name, str(data)) for name in PUBLISHED)
    report = split_questions([target], [guard], SAMPLES, SAMPLES, None).report
    print(f"{time.monotonic() - started:6.2f} s  both loaded and split, {len(report.dropped)} leaks dropped")
    for task, parts in report.parts.items():
        print(f"{'':10}{task}: " + ", ".join(f"{part.use} {part.name} ({part.questions:,})" for part in parts))
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MB at the peak")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
