"""Running stages on one machine, in a run directory: skip what is done, run the rest, keep the receipts."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_forge.config import QuietSTaRConfig, narrowed
from agent_forge.errors import CheckFailed, ForgeError, InputError, Interrupted
from agent_forge.questions.split import Splits
from agent_forge.records import ChampionRecord, Receipt, RunRecord, read_record
from agent_forge.run_directory import RunDirectory
from agent_forge.stages.context import ARTIFACT_FILES, Progress, StageContext, StageOutcome
from agent_forge.stages.registry import find_stage
from agent_forge.storage.lease import Held

Inputs = Mapping[str, Sequence["Artifact"]]
_KINDS: dict[int, type[ForgeError]] = {kind.exit_code: kind for kind in (CheckFailed, InputError, Interrupted)}


@dataclass(frozen=True)
class Artifact:
    """A file or directory that a stage wrote, and its digest."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Finished:
    """A stage that has ended: where its outputs are and what it said."""

    directory: Path
    receipt: Receipt
    parameters: Mapping[str, str]

    def artifact(self, name: str) -> Artifact:
        """Return one of the stage's outputs."""
        file = ARTIFACT_FILES.get(name, name)
        return Artifact(self.directory / file, self.receipt.outputs[file])


@dataclass
class LocalRun:
    """Runs stages one after another in one run directory; `ended` is called after each of them.

    `drawn` are the questions, for the stages that would draw them again.
    """

    config: QuietSTaRConfig
    directory: RunDirectory
    champion: ChampionRecord
    progress: Progress
    held: Held | None = None
    ended: Callable[[], None] = lambda: None
    drawn: Splits | None = None
    finished: dict[str, Finished] = field(default_factory=dict)
    _models: dict[str, Any] = field(default_factory=dict)

    def stage(
        self,
        name: str,
        inputs: Inputs | None = None,
        *,
        parameters: Mapping[str, str] | None = None,
        instance: str = "",
        sources: Mapping[str, str] | None = None,
        fresh_process: bool = False,
        again: bool = False,
    ) -> Finished:
        """Run a stage unless its receipt says that it is done.

        Args:
            name: node of the DAG.
            inputs: its input artifacts.
            parameters: small inputs.
            instance: tells apart the tasks of a fan-out.
            sources: digests of what it reads from outside of the run.
            fresh_process: run it in a process of its own, by the contract of its container.
            again: run it even if it is done: what it did outside of the run directory is not there.

        Raises:
            LeaseLost: when another process took over this bake.
        """
        place = f"{name}/{instance}" if instance else name
        given = inputs or {}
        digests = {f"{key}/{n}": item.digest for key, items in given.items() for n, item in enumerate(items)}
        digests |= sources or {}
        key = self.directory.key(name, self.config, digests, parameters or {})
        receipt = None if again else self.directory.receipt(place, key)
        if receipt is None:
            receipt = self._run(place, name, key, given, parameters or {}, digests, fresh_process)
        else:
            self.directory.log("done already", place, receipt.cost)
            self.progress.stage(place, "done already")
        self.finished[place] = Finished(self.directory.final(place), receipt, self.directory.parameters(place))
        self.record()
        self.ended()
        return self.finished[place]

    def record(self) -> None:
        """Write down which run this is and how far it has come, for the report."""
        values = self.config.model_dump(mode="json")
        self.directory.write_run(RunRecord(champion=self.champion, config=values, stages=tuple(self.finished)))

    def _run(
        self,
        place: str,
        name: str,
        key: str,
        inputs: Inputs,
        parameters: Mapping[str, str],
        digests: Mapping[str, str],
        fresh_process: bool,
    ) -> Receipt:
        if self.held is not None:
            self.held.check_heard()
        self.directory.log("began", place)
        self.progress.stage(place, "began")
        working = self.directory.begin(place, key)
        outputs = {output: ARTIFACT_FILES.get(output, output) for output in find_stage(name).outputs}
        context = StageContext(
            config=narrowed(self.config, name),
            inputs={key: tuple(item.path for item in items) for key, items in inputs.items()},
            parameters=parameters,
            outputs={output: working / "out" / file for output, file in outputs.items()},
            scratch=working / "scratch",
            progress=self.progress,
            models=self._models,
            drawn=self.drawn,
            held=self.held,
        )
        outcome = run_in_fresh_process(name, context, working) if fresh_process else find_stage(name).carry_out(context)
        receipt = self.directory.finish(place, key, digests, outcome)
        self.directory.log("ended", place, receipt.cost)
        self.progress.stage(place, f"ended after {receipt.cost.seconds:.1f} s", receipt.cost)
        return receipt


def run_in_fresh_process(name: str, context: StageContext, working: Path) -> StageOutcome:
    """Run a stage as its container does, so that nothing of this process can leak into it.

    The child's progress lines are passed on. It ends when this process ends, however that happens.

    Raises:
        ForgeError: of the kind that the child's exit code stands for, with its own message.
    """
    outcome_file = working / "outcome.json"
    command = [sys.executable, "-m", "agent_forge.cli", "stage", name]
    command += ["--executor-input", json.dumps(_executor_input(context, working))]
    command += ["--outcome-file", str(outcome_file), "--end-with-stdin"]
    last = ""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            for line in child.stderr or ():
                last = line.strip() or last
                if not last.startswith("forge: "):
                    context.progress.note(last)
        except BaseException:
            child.terminate()
            raise
    if child.returncode != 0:
        raise _failure(name, child.returncode, last)
    return read_record(StageOutcome, outcome_file)


def _failure(name: str, code: int, last: str) -> ForgeError:
    if code < 0:
        return CheckFailed(
            f"stage {name} was killed by {signal.Signals(-code).name}; if memory ran out, lower batch_size; "
            "add --resume to continue"
        )
    kind = _KINDS.get(code, CheckFailed)
    return kind(f"stage {name}: {last.removeprefix('forge: ') or f'exit code {code}'}")


def _executor_input(context: StageContext, working: Path) -> dict[str, object]:
    def listed(name: str, paths: Sequence[Path]) -> dict[str, object]:
        return {"artifacts": [{"name": name, "uri": str(path.resolve())} for path in paths]}

    values = {"config": context.config.model_dump_json(), "scratch": str(context.scratch), **context.parameters}
    return {
        "inputs": {
            "parameterValues": values,
            "artifacts": {name: listed(name, paths) for name, paths in context.inputs.items()},
        },
        "outputs": {
            "artifacts": {name: listed(name, [path]) for name, path in context.outputs.items()},
            "outputFile": str(working / "executor-output.json"),
        },
    }
