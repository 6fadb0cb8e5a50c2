"""Measure how time and memory of every stage grow with questions and with rounds when the model costs nothing.

    OMP_NUM_THREADS=1 python bench/growth.py --most 100000

A stub says one of a few answers at once, so what is left is the work around the model: prompts, seeds, the log of
finished batches, grading, result rows, verdicts, pages. Every stage reads files that are made up, and runs in a process
of its own that does the same for a small base case first: printed are the processor seconds of the second time, by how
much the largest resident memory then exceeds what it was, in MiB, and the exponent b of a fit seconds = a n^b (least
squares of logarithms; 1 is linear). The base case has filled every cache, so what a larger case adds is what it holds.

    prepare-questions   reads one file of so many questions and splits them      (questions)
    evaluate-round      so many gate questions in three arms                     (questions, rounds)
    resume              the same over finished rows: counts and writes them      (questions, rounds)
    significance-gate   judges all cells' rows and writes them as one            (questions, rounds)
    collect-traces      two samples with and two without a thought               (questions)
    verify              so many verify questions in four arms                    (questions, rounds)
    report              the page of all that                                     (questions, rounds)
    tracking            what is tracked of all that                              (questions, rounds)

Not measured: the model itself, baking (which holds its training examples), and publishing.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

DEMO = Path(__file__).parents[1] / "agent_forge/demo/champion"
BASE = 2_500
SAMPLING = ("evaluate-round", "resume", "verify")
JUDGING = ("significance-gate", "report", "tracking")
STAGES = (
    "prepare-questions",
    "evaluate-round",
    "resume",
    "significance-gate",
    "collect-traces",
    "verify",
    *JUDGING[1:],
)
ROUNDS = (1, 2, 4, 8)
# Continues on what another stage has left.
SCRATCH = {"resume": "evaluate-round"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=10_000, help="questions of the largest point")
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--factor", type=float, default=4, help="from one point to the next")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--one", nargs=4, help="measure one point: stage place questions rounds")
    given = parser.parse_args()
    if given.one:
        stage, place, questions, rounds = given.one
        print(json.dumps(measure(stage, Path(place), int(questions), int(rounds))))
        return 0
    sizes = [round(given.most / given.factor**power) for power in reversed(range(given.points))]
    show("questions", sizes, [point(size, 1, given.stages) for size in sizes])
    # Several times the base case, whose prompts stay known and make the first rounds cheap.
    asked = max(given.most // 10, BASE)
    stages = [stage for stage in given.stages if stage in (*SAMPLING, *JUDGING)]
    show(f"rounds of {asked} questions", ROUNDS, [point(asked, count, stages) for count in ROUNDS if stages])
    return 0


def point(questions: int, rounds: int, stages: Sequence[str]) -> dict[str, list[float]]:
    """Return processor seconds and MiB of every stage."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="growth-") as place:
        for count, name in ((BASE, "base"), (questions, "case")):
            write_questions(Path(place) / name, count)
            if set(stages) & set(JUDGING):
                write_rows(Path(place) / name, count, rounds if name == "case" else 1)
        for stage in stages:
            command = [sys.executable, __file__, "--one", stage, place, str(questions), str(rounds)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[stage] = json.loads(done.stdout)
            print(f"{stage}, {questions} questions, {rounds} rounds: {found[stage]}", file=sys.stderr, flush=True)
    return found


def show(what: str, sizes: Sequence[int], points: Sequence[dict[str, list[float]]]) -> None:
    """Print a line for every stage."""
    for stage in points[0] if points else ():
        seconds, memory = zip(*(found[stage] for found in points), strict=True)
        exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0] if len(sizes) > 1 else float("nan")
        listed = ", ".join(f"{n}: {s:.3g} s {m:.1f} MiB" for n, s, m in zip(sizes, seconds, memory, strict=True))
        print(f"{stage} by {what}: {listed}; exponent of time {exponent:.2f}")


