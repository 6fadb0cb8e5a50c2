"""From the files of an evolution to what is tracked of it: the generation curve, and the champion.

Nothing is computed here that `evolution.json` does not say as well.
"""

import re
from pathlib import Path

from agent_forge.evolution_records import Candidate, EvolutionReport, GenerationRecord
from agent_forge.storage.manifest import MANIFEST
from agent_forge.tracking.protocol import PublishedModel, Series, StageFigures, Table

# What not every service takes in the name of a figure, such as the colon of a reference.
_UNNAMABLE = re.compile(r"[^\w./ -]")


def generation_figures(record: GenerationRecord) -> StageFigures:
    """Return what is tracked of a generation."""
    told = {"best": record.best, "mean": record.mean, "best_so_far": record.best_so_far, "new": record.new}
    point = {f"evolve/{name}": float(value) for name, value in told.items() if value is not None}
    place = f"generation-{record.number}"
    rows = tuple(_row(candidate) for candidate in record.candidates)
    return StageFigures(
        place=place,
        series=(Series(axis="generation", points=((record.number, point),)),),
        tables={f"evolve/{place}": Table(columns=("model", "method", "score", "recipe_sha256"), rows=rows)},
    )


def champion_figures(report: EvolutionReport, directory: Path) -> StageFigures:
    """Return what is tracked of a whole evolution; the champion is a model of the name `model_gen_N`.

    Args:
        report: of the evolution.
        directory: that holds the champion's files.
    """
    figures = {"select/champion": _select(report.winner), "evolve/champion": report.winner.evolve.score or 0.0}
    figures |= {f"select/{_UNNAMABLE.sub('_', model.name)}": _select(model) for model in report.base_models}
    texts = {"champion": report.winner.name, "champion_digest": report.champion_digest}
    if (gain := report.gain) is not None:
        low, high = gain.confidence_interval
        figures |= {
            "gain/difference": gain.difference,
            "gain/confidence_low": low,
            "gain/confidence_high": high,
            "gain/p_value": gain.p_value,
            "gain/champion_accuracy": gain.champion_accuracy,
            "gain/base_model_accuracy": gain.base_model_accuracy,
        }
        texts |= {"gain/verdict": gain.verdict, "gain/reason": gain.reason, "gain/against": gain.against}
    return StageFigures(place="champion", figures=figures, texts=texts, model=_model(report, directory))


def _model(report: EvolutionReport, directory: Path) -> PublishedModel:
    uri = report.manifest_path.rpartition("/")[0] if report.manifest_path else str(directory)
    about = {
        "champion_digest": report.champion_digest,
        "evolution_id": report.evolution_id,
        "recipe_sha256": report.winner.recipe_sha256,
    }
    return PublishedModel(
        name=f"model_gen_{report.winner.generation}",
        uri=uri if "://" in uri else Path(uri).resolve().as_uri(),
        metadata=about,
        manifest=directory / MANIFEST,
        aliases=("latest", report.champion_digest[:12]),
    )


def _row(candidate: Candidate) -> tuple[str | float | None, ...]:
    method = str(candidate.recipe.get("method", ""))
    return (candidate.name, method, candidate.evolve.score, candidate.recipe_sha256[:12])


def _select(candidate: Candidate) -> float:
    return (candidate.select.score or 0.0) if candidate.select else 0.0
