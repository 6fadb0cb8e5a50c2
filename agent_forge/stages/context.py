"""What a stage is given and what it returns; the same for a container and for a run on one machine."""

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from agent_forge.config import QuietSTaRConfig
from agent_forge.records import Cost, Record
from agent_forge.storage.lease import Held

if TYPE_CHECKING:
    # What submits runs has no numpy.
    from agent_forge.questions.split import Splits

# What artifacts are called in a run directory; those not named here are directories called by their own name.
ARTIFACT_FILES = {
    "champion": "champion.json",
    "extension": "extension.json",
    "results": "results.jsonl",
    "gate": "gate.json",
    "evaluation": "evaluation.jsonl",
    "bake_report": "bake.json",
    "verification": "verification.json",
    "verification_results": "results.jsonl",
    "manifest": "manifest.json",
    "decision": "decision.json",
}


class Progress(Protocol):
    """Is told how far a run has come."""

    def run(self, bake_id: str) -> None:
        """Say which run this is."""
        ...

    def stage(self, name: str, event: str, cost: Cost | None = None) -> None:
        """Say that a stage began, ended after spending something, or was found done."""
        ...

    def note(self, line: str) -> None:
        """Pass on a line of progress that another process wrote."""
        ...

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Begin a piece of work of `total` rows or steps, `done` of which were done by an earlier process."""
        ...

    def advance(self, done: int, tokens: int) -> None:
        """Say how many rows or steps are done, and how many tokens that took since the beginning."""
        ...


class Silent:
    """Progress that nobody sees."""

    def run(self, bake_id: str) -> None:
        """Do nothing."""

    def stage(self, name: str, event: str, cost: Cost | None = None) -> None:
        """Do nothing."""

    def note(self, line: str) -> None:
        """Do nothing."""

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Do nothing."""

    def advance(self, done: int, tokens: int) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class StageContext:
    """Everything a stage may read and write.

    Attributes:
        config: the whole configuration; a stage reads the fields declared for it.
        inputs: artifact name -> local paths, several where a fan-out was collected, in no particular order.
        parameters: small values as text, e.g. `cell`, `champion_digest`.
        outputs: artifact name -> path to write, a file or a directory; nothing is there yet.
        scratch: directory that survives a kill of this very stage with these very inputs.
        artifacts_at: URI of one of the outputs where a pipeline keeps them, empty in a run on one machine.
        models: models already loaded, by path and purpose; only one machine's run keeps it between stages.
        warnings: see `warn`.
        computed_by: what the stage's model really ran on: device, arithmetic, engine, attention.
        drawn: the questions that this configuration asks for, where the process has drawn them already.
        held: the lease on this bake at its publication root, when the run holds one.
    """

    config: QuietSTaRConfig
    inputs: Mapping[str, tuple[Path, ...]]
    parameters: Mapping[str, str]
    outputs: Mapping[str, Path]
    scratch: Path
    artifacts_at: str = ""
    progress: Progress = field(default_factory=Silent)
    models: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    computed_by: dict[str, str] = field(default_factory=dict)
    drawn: "Splits | None" = None
    held: Held | None = None

    def warn(self, text: str) -> None:
        """Say that something did not go as configured: once now, and in the run's report."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.progress.note(f"warning: {text}")

    def input(self, name: str) -> Path:
        """Return the path of an artifact that there is exactly one of."""
        (path,) = self.inputs[name]
        return path


class StageOutcome(Record):
    """What a stage returns besides its files.

    Attributes:
        cost: what was spent.
        parameters: small outputs that later tasks branch or fan out on; lists as JSON.
        metrics: figures for the pipeline's user interface.
        metadata: artifact name -> what is worth knowing about it at a glance.
        warnings: what did not go as configured, for the run's report.
        computed_by: what the stage's model really ran on, for the run's report.
    """

    cost: Cost
    parameters: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    computed_by: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A stage's declaration: its name in the DAG, what it reads and writes, and the function that does it."""

    name: str
    run: Callable[[StageContext], StageOutcome]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def carry_out(self, context: StageContext) -> StageOutcome:
        """Run it; the outcome carries the warnings that came up, and what the model ran on."""
        outcome = self.run(context)
        found = {"warnings": tuple(context.warnings), "computed_by": dict(context.computed_by)}
        return outcome.model_copy(update=found)


@dataclass
class Meter:
    """Measures what a stage spends: `with` nothing, just make one at the start and ask for the cost at the end."""

    started: float = field(default_factory=time.monotonic)

    def cost(self, tokens: int = 0, questions: int = 0) -> Cost:
        """Return wall seconds since the start and the peak resident memory of the process, in bytes."""
        kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Cost(
            seconds=round(time.monotonic() - self.started, 3),
            tokens=tokens,
            questions=questions,
            peak_memory_bytes=kibibytes * 1024,
            peak_device_memory_bytes=_peak_device_memory(),
        )


def _peak_device_memory() -> int:
    import sys

    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    return int(torch.cuda.max_memory_allocated())
