"""From the files of finished stages to what is tracked of them.

    figures_of("significance-gate", {"gate": [Path("gate.json")], "evaluation": [Path("evaluation.jsonl")]})

Nothing is computed here that a report does not say as well: one more place to read it, not one more opinion.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agent_forge.questions.on_disk import QuestionsById
from agent_forge.records import (
    Arm,
    BakeReport,
    Cost,
    ExtensionRecord,
    GateReport,
    Manifest,
    ResultRow,
    SplitName,
    TaskComparison,
    TraceReport,
    VerificationReport,
    read_record,
)
from agent_forge.report.flips import FlipExample, choose_flips
from agent_forge.report.measures import measure
from agent_forge.storage.question_files import read_split, read_split_report
from agent_forge.storage.row_files import RowsOnDisk
from agent_forge.tracking.protocol import Histogram, PublishedModel, Series, StageFigures, Table

Artifacts = Mapping[str, Sequence[Path]]
# Of gained and of lost questions: enough to look at, whatever the size of the gate.
FLIPS_SHOWN = 100
_BINS = 20


def figures_of(place: str, artifacts: Artifacts, cost: Cost | None = None, model_uri: str = "") -> StageFigures:
    """Return what is tracked of a finished stage.

    Args:
        place: `<stage>` or `<stage>/<instance>`.
        artifacts: name -> files or directories: what the stage wrote, and the questions.
        cost: what it spent, if that is known.
        model_uri: where a published model is.

    Raises:
        InputError: when a record cannot be read.
    """
    stage = place.split("/")[0]
    told = READERS[stage](artifacts) if stage in READERS else StageFigures(place=place)
    if stage == "push-artifact":
        told = _publication(artifacts["manifest"][0], model_uri)
    spent = {} if cost is None else {f"cost/{stage}/{name}": float(value) for name, value in cost.model_dump().items()}
    return told.model_copy(update={"place": place, "figures": {**told.figures, **spent}})


def _questions(artifacts: Artifacts) -> StageFigures:
    report = read_split_report(artifacts["questions"][0])
    figures: dict[str, float] = {f"questions/{split}": count for split, count in report.counts.items()}
    return StageFigures(place="", figures={**figures, "questions/dropped": len(report.dropped)})


def _extension(artifacts: Artifacts) -> StageFigures:
    found = read_record(ExtensionRecord, artifacts["extension"][0])
    figures = {"model/parameters": found.parameters, "model/largest_logit_change": found.largest_logit_change}
    return StageFigures(place="", figures=figures, texts={"model/architecture": found.architecture})


def _cell(artifacts: Artifacts) -> StageFigures:
    """Show how far the evaluation is; per round and arm it is the gate that says."""
    rows = RowsOnDisk(tuple(artifacts["results"][:1]))
    accuracies = {f"cell/{arm}_accuracy": value for (_, arm), value in _accuracies(rows).items()}
    return StageFigures(place="", series=(Series(axis="cell/round", points=((next(iter(rows)).round, accuracies),)),))


def _gate(artifacts: Artifacts) -> StageFigures:
    report = read_record(GateReport, artifacts["gate"][0])
    rows = RowsOnDisk(tuple(artifacts["evaluation"][:1]))
    rounds: dict[int, dict[str, float]] = {}
    for (number, arm), value in sorted(_accuracies(rows).items()):
        rounds.setdefault(number, {})[f"reasoning_accuracy/{arm}"] = value
    return StageFigures(
        place="",
        figures=_figures("gate", report),
        texts={"gate/verdict": report.verdict, "gate/reason": report.reason},
        series=(Series(axis="round", points=tuple(rounds.items())),),
        tables={
            "gate/flips": _flips(rows, report.alpha, artifacts, "baseline", "thought"),
            "gate/per_task": _per_task(report.per_task),
        },
    )


def _shard(artifacts: Artifacts) -> StageFigures:
    report = read_record(TraceReport, artifacts["traces"][0] / "report.json")
    return StageFigures(place="", figures={"traces/shard_kept": report.kept, "traces/shard_samples": report.samples})


def _bake(artifacts: Artifacts) -> StageFigures:
    report = read_record(BakeReport, artifacts["bake_report"][0])
    traces = read_record(TraceReport, artifacts["trace_set"][0] / "report.json")
    points = []
    for point in report.curve:
        told = {"loss": point.loss, "heldout_loss": point.heldout_loss, "learning_rate": point.learning_rate}
        points.append((point.step, {f"bake/{name}": value for name, value in told.items() if value is not None}))
    figures = {f"traces/{name}": getattr(traces, name) for name in ("questions", "samples", "kept", "replay")}
    figures |= {f"traces/rejected/{reason}": count for reason, count in traces.rejected.items()}
    return StageFigures(
        place="",
        figures={**_figures("bake", report), **figures},
        series=(Series(axis="bake/step", points=tuple(points)),),
        histograms={
            "trace_quality": _histogram(traces.solve_rates, (0.0, 1.0)),
            "trace_thought_length": _histogram(traces.thought_lengths),
        },
    )


def _verify(artifacts: Artifacts) -> StageFigures:
    report = read_record(VerificationReport, artifacts["verification"][0])
    rows = RowsOnDisk(tuple(artifacts["verification_results"][:1]))
    texts = {"verify/verdict": report.verdict, "verify/reason": report.reason}
    return StageFigures(
        place="",
        figures=_figures("verify", report),
        texts={**texts, "verify/failed_checks": ", ".join(report.failed_checks)},
        tables={
            "verify/flips": _flips(rows, report.alpha, artifacts, "baseline", "baked"),
            "verify/per_task": _per_task(report.per_task),
        },
    )


def _publication(path: Path, uri: str) -> StageFigures:
    """Describe the published model; that there is a manifest is what makes it one."""
    manifest = read_record(Manifest, path)
    about = {
        "bake_id": manifest.bake_id,
        "champion": manifest.champion.uri,
        "champion_digest": manifest.champion.digest,
        "code": manifest.code.source_sha256,
    }
    if "://" not in uri:
        uri = Path(uri).resolve().as_uri()
    aliases = ("latest", "published", manifest.bake_id[:12])
    model = PublishedModel(uri=uri, metadata=about, manifest=path, aliases=aliases)
    return StageFigures(place="", model=model, texts={"published": uri})


READERS: dict[str, Callable[[Artifacts], StageFigures]] = {
    "prepare-questions": _questions,
    "load-and-extend": _extension,
    "evaluate-round": _cell,
    "significance-gate": _gate,
    "collect-traces": _shard,
    "bake": _bake,
    "verify": _verify,
}


def _accuracies(rows: Iterable[ResultRow]) -> dict[tuple[int, Arm], float]:
    """Return the accuracy of every round and arm on the target questions."""
    right: Counter[tuple[int, Arm]] = Counter()
    asked: Counter[tuple[int, Arm]] = Counter()
    for row in rows:
        if row.role == "target":
            right[row.round, row.arm] += row.correct
            asked[row.round, row.arm] += 1
    return {key: right[key] / count for key, count in asked.items()}


def _figures(prefix: str, report: GateReport | BakeReport | VerificationReport) -> dict[str, float]:
    """Return every number of a report by name; intervals and flips are flattened."""
    found: dict[str, float] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                add(f"{name}/{key}", item)
        elif isinstance(value, bool | int | float):
            found[name] = float(value)

    for name, value in report.model_dump(exclude={"schema_version", "confidence_interval"}).items():
        add(f"{prefix}/{name}", value)
    if not isinstance(report, BakeReport):
        found[f"{prefix}/confidence_low"], found[f"{prefix}/confidence_high"] = report.confidence_interval
    return found


def _flips(rows: RowsOnDisk, alpha: float, artifacts: Artifacts, before: Arm, after: Arm) -> Table:
    """Return the questions that changed, largest change first, as the report chooses them."""
    splits: tuple[SplitName, ...] = ("gate", "verify")
    questions = QuestionsById(*(read_split(artifacts["questions"][0], split) for split in splits))
    shown = (before, after)
    measures = measure(replace(rows, arms=shown), shown, alpha)
    flipped = choose_flips(measures, questions, before, after, shown, FLIPS_SHOWN)
    table = [_flip("gained", example) for example in flipped.gained_examples]
    table += [_flip("lost", example) for example in flipped.lost_examples]
    columns = ("change", "question_id", "task", "round", "prompt", "reference", before, after, f"{after}_thought")
    return Table(columns=columns, rows=tuple(table))


def _flip(change: str, example: FlipExample) -> tuple[str | int, ...]:
    old, new = (answer.row for answer in example.answers)
    prompt, reference = (example.question.prompt, example.question.reference) if example.question else ("", "")
    said = (old.completion or "", new.completion or "", new.thought)
    return (change, example.question_id, example.task, example.round, prompt, reference, *said)


def _per_task(tasks: Sequence[TaskComparison]) -> Table:
    columns = ("task", "role", "questions", "baseline_accuracy", "thought_accuracy", "difference", "p_value", "passed")
    return Table(columns=columns, rows=tuple(tuple(getattr(task, name) for name in columns) for task in tasks))


def _histogram(values: Sequence[float], limits: tuple[float, float] | None = None) -> Histogram:
    counts, edges = np.histogram(values, bins=_BINS, range=limits)
    return Histogram(edges=tuple(map(float, edges)), counts=tuple(map(int, counts)))
