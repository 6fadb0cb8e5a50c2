"""The whole job on one machine: the pipeline's stages, run in order in one run directory.

config = QuietSTaRConfig(model_path="./champion", output_path="./run", eval_dataset="gsm8k")
results = await QuietSTaRBaker(config).run_baking_pipeline()
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import CheckFailed, ForgeError, InputError, OutputError
from agent_forge.records import (
    ChampionRecord,
    GateReport,
    Manifest,
    RunResults,
    VerificationReport,
    read_record,
)
from agent_forge.run_directory import RunDirectory
from agent_forge.stages.context import Progress, Silent, StageContext, StageOutcome
from agent_forge.stages.prepare_questions import draw_questions
from agent_forge.stages.registry import find_stage
from agent_forge.stages.resolve_champion import champion_path
from agent_forge.storage.files import path_digest, write_atomic

__all__ = ["QuietSTaRBaker", "QuietSTaRConfig"]

RESULTS = "results.json"


class QuietSTaRBaker:
    """Judges a champion and bakes it when thinking helps.

    Args:
        config: what to do.
        resume: continue a run that was stopped; without it a used run directory is refused.
        progress: is told how far each stage has come.
    """

    def __init__(self, config: QuietSTaRConfig, resume: bool = False, progress: Progress | None = None) -> None:
        self._config = config
        self._resume = resume
        self._progress = progress or Silent()
        self._run = RunDirectory(Path(config.output_path).expanduser())
        self._models: dict[str, Any] = {}

    async def run_baking_pipeline(self) -> Mapping[str, Any]:
        """Run everything; return the results as a mapping, see `records.RunResults`.

        Raises:
            ForgeError: for bad input, or a run that cannot go on.
        """
        results = await asyncio.to_thread(self.run)
        return results.model_dump()

    def run(self) -> RunResults:
        """Run everything in the calling thread."""
        champion_path(self._config.model_path)
        with self._run.locked():
            if self._run.begun and not self._resume:
                raise OutputError(
                    f"{self._run.root} holds a run already; add --resume to continue it, or choose another"
                )
            results = self._all_stages()
            write_atomic(self._run.root / RESULTS, results.model_dump_json(indent=2) + "\n")
        return results

    def _all_stages(self) -> RunResults:
        champion_dir = self._stage("resolve-champion", sources=self._source_digests())
        champion = read_record(ChampionRecord, champion_dir / "champion")
        if champion.already_published:
            return self._results_of_manifest(champion, Path(champion.already_published))
        questions_dir = self._stage("prepare-questions", sources=self._source_digests())
        questions = questions_dir / "questions"
        model_dir = self._stage("load-and-extend", {"champion": [champion_dir / "champion"]})
        sampled = {"extended": [model_dir / "extended"], "questions": [questions]}
        outputs = self._run.parameters("prepare-questions")
        cells = [self._stage("evaluate-round", sampled, {"cell": cell}, cell) for cell in json.loads(outputs["cells"])]
        gate_dir = self._stage("significance-gate", {"results": [cell / "results" for cell in cells]})
        known = {"champion": [champion_dir / "champion"], "gate": [gate_dir / "gate"]}
        gate = read_record(GateReport, gate_dir / "gate")
        if gate.verdict != "bake":
            self._stage("keep-champion", known)
            return self._results(champion, gate, None, None)
        shards = json.loads(outputs["shards"])
        traces = [self._stage("collect-traces", sampled, {"shard": n}, n) / "traces" for n in shards]
        baked_dir = self._stage("bake", {**sampled, "traces": traces})
        judged = {**sampled, "baked": [baked_dir / "baked"]}
        verify_dir = self._stage("verify", judged, fresh_process=True)
        verification = read_record(VerificationReport, verify_dir / "verification")
        known |= {"baked": judged["baked"], "verification": [verify_dir / "verification"]}
        if verification.verdict != "publish":
            self._stage("keep-champion", known)
            return self._results(champion, gate, verification, None)
        known |= {"questions": [questions], "traces": traces, "bake_report": [baked_dir / "bake_report"]}
        self._stage("push-artifact", known)
        manifest_path = Path(self._run.parameters("push-artifact")["manifest_path"])
        return self._results(champion, gate, verification, manifest_path)

    def _source_digests(self) -> dict[str, str]:
        """Digest what the first stages read from outside of the run: the champion's files and the question sets."""
        _, report = draw_questions(self._config)
        champion = path_digest(champion_path(self._config.model_path))
        return {"champion": champion, **{f"questions {name}": digest for name, digest in report.digests.items()}}

    def _stage(
        self,
        name: str,
        inputs: Mapping[str, Sequence[Path]] | None = None,
        parameters: Mapping[str, str] | None = None,
        instance: str = "",
        sources: Mapping[str, str] | None = None,
        fresh_process: bool = False,
    ) -> Path:
        """Run a stage unless its receipt says that it is done; return the directory of its outputs."""
        place = f"{name}/{instance}" if instance else name
        given = {key: tuple(paths) for key, paths in (inputs or {}).items()}
        digests = {
            **(sources or {}),
            **{f"{key}/{n}": path_digest(path) for key, paths in given.items() for n, path in enumerate(paths)},
        }
        key = self._run.key(name, self._config, digests, parameters or {})
        if (receipt := self._run.receipt(place, key)) is not None:
            self._run.log("done already", place, receipt.cost)
            return self._run.final(place)
        self._run.log("began", place)
        working = self._run.begin(place, key)
        context = StageContext(
            config=self._config,
            inputs=given,
            parameters=dict(parameters or {}),
            outputs={output: working / "out" / output for output in find_stage(name).outputs},
            scratch=working / "scratch",
            progress=self._progress,
            models=self._models,
        )
        outcome = _in_fresh_process(name, context, working) if fresh_process else find_stage(name).run(context)
        receipt = self._run.finish(place, key, digests, outcome)
        self._run.log("ended", place, receipt.cost)
        return self._run.final(place)

    def _results(
        self,
        champion: ChampionRecord,
        gate: GateReport,
        verification: VerificationReport | None,
        manifest_path: Path | None,
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
            model_path=str(manifest_path.parent) if manifest_path else champion.path,
            manifest_path=str(manifest_path) if manifest_path else None,
            report_path=str(self._run.final("significance-gate") / "gate"),
            run_dir=str(self._run.root),
        )

    def _results_of_manifest(self, champion: ChampionRecord, path: Path) -> RunResults:
        manifest = read_record(Manifest, path)
        return self._results(champion, manifest.gate, manifest.verification, path)


