"""One report for an evolution and the bake of its champion: what each has gained, and both together.

    write_story(Path("runs/evo"))        # after `forge evo --out runs/evo --then-bake`

The two gains were measured already, each against what its step began with. What is measured here is their total: the
base model that had done best answers the questions that the baked model was verified on. Nothing is chosen by it.
"""

from collections.abc import Sequence
from pathlib import Path

from agent_forge.comparison import Criteria
from agent_forge.config import QuietSTaRConfig, build_config, narrowed
from agent_forge.errors import ChampionError, InputError
from agent_forge.evolution.choosing import measure_gain
from agent_forge.evolution_config import BAKE, BEST_MODEL
from agent_forge.evolution_records import EVOLUTION_REPORT, BaseModelRecord, ChampionManifest, EvolutionReport
from agent_forge.records import Arm, ResultRow, RunRecord, RunResults, VerificationReport, read_record, read_rows
from agent_forge.report.story_page import markdown, page
from agent_forge.run_directory import RESULTS, RUN
from agent_forge.stages.bench import open_bench
from agent_forge.stages.context import Progress, Silent, StageContext
from agent_forge.stages.evaluate_round import evaluate_arms
from agent_forge.stages.registry import find_stage
from agent_forge.storage.files import write_atomic
from agent_forge.storage.manifest import MANIFEST
from agent_forge.storage.question_files import read_split, read_split_report
from agent_forge.story_records import Story, Total

NAME = "story"


def write_story(directory: Path, progress: Progress | None = None) -> Path:
    """Measure the total and write `story.json`, `story.md` and `story.html`; return the page's path.

    Args:
        directory: of the evolution, whose champion was baked in it.
        progress: is told how far the measurement has come.

    Raises:
        InputError: when there is no evolution, or no bake that has ended.
    """
    for needed in (directory / EVOLUTION_REPORT, directory / BAKE / RESULTS):
        if not needed.is_file():
            raise InputError(f"{needed} does not exist; run `forge evo --out {directory} --then-bake` to its end first")
    evolution = read_record(EvolutionReport, directory / EVOLUTION_REPORT)
    results = read_record(RunResults, directory / BAKE / RESULTS)
    verified = directory / BAKE / "stages" / "verify" / "verification.json"
    # A verification that another configuration has left there is not this run's.
    verification = read_record(VerificationReport, verified) if results.verification and verified.is_file() else None
    total = _total(directory, evolution, progress or Silent()) if verification else None
    story = Story(evolution=evolution, bake=results, verification=verification, total=total)
    write_atomic(directory / f"{NAME}.json", story.model_dump_json(indent=2) + "\n")
    write_atomic(directory / f"{NAME}.md", markdown(story))
    write_atomic(directory / f"{NAME}.html", page(story))
    return directory / f"{NAME}.html"


def _total(directory: Path, evolution: EvolutionReport, progress: Progress) -> Total:
    bake = directory / BAKE
    config = build_config(read_record(RunRecord, bake / RUN).config)
    manifest = read_record(ChampionManifest, directory / BEST_MODEL / MANIFEST)
    (base,) = (model for model in manifest.base_models if model.name == evolution.best_base_model)
    rows = _answers(base, config, bake / "stages/prepare-questions/questions", directory / NAME, progress)
    baked = list(read_rows(ResultRow, bake / "stages/verify/results.jsonl", InputError))
    criteria = Criteria(config.alpha, config.min_improvement, config.non_inferiority_margin, config.power)
    directly, told = (
        measure_gain(_of("baked", baked), {base.name: _of(arm, rows)}, base.name, criteria)
        for arm in ("baseline", "thought")
    )
    return Total(base_model=base.name, directly=directly, told_to_think=told)


def _answers(
    base: BaseModelRecord, config: QuietSTaRConfig, questions_dir: Path, place: Path, progress: Progress
) -> list[ResultRow]:
    """Return a base model's answers to the questions of verification, as verification asks a champion."""
    extended = place / base.digest[:16] / "extended"
    loading = StageContext(
        config=narrowed(config, "load-and-extend"),
        inputs={},
        parameters={"champion_uri": base.uri, "champion_digest": base.digest},
        outputs={"extended": extended, "extension": extended.with_name("extension.json")},
        scratch=extended.parent,
        progress=progress,
    )
    try:
        find_stage("load-and-extend").carry_out(loading)
    except ChampionError as cause:
        raise ChampionError(f"base model {base.name}, for the total: {cause}") from cause
    questions = read_split(questions_dir, "verify")
    guards = set(read_split_report(questions_dir).guard_tasks)
    asking = StageContext(
        config=narrowed(config, "verify"),
        inputs={"questions": (questions_dir,), "extended": (extended,)},
        parameters={},
        outputs={},
        scratch=extended.parent,
        progress=progress,
    )
    bench = open_bench(asking, extended)
    rounds = range(config.ab_test_rounds)
    sampled = [evaluate_arms(asking, bench, questions, guards, number, pausing=False) for number in rounds]
    return [row for arms in sampled for found in arms.values() for row in found]


def _of(arm: Arm, rows: Sequence[ResultRow]) -> list[ResultRow]:
    return [row for row in rows if row.arm == arm]
