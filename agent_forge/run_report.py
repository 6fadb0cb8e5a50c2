"""The report of a run directory: every record that the run has written so far, and the page made of them.

write_report(Path("runs/demo"))      # runs/demo/report.html
"""

from pathlib import Path

from agent_forge.config import QuietSTaRConfig, build_config, grouped
from agent_forge.errors import ConfigError, InputError
from agent_forge.records import Cost, Manifest, Receipt, RunRecord, RunResults, Verdict, read_record
from agent_forge.report.facts import RunFacts
from agent_forge.report.gathering import gather, title_of
from agent_forge.report.page import render
from agent_forge.run_directory import RECEIPT, RESULTS, RUN
from agent_forge.stages.context import ARTIFACT_FILES
from agent_forge.storage.files import write_atomic
from agent_forge.tracker import read_state

REPORT = "report.html"
# What a run ended with that found the work done by another: copies of what that one left at the publication root.
TAKEN_MANIFEST = "manifest.json"
TAKEN_VERDICT = "verdict.json"
# Which stage writes what the report shows.
SHOWN = {
    "extension": "load-and-extend",
    "questions": "prepare-questions",
    "gate": "significance-gate",
    "evaluation": "significance-gate",
    "traces": "collect-traces",
    "bake_report": "bake",
    "verification": "verify",
    "verification_results": "verify",
    "manifest": "push-artifact",
}


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
    # A stage that is being run again has no place until it ends.
    done = [place for place in run.stages if (directory / "stages" / place / RECEIPT).is_file()]
    stages = {place: directory / "stages" / place for place in done}
    receipts = {place: read_record(Receipt, path / RECEIPT) for place, path in stages.items()}
    artifacts = {
        name: [path / ARTIFACT_FILES.get(name, name) for place, path in stages.items() if _stage(place) == stage]
        for name, stage in SHOWN.items()
    }
    settings = _settings(run)
    return gather(
        artifacts,
        settings,
        title=title_of(run.champion),
        # Written by a version with other fields: shown as it is.
        config=grouped(settings) if settings else {"configuration": dict(run.config)},
        results=_results(directory / RESULTS, run),
        champion=run.champion,
        costs=_costs(receipts),
        computed_by=_computed_by(receipts),
        warnings=tuple(f"{place}: {text}" for place, receipt in receipts.items() for text in receipt.warnings)
        + _tracking(directory),
        **({} if "significance-gate" in done else _taken(directory, run.champion.bake_id)),
    )


def _tracking(directory: Path) -> tuple[str, ...]:
    warning = read_state(directory).warning
    return (f"tracking: {warning}",) if warning else ()


def _stage(place: str) -> str:
    return place.split("/")[0]


def _costs(receipts: dict[str, Receipt]) -> dict[str, Cost]:
    """Return what each stage spent: instances add up in time, tokens and questions, memory is the largest."""
    costs: dict[str, Cost] = {}
    for place, receipt in receipts.items():
        stage = _stage(place)
        costs[stage] = _sum(costs[stage], receipt.cost) if stage in costs else receipt.cost
    return costs


def _computed_by(receipts: dict[str, Receipt]) -> dict[str, str]:
    """Return what the model of each stage ran on; instances that ran on different things are all named."""
    found: dict[str, dict[str, None]] = {}
    for place, receipt in receipts.items():
        if receipt.computed_by:
            text = ", ".join(f"{name} {value}" for name, value in sorted(receipt.computed_by.items()))
            found.setdefault(_stage(place), {})[text] = None
    return {stage: "; ".join(texts) for stage, texts in found.items()}


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(
        seconds=one.seconds + other.seconds,
        tokens=one.tokens + other.tokens,
        questions=one.questions + other.questions,
        peak_memory_bytes=max(one.peak_memory_bytes, other.peak_memory_bytes),
        peak_device_memory_bytes=max(one.peak_device_memory_bytes, other.peak_device_memory_bytes),
    )


def _settings(run: RunRecord) -> QuietSTaRConfig | None:
    """Return the configuration; None where another version with other fields wrote it."""
    try:
        return build_config(run.config)
    except ConfigError:
        return None


def _results(path: Path, run: RunRecord) -> RunResults | None:
    """Return the results unless there are none, or they are those of another configuration."""
    results = read_record(RunResults, path) if path.is_file() else None
    return results if results is not None and results.bake_id == run.champion.bake_id else None


def _taken(directory: Path, bake_id: str) -> dict[str, object]:
    """Return the facts that another run of the same bake left."""
    if (directory / TAKEN_MANIFEST).is_file():
        manifest = read_record(Manifest, directory / TAKEN_MANIFEST)
        if manifest.bake_id == bake_id:
            return {
                "manifest": manifest,
                "prompting": manifest.prompting,
                "gate": manifest.gate,
                "bake": manifest.bake,
                "verification": manifest.verification,
            }
    if (directory / TAKEN_VERDICT).is_file():
        verdict = read_record(Verdict, directory / TAKEN_VERDICT)
        if verdict.bake_id == bake_id:
            return {"gate": verdict.gate, "verification": verdict.verification}
    return {}
