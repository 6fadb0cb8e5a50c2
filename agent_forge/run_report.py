"""The report of a run directory: every record that the run has written so far, and the page made of them.

write_report(Path("runs/demo"))      # runs/demo/report.html
"""

from pathlib import Path

from agent_forge.config import build_config, grouped
from agent_forge.errors import ConfigError, InputError
from agent_forge.records import ChampionRecord, Cost, Manifest, Receipt, RunRecord, RunResults, read_record
from agent_forge.report.facts import RunFacts
from agent_forge.report.gathering import gather, title_of
from agent_forge.report.page import render
from agent_forge.run_directory import RECEIPT, RESULTS, RUN
from agent_forge.stages.context import ARTIFACT_FILES
from agent_forge.storage.files import write_atomic
from agent_forge.tracker import read_state

REPORT = "report.html"
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
    return gather(
        artifacts,
        title=title_of(run.champion),
        config=_config(run),
        results=_results(directory / RESULTS, run),
        champion=run.champion,
        costs=_costs(receipts),
        warnings=tuple(f"{place}: {text}" for place, receipt in receipts.items() for text in receipt.warnings)
        + _tracking(directory),
        **({} if "significance-gate" in done else _published_before(run.champion)),
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


def _published_before(champion: ChampionRecord) -> dict[str, object]:
    """Return the facts that the manifest of an earlier bake holds."""
    path = Path(champion.already_published) if champion.already_published else None
    if path is None or not path.is_file():
        return {}
    manifest = read_record(Manifest, path)
    return {
        "manifest": manifest,
        "gate": manifest.gate,
        "bake": manifest.bake,
        "verification": manifest.verification,
    }
