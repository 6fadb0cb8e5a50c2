"""What a pipeline is compiled for: images, accelerators, nodes, retries, secrets. Read from a YAML file, never code.

    images: {gpu: registry/agent-forge@sha256:...}
    secrets: [{name: hf-token, keys: {token: HF_TOKEN}}]
    parallelism: {cells: 8}
    stages:
      default: {image: cpu, memory: 4Gi}
      evaluate-round: {image: gpu, accelerators: 1, retries: 3}

A stage takes what `default` says and what is said for itself, field by field.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent_forge.config import STAGE_NAMES
from agent_forge.errors import ConfigError
from agent_forge.records import first_problem

# Tasks of the pipeline that evolves champions, which are no stages of a bake.
EVOMERGE_NAMES = ("evolve", "submit-bake")
KNOWN = (*STAGE_NAMES, *EVOMERGE_NAMES)
_QUANTITY = r"^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_DURATION = r"^\d+[smh]$"
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Toleration(_Strict):
    """A taint that the pods of a stage put up with."""

    key: str
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str | None = None
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = None


class Secret(_Strict):
    """A secret of the namespace, handed to containers as environment variables.

    Attributes:
        name: of the secret.
        keys: key in the secret -> environment variable.
        optional: whether pods start without it.
        stages: whose containers get it; all of them when none is named.
    """

    name: str
    keys: dict[str, str]
    optional: bool = True
    stages: tuple[str, ...] = ()


class Volume(_Strict):
    """A claim that is mounted into every container, for champions, publications and the cache of downloads."""

    claim: str
    mount: str = Field(default="/models", pattern=r"^/")


class Parallelism(_Strict):
    """How many tasks of a fan-out run at once.

    Attributes:
        evolve: machines that score the merges of one evolution.
    """

    cells: int = Field(default=4, ge=1)
    shards: int = Field(default=4, ge=1)
    evolve: int = Field(default=1, ge=1, le=64)


class TrainJob(_Strict):
    """Machines of a bake that is carried out by a TrainJob of Kubeflow Trainer.

    Attributes:
        nodes: how many.
        processes: on each, one per accelerator as a rule.
        runtime: name of the ClusterTrainingRuntime.
    """

    nodes: int = Field(default=1, ge=1, le=1024)
    processes: int = Field(default=1, ge=1, le=64)
    runtime: str = "torch-distributed"


class Needs(_Strict):
    """What one stage runs on.

    Attributes:
        image: which of the platform's images.
        cpu, memory: requests and limits as Kubernetes quantities.
        accelerators: how many, 0 for none.
        accelerator_type: resource name of the accelerator.
        node_selector: labels that the node must have.
        tolerations: taints that it may have.
        retries: times that a failed task is run again.
        retry_after: first wait before that.
        retry_factor: what each wait is multiplied by for the next; 1 keeps them equal.
        retry_for: how long after its first start a task is run again; the engine counts everything, attempts and waits
            for a node too, and ends an attempt that is still running then.
        timeout: seconds after which one attempt fails.
        shared_memory: size of /dev/shm, None for the node's default.
        train_job: the machines that a bake is spread over; the rest is then what each of them has.
    """

    image: str = "cpu"
    cpu: str = Field(default="1", pattern=_QUANTITY)
    memory: str = Field(default="4Gi", pattern=_QUANTITY)
    accelerators: int = Field(default=0, ge=0, le=64)
    accelerator_type: str = "nvidia.com/gpu"
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    retries: int = Field(default=0, ge=0, le=100)
    retry_after: str = Field(default="30s", pattern=_DURATION)
    retry_factor: int = Field(default=2, ge=1, le=10)
    retry_for: str = Field(default="720h", pattern=_DURATION)
    timeout: int | None = Field(default=None, ge=1)
    shared_memory: str | None = Field(default=None, pattern=_QUANTITY)
    train_job: TrainJob | None = None

    @model_validator(mode="after")
    def _every_retry_has_its_time(self) -> "Needs":
        waits = sum(_seconds(self.retry_after) * self.retry_factor**number for number in range(self.retries))
        spent = waits + (self.retries + 1) * (self.timeout or 0)
        if spent > _seconds(self.retry_for):
            raise ValueError(
                f"retries {self.retries}: attempts and the waits between them may take {spent:,} seconds, and nothing "
                f"is run again after retry_for {self.retry_for}; lower retries or retry_factor, or raise it"
            )
        return self


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * _SECONDS[duration[-1]]


class Platform(_Strict):
    """One platform; see the module's example."""

    name: str
    description: str = ""
    images: dict[str, str]
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    volume: Volume | None = None
    environment: dict[str, str] = {}
    parallelism: Parallelism = Parallelism()
    stages: dict[str, dict[str, object]] = {}

    @model_validator(mode="after")
    def _stages_are_known(self) -> "Platform":
        _known("stages", self.stages, [*KNOWN, "default"])
        for secret in self.secrets:
            _known(f"secrets.{secret.name}.stages", secret.stages, list(KNOWN))
        for stage in ("default", *KNOWN):
            try:
                self.needs(stage)
            except ValidationError as cause:
                raise ValueError(f"stages.{stage}: {first_problem(cause)}") from cause
        for stage in STAGE_NAMES:
            if (image := self.needs(stage).image) not in self.images:
                raise ValueError(f"stages.{stage}: image {image} is not in images ({', '.join(self.images)})")
            if self.needs(stage).train_job is None:
                continue
            if stage != "bake":
                raise ValueError(f"stages.{stage}: train_job is for bake alone; take it out")
            if self.volume is None:
                raise ValueError("stages.bake: train_job needs a volume that the task and its machines share; give one")
        return self

    def needs(self, stage: str) -> Needs:
        """Return what a stage runs on."""
        return Needs.model_validate({**self.stages.get("default", {}), **self.stages.get(stage, {})})

    def image(self, stage: str) -> str:
        """Return the image of a stage."""
        return self.images[self.needs(stage).image]


def _known(where: str, stages: Iterable[str], known: list[str]) -> None:
    for stage in stages:
        if stage not in known:
            near = difflib.get_close_matches(stage, known, n=1, cutoff=0)
            raise ValueError(f"{where}: unknown stage {stage}; did you mean {near[0]}?")


def read_platform(path: Path) -> Platform:
    """Read a platform file.

    Raises:
        ConfigError: when it cannot be read or is no platform, naming the field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise ConfigError(f"cannot read platform {path}: {' '.join(str(cause).split())}") from cause
    try:
        return Platform.model_validate(content)
    except ValidationError as cause:
        raise ConfigError(f"platform {path}: {first_problem(cause)}") from cause
