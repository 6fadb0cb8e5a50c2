"""Made-up runs, judged by the real gate and the real verification: one for every way a run can end.

    published  rejected  kept  undecided  harmed  minimal

`python tests/report/sample_run.py DIR` writes the report of each.
"""

import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent_forge.comparison import Criteria
from agent_forge.config import build_config, grouped
from agent_forge.gate import judge
from agent_forge.questions.arithmetic import generate, worked_steps
from agent_forge.records import (
    Arm,
    BakeReport,
    ChampionRecord,
    CodeRecord,
    Cost,
    ExtensionRecord,
    FileRecord,
    LossPoint,
    Manifest,
    Question,
    ResultRow,
    RunResults,
    SplitReport,
    TaskRole,
    TraceReport,
    text_sha256,
)
from agent_forge.report.facts import RunFacts
from agent_forge.report.page import render
from agent_forge.storage.manifest import bake_id_of
from agent_forge.verification import verify

ROUNDS = 3
ALPHA = 0.05
LIMITS = {"alpha": ALPHA, "min_improvement": 0.02, "non_inferiority_margin": 0.05, "power": 0.8}
STORY = (
    "In the {task} stall a baker sells loaves at {a} dollars each. On Monday she sells {b} loaves, "
    "on Tuesday twice as many, and on Wednesday {c} fewer than on Tuesday. "
    "How many dollars does she take in over the three days?"
)


def word_problems(count: int, seed: int, task: str) -> list[Question]:
    source = random.Random(seed)
    problems = []
    for _ in range(count):
        a, b, c = source.randint(2, 9), source.randint(5, 40), source.randint(1, 5)
        prompt = STORY.format(task=task, a=a, b=b, c=c)
        reference = str(a * (5 * b - c))
        problems.append(
            Question(id=text_sha256(prompt)[:16], prompt=prompt, reference=reference, kind="number", task=task)
        )
    return list({problem.id: problem for problem in problems}.values())


def thought_of(question: Question) -> str:
    if question.task == "arithmetic":
        return worked_steps(question.prompt)
    return "Add up the loaves of the three days first, then multiply by the price of one loaf."


def simulate(
    questions: Sequence[Question],
    rates: Mapping[Arm, float],
    seed: int,
    role: TaskRole = "target",
    rounds: int = ROUNDS,
) -> list[ResultRow]:
    """Answer every question in every round and arm; how hard a question is holds for all of its rounds."""
    source = random.Random(seed)
    rows = []
    for question in questions:
        ease = source.gauss(0, 0.12)
        for number in range(rounds):
            for arm, rate in rates.items():
                correct = source.random() < min(max(rate + ease * (0.02 < rate < 0.98), 0), 1)
                rows.append(_row(question, number, arm, correct, role, source))
    return rows


def _row(question: Question, number: int, arm: Arm, correct: bool, role: TaskRole, source: random.Random) -> ResultRow:
    answer = question.reference if correct else str(int(question.reference) + source.choice((-3, -2, -1, 1, 2, 3)))
    thinks = arm in ("thought", "baked", "swapped")
    thought = thought_of(question) if thinks else ""
    thought_tokens = len(thought) // 2 + source.randint(0, 6) if thinks else (24 if arm == "pause" else 0)
    return ResultRow(
        question_id=question.id,
        round=number,
        arm=arm,
        seed=source.getrandbits(40),
        correct=correct,
        extracted=answer,
        completion=f" {answer}" if question.task == "arithmetic" else f"She takes in {answer} dollars.",
        tokens=thought_tokens * thinks + 2,
        thought_tokens=thought_tokens,
        task=question.task,
        role=role,
        thought=thought,
    )


def published() -> RunFacts:
    """One task; thinking helps greatly, and so does the bake."""
    facts = _baked({"baseline": 0.14, "thought": 0.97, "baked": 0.96, "swapped": 0.13})
    manifest = _manifest(facts)
    results = _results(facts, published=True).model_copy(update={"bake_id": manifest.bake_id})
    return facts.model_copy(update={"results": results, "manifest": manifest, "champion": manifest.champion})


