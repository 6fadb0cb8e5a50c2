"""The whole job on one machine: the pipeline's stages, run in order in one run directory.

config = QuietSTaRConfig(model_path="./champion", output_path="./run", eval_dataset="gsm8k")
results = await QuietSTaRBaker(config).run_baking_pipeline()
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import LeaseLost, OutputError, StoreError
from agent_forge.fresh_process import Waiting
from agent_forge.local_run import Finished, Inputs, LocalRun
from agent_forge.questions.corpora import open_corpora
from agent_forge.questions.split import Splits
from agent_forge.records import (
    ChampionRecord,
    GateReport,
    ResultRow,
    RunResults,
    SplitReport,
    VerificationReport,
    read_record,
    read_rows,
    text_sha256,
)
from agent_forge.run_directory import RESULTS, RunDirectory
from agent_forge.run_report import REPORT, TAKEN_MANIFEST, TAKEN_VERDICT, write_report
from agent_forge.stages.context import Progress, Silent
from agent_forge.stages.prepare_questions import draw_questions
from agent_forge.stages.resolve_champion import (
    champion_path,
    champion_record,
    champion_selection,
    check_model,
    check_places,
)
from agent_forge.stages.significance_gate import judge_configured
from agent_forge.storage.files import write_atomic
from agent_forge.storage.lease import Held, leased
from agent_forge.storage.minisign import read_secret_key
from agent_forge.storage.origin import champion_digest, read_selection
from agent_forge.storage.publication import Publication, directory_of, publication
from agent_forge.storage.question_files import cells_of_blocks
from agent_forge.tracker import INTERRUPTED_PATIENCE, Tracker

__all__ = ["QuietSTaRBaker", "QuietSTaRConfig"]


class QuietSTaRBaker:
    """Judges a champion and bakes it when thinking helps.

    Args:
        config: what to do.
        resume: continue a run that was stopped; without it a used run directory is refused.
        progress: is told how far each stage has come.
        waiting: process for verify, which wants one of its own; without it one is started.
    """

    def __init__(
        self,
        config: QuietSTaRConfig,
        resume: bool = False,
        progress: Progress | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self._config = config
        self._resume = resume
        self._directory = RunDirectory(directory_of(config.output_path))
        self._progress = progress or Silent()
        self._waiting = waiting
        self._selection = "{}"
        self._drawn: Splits | None = None

    async def run_baking_pipeline(self) -> Mapping[str, Any]:
        """Run everything; return the results as a mapping, see `records.RunResults`.

        Raises:
            ForgeError: for bad input, or a run that cannot go on.
        """
        results = await asyncio.to_thread(self.run)
        return results.model_dump()

    def run(self) -> RunResults:
        """Run everything in the calling thread."""
        champion, questions = self._look()
        with self._directory.locked():
            if self._directory.begun and not self._resume:
                raise OutputError(f"{self._directory.root} holds a run already; add --resume, or choose another --out")
            results = self._tracked(champion, questions)
            write_report(self._directory.root)
            self._directory.tidy()
        return results

    def _look(self) -> tuple[ChampionRecord, SplitReport]:
        """Look at and digest what is read from outside; bad input shows here, before anything is written."""
        config = self._config
        if config.signing_key_file:
            read_secret_key(Path(config.signing_key_file))
        open_corpora(config.also_exclude)
        path = champion_path(config.model_path, self._progress)
        check_places(config, path)
        if config.publish_to is None:
            self._check(path)
        digest = champion_digest(path)
        self._selection = champion_selection(config, path, digest)
        self._drawn = draw_questions(config, read_selection(self._selection))
        questions = self._drawn.report
        return champion_record(config, path, digest, questions), questions

    def _check(self, path: Path) -> None:
        """Look at what is needed to do the work oneself; where runs share a place, once this run has to do it."""
        # A run that waits for another one, as a hundred may, does without what these need.
        from agent_forge.models.device import resolve_device

        resolve_device(self._config.device)
        if self._config.engine == "vllm":
            # Imports torch as well.
            from agent_forge.models.vllm_engine import require_vllm

            require_vllm()
        check_model(self._config, path)

    def _tracked(self, champion: ChampionRecord, questions: SplitReport) -> RunResults:
        """Run the stages with their figures being sent beside them; however that goes, it changes no result."""
        tracker = Tracker(self._config, self._directory.root, lambda text: self._progress.note(f"warning: {text}"))
        try:
            results = self._once(champion, questions, tracker)
            write_atomic(self._directory.root / RESULTS, results.model_dump_json(indent=2) + "\n")
        except KeyboardInterrupt:
            tracker.close(INTERRUPTED_PATIENCE)
            raise
        finally:
            tracker.close()
        return results

    def _once(self, champion: ChampionRecord, questions: SplitReport, tracker: Tracker) -> RunResults:
        """Do the work unless it is done, or is being done by another process, at the place to publish to."""
        self._progress.run(champion.bake_id)
        root = publication(self._config.publish_to or self._config.output_path)
        assert root is not None, "a run on this machine has a place to publish to"
        if self._config.publish_to is None:
            if champion.already_published and not self._directory.final("significance-gate").exists():
                return self._take(champion, root)
            return self._stages(champion, questions, None, tracker)
        while True:
            try:
                with leased(root.lease(champion.bake_id), self._settled(root, champion), waiting=self._wait) as held:
                    if held is not None or self._directory.ended(champion.bake_id):
                        self._check(Path(champion.path))
                        return self._stages(champion, questions, held, tracker)
                    return self._take(champion, root)
            except LeaseLost as lost:
                self._progress.note(f"{lost}; waiting for it")

    def _settled(self, root: Publication, champion: ChampionRecord) -> Callable[[], bool]:
        def settled() -> bool:
            return bool(root.published(champion.bake_id) or root.verdict(champion.bake_id))

        return settled

    def _wait(self, holder: str) -> None:
        self._progress.note(f"waiting: {holder or 'another process'} makes this very bake")

    def _take(self, champion: ChampionRecord, root: Publication) -> RunResults:
        """End with what another run of the same bake left at the place to publish to."""
        place = root.published(champion.bake_id)
        champion = champion.model_copy(update={"already_published": place})
        LocalRun(self._config, self._directory, champion, self._progress).stage(
            "resolve-champion", sources={"champion": champion.digest}
        )
        found = root.manifest(champion.bake_id) if place else root.verdict(champion.bake_id)
        if found is None:
            raise StoreError(f"the verdict on {champion.bake_id} was removed a moment ago; run again")
        kept = TAKEN_MANIFEST if place else TAKEN_VERDICT
        write_atomic(self._directory.root / kept, found.model_dump_json(indent=2) + "\n")
        self._progress.note(f"done by another run: {place or found.gate.verdict}")
        if place:
            root.settle(champion.bake_id)
        return self._results(champion, found.gate, found.verification, place)

    def _stages(
        self, champion: ChampionRecord, questions: SplitReport, held: Held | None, tracker: Tracker
    ) -> RunResults:
        digests = questions.inputs()
        run = LocalRun(
            *(self._config, self._directory, champion, self._progress, held, tracker.look, self._drawn, self._waiting)
        )
        # What was published elsewhere may have been removed since, or the place may be another one now.
        gone = held is not None
        bake_id = {"bake_id": champion.bake_id}
        # Another number of shards cuts the same work into other pieces.
        cut = {"shards": str(self._config.shards)}
        resolved = run.stage("resolve-champion", sources={"champion": champion.digest})
        asked = {**cut, "champion_selection": self._selection}
        prepared = run.stage("prepare-questions", sources=digests, parameters=asked)
        # They lie in files now; memory need not hold them for the whole run.
        self._drawn = run.drawn = None
        source = {"champion_uri": champion.uri, "champion_digest": champion.digest}
        loaded = run.stage("load-and-extend", parameters=source)
        known = {
            "champion": [resolved.artifact("champion")],
            "questions": [prepared.artifact("questions")],
            "extension": [loaded.artifact("extension")],
            "extended": [loaded.artifact("extended")],
        }
        sampled = {name: known[name] for name in ("extended", "questions")}
        cells = self._evaluate(run, json.loads(prepared.parameters["cells"]), sampled, cut)
        judged = run.stage("significance-gate", {"results": [cell.artifact("results") for cell in cells]})
        known["gate"] = [judged.artifact("gate")]
        gate = read_record(GateReport, known["gate"][0].path)
        if gate.verdict != "bake":
            kept = {name: known[name] for name in ("champion", "gate")}
            run.stage("keep-champion", kept, parameters=bake_id, again=gone)
            return self._results(champion, gate, None, None)
        collected = [
            run.stage("collect-traces", sampled, parameters={"shard": shard, **cut}, instance=shard)
            for shard in json.loads(prepared.parameters["shards"])
        ]
        known["traces"] = [shard.artifact("traces") for shard in collected]
        baked = run.stage("bake", {name: known[name] for name in ("extended", "questions", "traces")})
        known |= {name: [baked.artifact(name)] for name in ("baked", "bake_report", "trace_set")}
        checked = run.stage(
            "verify", {name: known[name] for name in ("extended", "baked", "questions")}, fresh_process=True
        )
        known["verification"] = [checked.artifact("verification")]
        verification = read_record(VerificationReport, known["verification"][0].path)
        if verification.verdict != "publish":
            kept = {name: known[name] for name in ("champion", "gate", "baked", "verification")}
            run.stage("keep-champion", kept, parameters=bake_id, again=gone)
            return self._results(champion, gate, verification, None)
        given = {name: items for name, items in known.items() if name not in ("extended", "traces")}
        # A run directory that was copied publishes once more, where it is now.
        place = {"publication": text_sha256(self._config.publish_to or str(self._directory.root.resolve()))}
        pushed = run.stage("push-artifact", given, parameters=bake_id, sources=place, again=gone)
        return self._results(champion, gate, verification, pushed.parameters["manifest_path"])

    def _evaluate(self, run: LocalRun, names: Sequence[str], sampled: Inputs, cut: dict[str, str]) -> list[Finished]:
        """Evaluate the cells, block after block until a look at what is in decides; what was done already is kept."""
        config = self._config
        cells: list[Finished] = []
        for number, block in enumerate(cells_of_blocks(names, config.shards, config.gate_looks), start=1):
            cells += [
                run.stage("evaluate-round", sampled, parameters={"cell": name, **cut}, instance=name) for name in block
            ]
            if number == config.gate_looks:
                break
            rows = (row for cell in cells for row in read_rows(ResultRow, cell.artifact("results").path))
            report = judge_configured(rows, config)
            self._progress.note(f"look {number} of {config.gate_looks}, {report.questions} questions: {report.verdict}")
            if report.verdict != "inconclusive":
                break
        return cells

    def _results(
        self,
        champion: ChampionRecord,
        gate: GateReport,
        verification: VerificationReport | None,
        manifest_path: str | None,
    ) -> RunResults:
        improvement = 100 * gate.difference / gate.baseline_accuracy if gate.baseline_accuracy else None
        return RunResults(
            winner="thought" if manifest_path else "baseline",
            verdict=gate.verdict,
            verification=verification.verdict if verification else None,
            published=manifest_path is not None,
            reason=verification.reason if verification else gate.reason,
            improvement=improvement,
            baseline_accuracy=gate.baseline_accuracy,
            thought_accuracy=gate.thought_accuracy,
            baked_accuracy=verification.baked_accuracy if verification else None,
            p_value=gate.p_value,
            bake_id=champion.bake_id,
            champion_digest=champion.digest,
            model_path=manifest_path.rpartition("/")[0] if manifest_path else champion.path,
            manifest_path=manifest_path,
            report_path=str(self._directory.root / REPORT),
            run_dir=str(self._directory.root),
        )