def write_questions(place: Path, count: int) -> None:
    """Write the file that prepare-questions reads, and the splits that other stages read, line after line."""
    from agent_forge.records import Question, SplitReport, json_line
    from agent_forge.storage.files import write_atomic, write_parts_atomic

    def questions(name: str, number: int, words: str) -> Iterator[str]:
        for k in range(number):
            prompt = words.format(k, k % 97)
            yield json_line(Question(id=f"{name}{k}", prompt=prompt, reference=f"{k % 2}", kind="number", task="sums"))

    long = "Case {0}: Ann has {0} pens and Bo has {1} more than {0}. How many are {0} and those of Bo?"
    write_parts_atomic(place / "source.jsonl", questions("s", count, long))
    # A stage that looks at other splits as well shall not be measured by those.
    for of in ("gate", "bake", "verify", "all"):
        for split in ("gate", "bake", "verify"):
            number = count if of in (split, "all") else 16
            write_parts_atomic(place / of / f"{split}.jsonl", questions(split, number, "What is {0} + {1}?"))
        counts = {"bake": count, "gate": count, "verify": count}
        report = SplitReport(
            counts=counts,
            per_task={"sums": counts},
            guard_tasks=(),
            digests={},
            available={},
            dropped=(),
            duplicates_removed=0,
            sources={},
        )
        write_atomic(place / of / "splits.json", report.model_dump_json())


def write_rows(place: Path, count: int, rounds: int) -> None:
    """Write what is judged and reported, and the judgements."""
    from agent_forge.comparison import Criteria
    from agent_forge.gate import judge
    from agent_forge.records import ResultRow, json_line
    from agent_forge.storage.files import write_atomic, write_parts_atomic
    from agent_forge.storage.row_files import RowsOnDisk
    from agent_forge.verification import verify

    def rows(split: str, number: int, arms: Sequence[str]) -> Iterator[str]:
        for arm in arms:
            for k in range(count):
                said = hash((arm, k, number)) % 1000
                fields = {"question_id": f"{split}{k}", "round": number, "arm": arm, "seed": said, "tokens": 2}
                fields |= {
                    "correct": said % 2,
                    "completion": f" {said}",
                    "thought_tokens": 1,
                    "thought": f"step {said}",
                }
                yield json_line(ResultRow.model_validate(fields))

    limits = {"alpha": 0.05, "min_improvement": 0.02, "non_inferiority_margin": 0.05, "power": 0.8}
    numbers = range(rounds)
    for number in numbers:
        write_parts_atomic(place / f"results-{number}.jsonl", rows("gate", number, ("baseline", "thought", "pause")))
    cells = RowsOnDisk(tuple(place / f"results-{number}.jsonl" for number in numbers))
    write_parts_atomic(place / "evaluation.jsonl", map(json_line, cells))
    write_atomic(place / "gate.json", judge(cells, **limits).model_dump_json())
    arms = ("baseline", "thought", "baked", "swapped")
    verified = place / "verified.jsonl"
    write_parts_atomic(verified, (line for number in numbers for line in rows("verify", number, arms)))
    report = verify(RowsOnDisk((verified,)), Criteria(**limits), 0.9)
    write_atomic(place / "verification.json", report.model_dump_json())