def rejected() -> RunFacts:
    """The gate said bake, but the thoughts of the baked model are decoration and it often does not close them."""
    facts = _baked({"baseline": 0.14, "thought": 0.97, "baked": 0.55, "swapped": 0.55}, sloppy=0.3)
    return facts.model_copy(update={"results": _results(facts)})


def kept() -> RunFacts:
    """Thinking changes nothing worth having."""
    return _judged({"baseline": 0.14, "thought": 0.125, "pause": 0.13}, count=400)


def undecided() -> RunFacts:
    """Two targets and a guard, too few questions, and three rounds that are one."""
    config = {"eval_dataset": ["arithmetic", "bakery"], "guard_datasets": ["trivia"], "temperature": 0.0}
    questions = [*generate(60, 5), *word_problems(60, 6, "bakery")]
    guards = word_problems(40, 7, "trivia")
    once = simulate(questions, {"baseline": 0.5, "thought": 0.58, "pause": 0.5}, 8, rounds=1)
    once += simulate(guards, {"baseline": 0.7, "thought": 0.7, "pause": 0.7}, 9, role="guard", rounds=1)
    rows = [row.model_copy(update={"round": number}) for number in range(ROUNDS) for row in once]
    return _facts("two-tasks-and-a-guard", [*questions, *guards], rows, config)


def harmed() -> RunFacts:
    """Thinking helps on the target but harms the guard."""
    questions, guards = generate(150, 11), word_problems(150, 12, "trivia")
    rows = simulate(questions, {"baseline": 0.3, "thought": 0.6, "pause": 0.31}, 13)
    rows += simulate(guards, {"baseline": 0.8, "thought": 0.5, "pause": 0.79}, 14, role="guard")
    return _facts("helps-here-harms-there", [*questions, *guards], rows, {"guard_datasets": ["trivia"]})


def minimal() -> RunFacts:
    """Nothing but a name."""
    return RunFacts(title="just-started")


RUNS = {
    "published": published,
    "rejected": rejected,
    "kept": kept,
    "undecided": undecided,
    "harmed": harmed,
    "minimal": minimal,
}


def _judged(rates: Mapping[Arm, float], count: int) -> RunFacts:
    questions = generate(count, 1)
    return _facts("chained-arithmetic-0.6M", questions, simulate(questions, rates, 2), {})


def _facts(
    title: str, questions: Sequence[Question], rows: Sequence[ResultRow], config: Mapping[str, object]
) -> RunFacts:
    gate = judge(rows, **LIMITS)
    given = {"model_path": f"./{title}", "output_path": "runs/sample", "eval_dataset": ["arithmetic"], **config}
    facts = RunFacts(
        title=title,
        config=grouped(build_config(given)),
        champion=_champion(title),
        extension=_extension(),
        splits=_splits(questions),
        gate=gate,
        gate_rows=tuple(rows),
        questions={question.id: question for question in questions},
        costs={
            "resolve-champion": Cost(seconds=0.4, peak_memory_bytes=310 << 20),
            "prepare-questions": Cost(seconds=2.1, questions=1200, peak_memory_bytes=320 << 20),
            "load-and-extend": Cost(seconds=1.6, peak_memory_bytes=420 << 20),
            "evaluate-round": Cost(seconds=127.3, tokens=88_214, questions=len(questions), peak_memory_bytes=611 << 20),
            "significance-gate": Cost(seconds=0.2, questions=len(questions), peak_memory_bytes=320 << 20),
        },
    )
    return facts.model_copy(update={"results": _results(facts)})