def _in_fresh_process(name: str, context: StageContext, working: Path) -> StageOutcome:
    """Run a stage the way its container does, so that nothing of this process can leak into it."""
    cost_file = working / "cost.json"
    executor_input = {
        "inputs": {
            "parameterValues": {
                "config": context.config.model_dump_json(),
                "scratch": str(context.scratch),
                **context.parameters,
            },
            "artifacts": {
                key: {"artifacts": [{"name": key, "uri": str(path.resolve())} for path in paths]}
                for key, paths in context.inputs.items()
            },
        },
        "outputs": {
            "parameters": {"verdict": {"outputFile": str(working / "verdict")}},
            "artifacts": {
                key: {"artifacts": [{"name": key, "uri": str(path.resolve())}]} for key, path in context.outputs.items()
            },
            "outputFile": str(working / "executor-output.json"),
        },
    }
    command = [sys.executable, "-m", "agent_forge.cli", "stage", name, "--executor-input", json.dumps(executor_input)]
    done = subprocess.run([*command, "--cost-file", str(cost_file)], check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        message = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
        kind: type[ForgeError] = InputError if done.returncode == InputError.exit_code else CheckFailed
        raise kind(f"stage {name} failed in its own process: {message.removeprefix('forge: ')}")
    from agent_forge.records import Cost

    return StageOutcome(
        read_record(Cost, cost_file), parameters={"verdict": (working / "verdict").read_text(encoding="utf-8")}
    )