def measure(stage: str, place: Path, questions: int, rounds: int) -> tuple[float, float]:
    """Return processor seconds of a stage and growth of the largest resident memory over the base case, in MiB."""
    run = prepared(stage)
    run(place / "base", BASE, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    run(place / "case", questions, rounds)
    spent = time.process_time() - began
    return spent, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def prepared(stage: str) -> Callable[[Path, int, int], None]:
    """Return what runs a stage in a place."""
    # Here, so that the process that only starts others stays small.
    from agent_forge.config import QuietSTaRConfig
    from agent_forge.stages.context import StageContext
    from agent_forge.stages.prepare_questions import prepare_questions
    from agent_forge.stages.significance_gate import significance_gate

    config = QuietSTaRConfig(model_path="m", output_path="o", max_thought_length=8, max_answer_tokens=8)

    open_bench = opened() if stage in (*SAMPLING, "collect-traces") else None

    def context(place: Path, outputs: dict[str, str], results: Sequence[Path] = (), **changes: Any) -> StageContext:
        scratch = place / f"scratch-{SCRATCH.get(stage, stage)}"
        scratch.mkdir(exist_ok=True)
        asked = place / {"collect-traces": "bake", "verify": "verify"}.get(stage, "gate")
        inputs = {"questions": (asked,), "extended": (DEMO,), "baked": (DEMO,), "results": tuple(results)}
        parameters = {"cell": changes.pop("cell", "0-0"), "shard": "0"}
        written = {name: place / file for name, file in outputs.items()}
        return StageContext(config.model_copy(update=changes), inputs, parameters, written, scratch)

    def cells(place: Path, rounds: int) -> list[Path]:
        return [place / f"results-{number}.jsonl" for number in range(rounds)]

    def prepare(place: Path, questions: int, _: int) -> None:
        changes = {"eval_dataset": [str(place / "source.jsonl")], "eval_samples": questions // 8}
        prepare_questions(context(place, {"questions": "prepared"}, **changes))

    def evaluate(place: Path, _: int, rounds: int) -> None:
        from agent_forge.stages import evaluate_round

        evaluate_round.open_bench = open_bench
        for number in range(rounds):
            outputs = {"results": f"{stage}-{number}.jsonl"}
            evaluate_round.evaluate_round(context(place, outputs, cell=f"{number}-0"))

    def judge(place: Path, _: int, rounds: int) -> None:
        significance_gate(context(place, {"gate": "gate.json", "evaluation": "evaluation.jsonl"}, cells(place, rounds)))

    def collect(place: Path, _: int, __: int) -> None:
        from agent_forge.stages import collect_traces

        collect_traces.open_bench = open_bench
        collect_traces.collect_traces(context(place, {"traces": "traces"}, trace_samples=2))

    def verify(place: Path, _: int, rounds: int) -> None:
        from agent_forge.stages import verify_stage

        verify_stage.open_bench = open_bench
        outputs = {"verification": "checked.json", "verification_results": "checked.jsonl"}
        verify_stage.verify_stage(context(place, outputs, ab_test_rounds=rounds))

    def artifacts(place: Path) -> dict[str, list[Path]]:
        files = {
            "questions": "all",
            "gate": "gate.json",
            "evaluation": "evaluation.jsonl",
            "verification": "verification.json",
            "verification_results": "verified.jsonl",
        }
        return {name: [place / file] for name, file in files.items()}

    def report(place: Path, _: int, __: int) -> None:
        from agent_forge.report.gathering import gather
        from agent_forge.report.page import render

        (place / "report.html").write_text(render(gather(artifacts(place), title="growth")))

    def track(place: Path, _: int, rounds: int) -> None:
        from agent_forge.stage_figures import figures_of

        for cell in cells(place, rounds):
            figures_of("evaluate-round/0-0", {"results": [cell]})
        for stage in ("significance-gate", "verify"):
            figures_of(stage, artifacts(place))

    return {
        "prepare-questions": prepare,
        "evaluate-round": evaluate,
        "resume": evaluate,
        "significance-gate": judge,
        "collect-traces": collect,
        "verify": verify,
        "report": report,
        "tracking": track,
    }[stage]


def opened() -> Callable[..., Any]:
    """Return what stands for opening a model."""
    from agent_forge.models.extend import extend
    from agent_forge.models.load import load_champion
    from agent_forge.models.prompting import Prompting
    from agent_forge.stages.bench import Bench
    from agent_forge.thoughts import ThoughtRules

    loaded = extend(load_champion(str(DEMO), "cpu", "auto"), "<|startofthought|>", "<|endofthought|>")

    def open_bench(context: Any, *_: Any, **__: Any) -> Bench:
        prompting = Prompting.of(context.config, loaded.tokenizer)
        rules = ThoughtRules(*prompting.thought_token_ids, frozenset(), 8, 8)
        return Bench(SimpleNamespace(context_length=1024), prompting, rules, Stub())  # type: ignore[arg-type]

    return open_bench


class Stub:
    """Samples at no cost: a row says whether its seed is even, so every second answer is right."""

    backed_off_to = None
    shares = True

    def room_for(self, request: Any) -> int:
        return int(request.length) + 16

    def batches(self, requests: Sequence, batch_size: int) -> Iterator[list]:
        from agent_forge.models.sample import Sampled, plan_batches

        for batch in plan_batches(requests, batch_size):
            seeds = [requests[k].seed for k in batch]
            yield [Sampled(f" {s % 2}", f"step {s}", f"step {s}: {s % 2}", 2, 1, False, True) for s in seeds]


if __name__ == "__main__":
    sys.exit(main())
