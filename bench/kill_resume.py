"""Kill a run at random moments; every resumed run must end with the bytes of the undisturbed one.

    python bench/kill_resume.py [--kills 20] [--seed 0] [--out DIR]

Bakes the bundled champion with the scenario of `make run`, made smaller, once undisturbed. Then, for every kill: the
same run in the same place, SIGKILL at a moment drawn uniformly from the undisturbed run's length, and `--resume`.
Exits 1 when gate.json or results.json differ by a byte, or a stage that had completed began again.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

import agent_forge

DEMO = Path(agent_forge.__file__).parent / "demo"
SMALLER = {"bake_samples": 300, "trace_samples": 2, "num_epochs": 6, "batch_size": 16, "checkpoint_every": 10}
COMPARED = ("stages/significance-gate/gate.json", "results.json")


@dataclass(frozen=True)
class Outcome:
    """One killed and resumed run: seconds until the kill, what had completed, and what went wrong."""

    after: float
    completed: frozenset[str]
    began: tuple[str, ...]
    differs: tuple[str, ...]
    code: int

    @property
    def repeated(self) -> list[str]:
        return sorted(self.completed.intersection(self.began))

    @property
    def good(self) -> bool:
        return self.code == 0 and not self.differs and not self.repeated


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to run; default: a temporary directory")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return measure(given.out or Path(temporary), given.kills, random.Random(given.seed))


def measure(base: Path, kills: int, source: random.Random) -> int:
    run, expected = base / "run", base / "undisturbed"
    command = prepare(base, run)
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    length = time.monotonic() - began
    run.rename(expected)
    print(f"undisturbed: {length:.1f} s, {len(completed(expected))} stages")
    outcomes = []
    for number in range(kills):
        shutil.rmtree(run, ignore_errors=True)
        outcomes.append(kill_and_resume(command, run, expected, source.uniform(0, length)))
        print(f"kill {number + 1}: {describe(outcomes[-1])}", flush=True)
    failed = [outcome for outcome in outcomes if not outcome.good]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} resumed runs are byte-identical and repeat no stage")
    return 1 if failed else 0


def prepare(base: Path, run: Path) -> list[str]:
    fields = yaml.safe_load((DEMO / "bake.yaml").read_text()) | SMALLER
    (base / "config.json").write_text(json.dumps(fields))
    command = [sys.executable, "-m", "agent_forge.cli", "bake-quietstar", "--model", str(DEMO / "champion")]
    return [*command, "--config", str(base / "config.json"), "--out", str(run), "--resume"]


def kill_and_resume(command: list[str], run: Path, expected: Path, after: float) -> Outcome:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    before, lines = completed(run), len(events(run))
    code = subprocess.run(command, capture_output=True, check=False).returncode
    began = tuple(event["stage"] for event in events(run)[lines:] if event["event"] == "began")
    differs = tuple(name for name in COMPARED if content(run / name) != content(expected / name))
    return Outcome(after, before, began, differs, code)


def completed(run: Path) -> frozenset[str]:
    stages = run / "stages"
    return frozenset(path.parent.relative_to(stages).as_posix() for path in stages.rglob("receipt.json"))


def events(run: Path) -> list[dict[str, str]]:
    path = run / "events.jsonl"
    whole = (
        [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")] if path.exists() else []
    )
    return [json.loads(line) for line in whole]


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def describe(outcome: Outcome) -> str:
    where = f"after {outcome.after:5.1f} s with {len(outcome.completed)} stages done"
    if outcome.good:
        return f"{where}: identical, {len(outcome.began)} stages ran"
    return f"{where}: exit code {outcome.code}, differs {outcome.differs}, repeated {outcome.repeated}"


if __name__ == "__main__":
    sys.exit(main())
