"""A whole evolution on one machine, and the bake of its champion.

settings = load_settings({"base_models": "a,b", "output_path": "runs/evo", "eval_dataset": "gsm8k"})
report = EvoMerge(settings).run()
report.model_path        # ready for forge bake-quietstar
"""

import shutil
from pathlib import Path

from agent_forge.errors import OutputError
from agent_forge.evolution.evolve import QUESTIONS, Evolved, Prepared, evolve, prepare, tidy
from agent_forge.evolution.hand_over import hand_over, publish
from agent_forge.evolution.nodes import Nodes
from agent_forge.evolution.page import markdown
from agent_forge.evolution.scoring import PARTIAL, SCORES, Scorer
from agent_forge.evolution_config import BEST_MODEL, EvolutionSettings
from agent_forge.evolution_records import EVOLUTION_REPORT, EVOLUTION_RUN, GENERATIONS, EvolutionReport, EvolutionRun
from agent_forge.quietstar_baker import QuietSTaRBaker
from agent_forge.records import RunResults
from agent_forge.report.evolution_page import render_evolution
from agent_forge.run_directory import RunDirectory
from agent_forge.stages.context import Progress, Silent
from agent_forge.storage.files import write_atomic
from agent_forge.storage.origin import champion_digest
from agent_forge.storage.publication import publication, require_signable
from agent_forge.tracker import INTERRUPTED_PATIENCE, Tracker

TEXT, PAGE = "evolution.md", "evolution.html"
_OURS = (GENERATIONS, QUESTIONS, SCORES, PARTIAL, BEST_MODEL, EVOLUTION_RUN, EVOLUTION_REPORT)


class EvoMerge:
    """Evolves a champion out of base models.

    Args:
        settings: what to do.
        resume: continue an evolution that was stopped; without it a used directory is refused.
        progress: is told how far it has come.
        nodes: the machines that score side by side, None for this one alone.
    """

    def __init__(
        self,
        settings: EvolutionSettings,
        resume: bool = False,
        progress: Progress | None = None,
        nodes: Nodes | None = None,
    ) -> None:
        self._settings = settings
        self._nodes = nodes
        self._resume = resume
        self._progress = progress or Silent()

    def run(self) -> EvolutionReport:
        """Evolve, hand the champion over, report.

        Raises:
            ForgeError: for bad input, or an evolution that cannot go on.
        """
        require_signable(self._settings.bake)
        prepared = prepare(self._settings, self._progress)
        root = self._settings.directory
        if self._settings.bake.publish_to is not None and (place := publication(self._settings.bake.publish_to)):
            place.check()
        with RunDirectory(root).locked():
            if not self._resume and any((root / name).exists() for name in _OURS):
                raise OutputError(f"{root} holds an evolution already; add --resume, or choose another --out")
            report = self._tracked(prepared)
            tidy(root, self._settings.evolution.gens)
        return report

    def bake(self, report: EvolutionReport) -> RunResults:
        """Bake the champion, continuing a bake that was stopped.

        A published champion is taken from where it is published, so that the baked model's lineage leads there.
        """
        config = self._settings.then_bake
        if report.manifest_path is not None:
            config = config.model_copy(update={"model_path": report.manifest_path.rpartition("/")[0]})
        return QuietSTaRBaker(config, resume=True, progress=self._progress).run()

    def _tracked(self, prepared: Prepared) -> EvolutionReport:
        """Evolve with the figures being sent beside it; however that goes, it changes nothing."""
        root = self._settings.directory
        begin(prepared, root)
        tracker = Tracker(
            self._settings.bake, root, lambda text: self._progress.note(f"warning: {text}"), evolution=True
        )
        try:
            return self._evolve(prepared, tracker)
        except KeyboardInterrupt:
            tracker.close(INTERRUPTED_PATIENCE)
            raise
        finally:
            tracker.close()

    def _evolve(self, prepared: Prepared, tracker: Tracker) -> EvolutionReport:
        root = self._settings.directory
        self._progress.run(prepared.evolution_id)
        scorer = Scorer(self._settings, prepared.models, prepared.asked, root, self._progress)
        evolved = evolve(prepared, scorer, tracker.look, self._nodes)
        model = hand_over(prepared, evolved, scorer)
        published = publish(prepared, model, scorer)
        report = EvolutionReport(
            evolution_id=prepared.evolution_id,
            champion_digest=champion_digest(model),
            winner=evolved.winner,
            base_models=evolved.base_models,
            elites=evolved.elites,
            best_base_model=evolved.best_base_model.name,
            gain=evolved.gain,
            fitness_arm=self._settings.evolution.fitness_arm,
            fitness_aggregate=self._settings.evolution.fitness_aggregate,
            generations=tuple(generation.summary() for generation in evolved.generations),
            questions=prepared.question_sets,
            model_path=str(model),
            manifest_path=published,
            warnings=(*scorer.warnings, *_doubts(evolved)),
        )
        write_atomic(root / EVOLUTION_REPORT, report.model_dump_json(indent=2) + "\n")
        write_atomic(root / TEXT, markdown(report))
        write_atomic(root / PAGE, render_evolution(report))
        return report


def begin(prepared: Prepared, root: Path) -> None:
    """Write down which evolution a directory holds, and take away the generations of another one."""
    run = EvolutionRun(
        evolution_id=prepared.evolution_id,
        base_models=prepared.models.records,
        config=prepared.settings.values(),
    )
    path, text = root / EVOLUTION_RUN, run.model_dump_json(indent=2) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        # They are written again at once from the scores that still hold.
        shutil.rmtree(root / GENERATIONS, ignore_errors=True)
        write_atomic(path, text)


def _doubts(evolved: Evolved) -> tuple[str, ...]:
    """Return what a reader must know before going on with a champion."""
    if evolved.gain is None or evolved.gain.verdict == "better":
        return ()
    return (f"the champion is not shown to beat {evolved.gain.against}: {evolved.gain.reason}",)