def _baked(rates: Mapping[Arm, float], sloppy: float = 0.0) -> RunFacts:
    facts = _judged({"baseline": 0.14, "thought": 0.97, "pause": 0.15}, count=200)
    unseen = generate(400, 3)[200:]
    source = random.Random(4)
    rows = [
        row.model_copy(update={"well_formed": row.arm != "baked" or source.random() >= sloppy})
        for row in simulate(unseen, rates, 5)
    ]
    verification = verify(rows, Criteria(**LIMITS), min_well_formed_rate=0.9)
    costs = {
        "collect-traces": Cost(seconds=96.0, tokens=143_220, questions=800, peak_memory_bytes=640 << 20),
        "bake": Cost(seconds=141.5, tokens=912_004, peak_memory_bytes=880 << 20),
        "verify": Cost(seconds=133.0, tokens=91_730, questions=200, peak_memory_bytes=655 << 20),
        "push-artifact": Cost(seconds=0.9, peak_memory_bytes=330 << 20),
    }
    return facts.model_copy(
        update={
            "questions": {**facts.questions, **{question.id: question for question in unseen}},
            "traces": _traces(),
            "bake": _bake(),
            "verification": verification,
            "verify_rows": tuple(rows),
            "costs": {**facts.costs, **costs},
        }
    )


def _champion(title: str) -> ChampionRecord:
    return ChampionRecord(
        reference=f"./{title}",
        uri=f"file:///models/{title}",
        path=f"/models/{title}",
        digest=text_sha256("champion"),
        bake_id=text_sha256("bake id"),
    )


def _extension() -> ExtensionRecord:
    return ExtensionRecord(
        architecture="LlamaForCausalLM",
        parameters=598_272,
        dtype="float32",
        old_vocabulary=64,
        new_vocabulary=66,
        start_thought_id=64,
        end_thought_id=65,
        recognised=False,
        tied_embeddings=True,
        largest_logit_change=4.77e-07,
        context_length=256,
    )


def _splits(questions: Sequence[Question]) -> SplitReport:
    tasks = sorted({question.task for question in questions})
    per_task = {task: {"bake": 800, "gate": sum(q.task == task for q in questions), "verify": 200} for task in tasks}
    return SplitReport.model_validate(
        {
            "counts": {
                split: sum(counts[split] for counts in per_task.values()) for split in ("bake", "gate", "verify")
            },
            "per_task": per_task,
            "guard_tasks": ["trivia"] if "trivia" in tasks else [],
            "digests": {split: text_sha256(split) for split in ("bake", "gate", "verify")},
            "available": {task: {"bake": 3000, "gate": 1500, "verify": 1500} for task in tasks},
            "dropped": [
                {
                    "question_id": text_sha256("dropped")[:16],
                    "split": "bake",
                    "leaks_into": "verify",
                    "shared": "3 4 2 9 1 5 mod 10",
                }
            ],
            "duplicates_removed": 2,
            "sources": {task: f"generated, seed 0, {task}" for task in tasks},
            "parts": {task: [{"name": "generated", "questions": 6000, "use": "judged on"}] for task in tasks},
            "excluded": [
                {
                    "source": "corpora/merge-data.jsonl.gz",
                    "sha256": text_sha256("corpus"),
                    "dropped": {"bake": 12, "gate": 3, "verify": 0},
                }
            ],
            "twins": [
                {"split": split, "twin_in": other, "questions": 800, "count": count}
                for split, other, count in (("bake", "gate", 41), ("bake", "verify", 17), ("gate", "verify", 0))
            ],
            "twin_examples": [
                {
                    "question_id": questions[0].id,
                    "split": "bake",
                    "twin_in": "gate",
                    "twin_id": questions[1].id,
                    "template": "0 + 0 - 0 mod 0",
                }
            ],
            "giveaways": [
                {"task": task, "questions": 1200, "count": 31, "rate": 31 / 1200, "examples": [questions[0].id]}
                for task in tasks
            ],
        }
    )


