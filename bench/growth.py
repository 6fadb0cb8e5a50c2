"""Measure how time and memory grow with questions and with rounds when the model costs nothing.

    python bench/growth.py --most 100000

A stub says one of a few answers at once, so what is left is the work around the model: prompts, seeds, the log of
finished batches, grading, result rows, the gate. Each point runs in a process of its own: one evaluation of every round
in three arms, then the gate over all rows. Printed are processor seconds, or with --memory the most memory that Python
and numpy hold at once beyond the loaded program and the questions (tracemalloc, which takes time itself, and which a
system that takes pages away cannot mislead), then the exponents b of a fit cost = a n^b (least squares of logarithms):
1 is linear, 0 flat.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

DEMO = Path(__file__).parents[1] / "agent_forge/demo/champion"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=10_000, help="questions of the largest point")
    parser.add_argument("--points", type=int, default=4)
    parser.add_argument("--shard", type=int, default=None, help="questions per cell; default: all in one")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--one", nargs=2, type=int, help="measure one point: questions rounds")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(*given.one, given.shard or given.one[0], given.memory)))
        return 0
    sizes = [int(size) for size in np.geomspace(given.most / 8 ** (given.points / 2), given.most, given.points)]
    by_questions = [point(size, 1, given) for size in sizes]
    show("questions", sizes, by_questions)
    rounds = [1, 2, 4, 8]
    show("rounds", rounds, [point(max(given.most // 20, 100), count, given) for count in rounds])
    return 0


def point(questions: int, rounds: int, given: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(questions), str(rounds)]
    command += ["--shard", str(given.shard)] if given.shard else []
    command += ["--memory"] if given.memory else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    print(f"{questions} questions, {rounds} rounds: {found}", file=sys.stderr, flush=True)
    return found


def show(what: str, sizes: Sequence[int], points: Sequence[dict[str, float]]) -> None:
    for name in points[0]:
        values = [found[name] for found in points]
        exponent = np.polyfit(np.log(sizes), np.log(values), 1)[0]
        listed = ", ".join(f"{size}: {value:.4g}" for size, value in zip(sizes, values, strict=True))
        print(f"{name} by {what}: {listed}; exponent {exponent:.2f}")


def measure(questions: int, rounds: int, shard: int, memory: bool) -> dict[str, float]:
    """Return the cost of one evaluation and its gate."""
    # Here, so that the process that only starts others stays small.
    from agent_forge.config import QuietSTaRConfig
    from agent_forge.models.extend import extend
    from agent_forge.models.load import load_champion
    from agent_forge.models.prompting import Prompting
    from agent_forge.records import Question
    from agent_forge.stages.bench import Bench
    from agent_forge.stages.context import StageContext
    from agent_forge.stages.evaluate_round import evaluate_arms
    from agent_forge.stages.significance_gate import significance_gate
    from agent_forge.storage.files import write_parts_atomic
    from agent_forge.thoughts import ThoughtRules

    config = QuietSTaRConfig(model_path="m", output_path="o", max_thought_length=8, max_answer_tokens=8)
    loaded = extend(load_champion(str(DEMO), "cpu", "auto"), "<|startofthought|>", "<|endofthought|>")
    prompting = Prompting.of(config, loaded.tokenizer)
    rules = ThoughtRules(*prompting.thought_token_ids, frozenset(), 8, 8)
    bench = Bench(SimpleNamespace(context_length=None), prompting, rules, Stub())  # type: ignore[arg-type]
    asked = tuple(
        Question(id=f"q{k}", prompt=f"What is {k} + {k % 97}?", reference=str(k % 10), kind="number", task="sums")
        for k in range(questions)
    )
    if memory:
        tracemalloc.start()
    began = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        files = []
        for round_number in range(rounds):
            for first in range(0, questions, shard):
                scratch = Path(place) / f"{round_number}-{first}"
                scratch.mkdir()
                context = StageContext(config, {}, {}, {}, scratch)
                arms = evaluate_arms(context, bench, asked[first : first + shard], set(), round_number)
                files.append(scratch / "results.jsonl")
                write_parts_atomic(files[-1], (line for rows in arms.values() for line in rows.lines()))
        evaluated, held = time.process_time(), tracemalloc.get_traced_memory()[1]
        # What its rows were found by is of no use to the gate.
        del arms
        tracemalloc.reset_peak()
        outputs = {name: Path(place) / name for name in ("gate", "evaluation")}
        significance_gate(StageContext(config, {"results": tuple(files)}, {}, outputs, Path(place)))
    judged, most = time.process_time(), tracemalloc.get_traced_memory()[1]
    if memory:
        return {"evaluation MiB": held / 2**20, "gate MiB": most / 2**20}
    return {"evaluation seconds": evaluated - began, "gate seconds": judged - evaluated}


class Stub:
    """Samples at no cost: rows of a batch answer with the digits of their seeds."""

    backed_off_to = None
    shares = True

    def batches(self, requests: Sequence, batch_size: int) -> Iterator[list]:
        from agent_forge.models.sample import Sampled, plan_batches

        for batch in plan_batches(requests, batch_size):
            yield [
                Sampled(f" {(digit := requests[k].seed % 10)}", f"{digit}", f"{digit}", 2, 1, False, True)
                for k in batch
            ]


if __name__ == "__main__":
    sys.exit(main())
