"""Running stages on one machine, in a run directory: skip what is done, run the rest, keep the receipts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_forge.config import QuietSTaRConfig, narrowed
from agent_forge.fresh_process import Waiting, run_in_fresh_process
from agent_forge.questions.split import Splits
from agent_forge.records import ChampionRecord, Receipt, RunRecord
from agent_forge.run_directory import RunDirectory
from agent_forge.stages.context import ARTIFACT_FILES, Progress, StageContext
from agent_forge.stages.registry import find_stage
from agent_forge.storage.lease import Held

Inputs = Mapping[str, Sequence["Artifact"]]


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
    """Runs stages one after another in one run directory.

    Attributes:
        ended: called after each of them.
        drawn: the questions, for the stages that would draw them again.
        waiting: process for the stage that wants one of its own.
    """

    config: QuietSTaRConfig
    directory: RunDirectory
    champion: ChampionRecord
    progress: Progress
    held: Held | None = None
    ended: Callable[[], None] = lambda: None
    drawn: Splits | None = None
    waiting: Waiting | None = None
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
        if fresh_process:
            outcome = run_in_fresh_process(name, context, working, self.waiting)
        else:
            outcome = find_stage(name).carry_out(context)
        receipt = self.directory.finish(place, key, digests, outcome)
        self.directory.log("ended", place, receipt.cost)
        self.progress.stage(place, f"ended after {receipt.cost.seconds:.1f} s", receipt.cost)
        return receipt