def _traces() -> TraceReport:
    source = random.Random(6)
    kept = 1390
    rejected = {"surplus": 1391, "incorrect": 214, "duplicate": 170, "malformed": 22, "false_arithmetic": 13}
    return TraceReport(
        questions=800,
        samples=kept + sum(rejected.values()),
        kept=kept,
        questions_kept=781,
        replay=139,
        rejected=rejected,
        thought_lengths=tuple(min(64, max(8, round(source.gauss(31, 5)))) for _ in range(kept)),
        solve_rates=tuple(source.choice((0.0, 0.5, 0.75, 1.0, 1.0, 1.0)) for _ in range(800)),
    )


def _bake() -> BakeReport:
    source = random.Random(7)
    curve = [LossPoint(step=0, tokens=0, learning_rate=0.0, heldout_loss=2.31)]
    for step in range(1, 321):
        floor = 0.11 + 2.1 * 0.97**step
        curve.append(
            LossPoint(
                step=step,
                tokens=step * 1850,
                learning_rate=3e-3 * min(step / 16, 1) * (1 - step / 400),
                loss=floor * source.uniform(0.85, 1.2),
                heldout_loss=floor + 0.02 + max(0, step - 250) * 0.0006 if step % 25 == 0 else None,
            )
        )
    return BakeReport(
        method="lora",
        examples=1529,
        heldout_examples=139,
        replay_examples=139,
        steps=320,
        planned_steps=400,
        best_step=250,
        stopped_early=True,
        trainable_parameters=86_528,
        total_parameters=684_800,
        packing_efficiency=0.964,
        first_heldout_loss=2.31,
        best_heldout_loss=0.131,
        curve=tuple(curve),
    )


def _results(facts: RunFacts, published: bool = False) -> RunResults:
    gate, verification = facts.gate, facts.verification
    assert gate is not None
    return RunResults(
        winner="thought" if published else "baseline",
        verdict=gate.verdict,
        verification=verification.verdict if verification else None,
        published=published,
        reason=verification.reason if verification else gate.reason,
        improvement=100 * gate.difference / gate.baseline_accuracy,
        baseline_accuracy=gate.baseline_accuracy,
        thought_accuracy=gate.thought_accuracy,
        baked_accuracy=verification.baked_accuracy if verification else None,
        p_value=gate.p_value,
        bake_id=text_sha256("bake id"),
        champion_digest=text_sha256("champion"),
        model_path="runs/sample/published",
        manifest_path="runs/sample/published/manifest.json" if published else None,
        report_path="runs/sample/report.html",
        run_dir="runs/sample",
    )


def _manifest(facts: RunFacts) -> Manifest:
    assert facts.champion and facts.splits and facts.gate and facts.bake and facts.verification
    config = {name: value for section in facts.config.values() for name, value in section.items()}
    bake_id = bake_id_of(facts.champion.digest, config, facts.splits.digests, text_sha256("code"))
    return Manifest(
        bake_id=bake_id,
        champion=facts.champion.model_copy(update={"bake_id": bake_id}),
        config=config,
        code=CodeRecord(version="0.1.0", source_sha256=text_sha256("code"), commit="0" * 40, dirty=False),
        image=None,
        packages={"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.0"},
        hardware={"machine": "x86_64", "cores": "2", "device": "cpu"},
        question_digests=facts.splits.digests,
        gate=facts.gate,
        traces_sha256=text_sha256("traces"),
        bake=facts.bake,
        verification=facts.verification,
        files=tuple(
            FileRecord(path=path, sha256=text_sha256(path), size=size)
            for path, size in (("config.json", 702), ("model.safetensors", 2_394_184), ("tokenizer.json", 4_410))
        ),
        created_at="2026-01-31T12:00:00Z",
    )


if __name__ == "__main__":
    for name, run in RUNS.items():
        (Path(sys.argv[1]) / f"{name}.html").write_text(render(run()), encoding="utf-8")
