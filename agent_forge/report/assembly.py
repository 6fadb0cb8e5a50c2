"""From a run directory to the report's facts: every record that the run has written so far, and the page made of them.

write_report(Path("runs/demo"))      # runs/demo/report.html
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from agent_forge.config import build_config, grouped
from agent_forge.errors import ConfigError, InputError
from agent_forge.records import (
    BakeReport,
    ChampionRecord,
    Cost,
    ExtensionRecord,
    GateReport,
    Manifest,
    Question,
    Receipt,
    Record,
    ResultRow,
    RunRecord,
    RunResults,
    SplitReport,
    TraceReport,
    VerificationReport,
    read_record,
    read_rows,
)
from agent_forge.report.facts import RunFacts
from agent_forge.report.page import render
from agent_forge.run_directory import RECEIPT, RUN
from agent_forge.stages.context import ARTIFACT_FILES
from agent_forge.storage.files import write_atomic
from agent_forge.storage.question_files import read_split, read_split_report

R = TypeVar("R", bound=Record)
REPORT = "report.html"
RESULTS = "results.json"


def write_report(directory: Path) -> Path:
    """Write the report of a run, finished or not, into its directory; return the report's path.

    Raises:
        InputError: when the directory holds no run, or a record of it cannot be read.
        OutputError: when it cannot be written to.
    """
    write_atomic(directory / REPORT, render(facts_of_run(directory)))
    return directory / REPORT


def facts_of_run(directory: Path) -> RunFacts:
    """Read what a run has recorded so far.

    Only stages that belong to the run as it was last started count; what other configurations have left in the same
    directory is passed over.

    Raises:
        InputError: when the directory holds no run, or a record of it cannot be read.
    """
    if not (directory / RUN).is_file():
        raise InputError(f"{directory} holds no run; give the directory that --out named")
    run = read_record(RunRecord, directory / RUN)
    stages = _Stages(directory / "stages", run.stages)
    published = _published_before(run.champion) if "significance-gate" not in run.stages else None
    manifest = stages.record(Manifest, "push-artifact", "manifest") or published
    questions, splits = _questions(stages)
    return RunFacts(
        title=Path(run.champion.reference).name or run.champion.reference,
        config=_config(run),
        results=_results(directory / RESULTS, run),
        champion=run.champion,
        extension=stages.record(ExtensionRecord, "load-and-extend", "extension"),
        splits=splits,
        gate=stages.record(GateReport, "significance-gate", "gate") or (published and published.gate),
        gate_rows=tuple(row for place in stages.places("evaluate-round") for row in stages.rows(place, "results")),
        questions=questions,
        traces=_traces(stages),
        bake=stages.record(BakeReport, "bake", "bake_report") or (published and published.bake),
        verification=stages.record(VerificationReport, "verify", "verification")
        or (published and published.verification),
        verify_rows=tuple(
            row for place in stages.places("verify") for row in stages.rows(place, "verification_results")
        ),
        costs=stages.costs(),
        manifest=manifest,
        warnings=stages.warnings(),
    )


class _Stages:
    """The finished stages of a run by place, `<stage>` or `<stage>/<instance>`."""

    def __init__(self, root: Path, done: tuple[str, ...]) -> None:
        self._root = root
        # A stage that is being run again has no place until it ends.
        self._done = tuple(place for place in done if (root / place / RECEIPT).is_file())

    def places(self, stage: str) -> list[str]:
        return [place for place in self._done if place.split("/")[0] == stage]

    def path(self, place: str, artifact: str) -> Path:
        return self._root / place / ARTIFACT_FILES.get(artifact, artifact)

    def record(self, kind: type[R], stage: str, artifact: str) -> R | None:
        return read_record(kind, self.path(stage, artifact)) if stage in self._done else None

    def rows(self, place: str, artifact: str) -> Iterator[ResultRow]:
        return read_rows(ResultRow, self.path(place, artifact))

    def receipts(self) -> list[tuple[str, Receipt]]:
        return [(place, read_record(Receipt, self._root / place / RECEIPT)) for place in self._done]

    def costs(self) -> dict[str, Cost]:
        """Return what each stage spent: instances add up in time, tokens and questions, memory is the largest."""
        costs: dict[str, Cost] = {}
        for place, receipt in self.receipts():
            stage = place.split("/")[0]
            costs[stage] = _sum(costs[stage], receipt.cost) if stage in costs else receipt.cost
        return costs

    def warnings(self) -> tuple[str, ...]:
        return tuple(f"{place}: {text}" for place, receipt in self.receipts() for text in receipt.warnings)


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(
        seconds=one.seconds + other.seconds,
        tokens=one.tokens + other.tokens,
        questions=one.questions + other.questions,
        peak_memory_bytes=max(one.peak_memory_bytes, other.peak_memory_bytes),
        peak_device_memory_bytes=max(one.peak_device_memory_bytes, other.peak_device_memory_bytes),
    )


def _config(run: RunRecord) -> dict[str, dict[str, object]]:
    try:
        return grouped(build_config(run.config))
    except ConfigError:
        # Written by a version with other fields: shown as it is.
        return {"configuration": dict(run.config)}


def _results(path: Path, run: RunRecord) -> RunResults | None:
    """Return the results unless there are none, or they are those of another configuration."""
    results = read_record(RunResults, path) if path.is_file() else None
    return results if results is not None and results.bake_id == run.champion.bake_id else None


def _published_before(champion: ChampionRecord) -> Manifest | None:
    manifest = Path(champion.already_published) if champion.already_published else None
    return read_record(Manifest, manifest) if manifest is not None and manifest.is_file() else None


def _questions(stages: _Stages) -> tuple[dict[str, Question], SplitReport | None]:
    if not stages.places("prepare-questions"):
        return {}, None
    directory = stages.path("prepare-questions", "questions")
    asked = [question for name in ("gate", "verify") for question in read_split(directory, name)]
    return {question.id: question for question in asked}, read_split_report(directory)


def _traces(stages: _Stages) -> TraceReport | None:
    """Return the shards' reports added up."""
    places = stages.places("collect-traces")
    reports = [read_record(TraceReport, stages.path(place, "traces") / "report.json") for place in places]
    if not reports:
        return None
    reasons = dict.fromkeys(reason for report in reports for reason in report.rejected)
    return TraceReport(
        questions=sum(report.questions for report in reports),
        samples=sum(report.samples for report in reports),
        kept=sum(report.kept for report in reports),
        questions_kept=sum(report.questions_kept for report in reports),
        replay=sum(report.replay for report in reports),
        rejected={reason: sum(report.rejected.get(reason, 0) for report in reports) for reason in reasons},
        thought_lengths=tuple(length for report in reports for length in report.thought_lengths),
        solve_rates=tuple(rate for report in reports for rate in report.solve_rates),
    )
