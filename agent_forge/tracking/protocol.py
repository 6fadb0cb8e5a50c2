"""What is tracked, in words that every service understands, and what a service has to do.

    sink = open_sink("mlflow")
    held = sink.open(run)                   # stages that the service holds already
    sink.log(figures, key)                  # once per finished stage
    sink.close(ended_well=True)

A sink may raise and may hang: it is only ever called in a process of its own (`tracking_worker`), which can be ended.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field

from agent_forge.errors import ConfigError
from agent_forge.records import Record

# How the figures of runs are told apart from those of other programs in the same project.
JOB_TYPE = "quietstar"
EVOLUTION_JOB_TYPE = "evomerge"
MODEL_NAME = "baked_quietstar_model"

Cell = str | int | float | bool | None


class Series(Record):
    """Figures along an axis, e.g. the losses of a bake by step.

    Attributes:
        axis: name of the axis, e.g. `bake/step`.
        points: (place on the axis, figures there).
    """

    axis: str
    points: tuple[tuple[int, dict[str, float]], ...]


class Histogram(Record):
    """How often values fell between edges; one more edge than counts."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Table(Record):
    """Rows under named columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class PublishedModel(Record):
    """A published model: where it is, what is known of it, its manifest, and its files when they are to be sent."""

    name: str = MODEL_NAME
    uri: str
    metadata: dict[str, str]
    manifest: Path
    aliases: tuple[str, ...]
    upload: Path | None = None


class StageFigures(Record):
    """What one finished stage has to say.

    Attributes:
        place: `<stage>` or `<stage>/<instance>`.
        model: only ever given by push-artifact, and at the end of an evolution: nothing else publishes anything.
    """

    place: str
    figures: dict[str, float] = Field(default_factory=dict)
    texts: dict[str, str] = Field(default_factory=dict)
    series: tuple[Series, ...] = ()
    histograms: dict[str, Histogram] = Field(default_factory=dict)
    tables: dict[str, Table] = Field(default_factory=dict)
    model: PublishedModel | None = None


class TrackedRun(Record):
    """One run as services know it.

    Attributes:
        run_id: the same whenever the run is continued.
        group: what runs of the same bake have in common.
        config: without credentials.
        champion: `reference`, `uri` and `digest` of the model that came in; empty for an evolution, which has several.
        directory: where a service may keep files of its own.
        patience: seconds that a service may take for one answer.
    """

    run_id: str
    name: str
    group: str
    project: str
    config: dict[str, object]
    champion: dict[str, str]
    directory: Path
    patience: float
    job_type: str = JOB_TYPE


class Sink(Protocol):
    """One service."""

    def open(self, run: TrackedRun) -> Mapping[str, str]:
        """Begin or continue a run; return the keys of the stages that it holds, by place."""
        ...

    def log(self, stage: StageFigures, key: str) -> None:
        """Send a stage's figures, and remember that the stage with this key has been sent."""
        ...

    def close(self, ended_well: bool) -> None:
        """Send what is left."""
        ...


def open_sink(kind: Literal["wandb", "mlflow"]) -> Sink:
    """Return a service by its name, importing nothing of the others.

    Raises:
        ConfigError: when its package is not installed.
    """
    try:
        if kind == "wandb":
            from agent_forge.tracking.wandb_sink import WandbSink

            return WandbSink()
        from agent_forge.tracking.mlflow_sink import MlflowSink

        return MlflowSink()
    except ImportError as cause:
        raise ConfigError(
            f"tracking is {kind} but {cause.name} is not installed; pip install 'agent-forge[{kind}]'"
        ) from cause
