"""A finished run's files without a run: the report's sample facts, written where stages write them."""

from pathlib import Path

from sample_run import LIMITS

from agent_forge.evolution_records import (
    BaseModelRecord,
    Candidate,
    EvolutionReport,
    EvolutionRun,
    GenerationRecord,
    Score,
)
from agent_forge.gate import judge
from agent_forge.records import Cost, Record, RunRecord, rows_text
from agent_forge.report.facts import RunFacts
from agent_forge.run_directory import RunDirectory
from agent_forge.stages.context import ARTIFACT_FILES, StageOutcome
from agent_forge.storage.files import write_atomic
from agent_forge.storage.question_files import write_questions

GATED = ("resolve-champion", "prepare-questions", "load-and-extend", "evaluate-round/0-0", "significance-gate")
COST = Cost(seconds=0.1)
BAKED = (*GATED, "collect-traces/0", "bake", "verify", "push-artifact")


def small(facts: RunFacts, count: int = 30) -> RunFacts:
    """The same facts about few of the questions."""
    asked = {row.question_id: None for row in facts.gate_rows}
    unseen = {row.question_id: None for row in facts.verify_rows}
    kept = {*list(asked)[:count], *list(unseen)[:count]}
    rows = tuple(row for row in facts.gate_rows if row.question_id in kept)
    return facts.model_copy(
        update={
            "gate_rows": rows,
            "verify_rows": tuple(row for row in facts.verify_rows if row.question_id in kept),
            "questions": {name: question for name, question in facts.questions.items() if name in kept},
            "gate": judge(rows, **LIMITS),
        }
    )


def write_run(root: Path, facts: RunFacts, places: tuple[str, ...], key: str = "k") -> Path:
    """Write the stages of a run, or some of them, as a local run does; those that are there stay as they are."""
    directory = RunDirectory(root)
    for place in places:
        if directory.receipt(place, key) is None:
            write_stage(directory, facts, place, key)
    config = {name: value for section in facts.config.values() for name, value in section.items()}
    directory.write_run(RunRecord(champion=facts.champion, config=config, stages=places))
    return root


def write_stage(directory: RunDirectory, facts: RunFacts, place: str, key: str) -> None:
    stage = place.split("/")[0]
    out = directory.begin(place, key) / "out"
    writers[stage](out, facts)
    parameters = {}
    if stage == "push-artifact":
        model = directory.root / "baked/model"
        write_atomic(model / "model.safetensors", "weights")
        parameters = {"model_path": str(model)}
    outcome = StageOutcome(cost=facts.costs.get(stage, COST), parameters=parameters)
    directory.finish(place, key, {}, outcome)


def write_record(out: Path, name: str, record: Record) -> None:
    write_atomic(out / ARTIFACT_FILES.get(name, name), record.model_dump_json())


def questions(out: Path, facts: RunFacts) -> None:
    asked = {row.question_id for row in facts.gate_rows}
    gate = tuple(question for question in facts.questions.values() if question.id in asked)
    rest = tuple(question for question in facts.questions.values() if question.id not in asked)
    write_questions(out / "questions", {"bake": (), "gate": gate, "verify": rest}, facts.splits)


def gate(out: Path, facts: RunFacts) -> None:
    write_record(out, "gate", facts.gate)
    write_atomic(out / "evaluation.jsonl", rows_text(facts.gate_rows))


def bake(out: Path, facts: RunFacts) -> None:
    write_record(out, "bake_report", facts.bake)
    write_record(out / "trace_set", "report.json", facts.traces)
    write_atomic(out / "baked/model.safetensors", "weights")


def verify(out: Path, facts: RunFacts) -> None:
    write_record(out, "verification", facts.verification)
    write_atomic(out / "results.jsonl", rows_text(facts.verify_rows))


writers = {
    "resolve-champion": lambda out, facts: write_record(out, "champion", facts.champion),
    "prepare-questions": questions,
    "load-and-extend": lambda out, facts: write_record(out, "extension", facts.extension),
    "evaluate-round": lambda out, facts: write_atomic(out / "results.jsonl", rows_text(facts.gate_rows[:9])),
    "significance-gate": gate,
    "collect-traces": lambda out, facts: write_record(out / "traces", "report.json", facts.traces),
    "bake": bake,
    "verify": verify,
    "push-artifact": lambda out, facts: write_record(out, "manifest", facts.manifest),
    "keep-champion": lambda out, facts: write_atomic(out / "decision.json", "{}"),
}


def evolution_files(root, ended, key):
    """Write what an evolution of two generations leaves, or has left so far; a key stands in its settings."""

    def candidate(name, score, number):
        found = Score(key="k", recipe_sha256=name, split="evolve", score=score)
        return Candidate(
            name=name,
            generation=number,
            base_model=number == 0,
            recipe={"method": "linear"},
            recipe_sha256=name,
            evolve=found,
            select=found,
        )

    scores = {"hf://a@1": 0.25, "b": 0.5, "merge 1.1": 0.75, "merge 1.2": None}
    ones = [candidate(name, score, int(name.startswith("merge"))) for name, score in scores.items()]
    generations = [
        GenerationRecord(number=0, candidates=ones[:2], best=0.5, mean=0.375, best_so_far=0.5, new=2),
        GenerationRecord(number=1, candidates=ones[2:], best=0.75, mean=0.75, best_so_far=0.75, new=2),
    ]
    models = [BaseModelRecord(name=name, uri=f"hf://x/{name}", digest=name) for name in ("hf://a@1", "b")]
    run = EvolutionRun(evolution_id="e" * 64, base_models=models, config={"token": key, "gens": 1})
    write_atomic(root / "evolution-run.json", run.model_dump_json())
    for generation in generations[: 2 if ended else 1]:
        write_atomic(root / f"generations/{generation.number:04d}.json", generation.model_dump_json())
    if ended:
        report = EvolutionReport(
            evolution_id="e" * 64,
            champion_digest="c" * 64,
            winner=ones[2],
            base_models=ones[:2],
            elites=ones[2:3],
            best_base_model="b",
            gain=None,
            fitness_arm="baseline",
            fitness_aggregate="mean",
            generations=generations,
            questions={},
            model_path=str(root / "best_model"),
            manifest_path="s3://store/champions/c/manifest.json",
        )
        write_atomic(root / "evolution.json", report.model_dump_json())
    return root
