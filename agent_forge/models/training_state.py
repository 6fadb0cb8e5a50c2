"""Checkpoints of a bake: everything needed to go on as if nothing had happened.

    checkpoint_dir/step-00000050/
        state.json            key, step, loss curve, best so far, digests of the other files
        weights.safetensors   the trained values
        best.safetensors      those with the lowest held-out loss so far
        optimizer.pt          AdamW moments and the generators' states, tensors and plain containers only

The learning rate and the place in the data are functions of the step, so neither has a state of its own. A checkpoint
is written to a temporary directory, synced and renamed; only then is its predecessor removed. One that is damaged, or
whose key says that it belongs to other inputs, is passed over with a warning.
"""

import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from agent_forge.errors import InputError, OutputError
from agent_forge.records import LossPoint, Record, read_record
from agent_forge.storage.files import file_sha256, move_into_place

Weights = Mapping[str, torch.Tensor]

STATE, WEIGHTS, BEST, OPTIMIZER = "state.json", "weights.safetensors", "best.safetensors", "optimizer.pt"


class TrainingProgress(Record):
    """How far a bake has come.

    Attributes:
        step: optimizer steps done.
        tokens: training tokens seen, padding left out.
        best_step: step of the lowest held-out loss.
        best_loss: that loss, nats per supervised token.
        evaluations_without_gain: held-out evaluations since then.
        curve: every step so far.
    """

    step: int = Field(ge=0)
    tokens: int = Field(ge=0)
    best_step: int
    best_loss: float
    evaluations_without_gain: int
    curve: tuple[LossPoint, ...]


@dataclass(frozen=True, eq=False)
class TrainingState:
    """One moment of a bake.

    Attributes:
        progress: how far it has come.
        weights: trained values by name, in main memory.
        best: those of the best step.
        optimizer: the optimizer's `state_dict()`.
        generators: state of torch's generators by device: `cpu`, and `cuda` when training runs there.
    """

    progress: TrainingProgress
    weights: Weights
    best: Weights
    optimizer: dict[str, Any]
    generators: dict[str, torch.Tensor]


class _StateFile(Record):
    schema_version: Literal[1] = 1
    key: str
    progress: TrainingProgress
    sha256: dict[str, str]


class Checkpoints:
    """The checkpoints of one bake in one directory.

    Args:
        directory: made when the first checkpoint is written.
        key: digest of everything that the bake's outcome depends on.
    """

    def __init__(self, directory: Path, key: str) -> None:
        self._directory = directory
        self._key = key

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint and remove the others.

        Raises:
            OutputError: when the place cannot be written to; the previous checkpoint is still there.
        """
        final = self._directory / f"step-{state.progress.step:08d}"
        temporary = self._directory / f".{final.name}.partial"
        try:
            temporary.mkdir(parents=True, exist_ok=True)
            self._write(state, temporary)
            move_into_place(temporary, final)
            for other in self._directory.glob("*step-*"):
                if other != final:
                    shutil.rmtree(other)
        except (OSError, SafetensorError, RuntimeError) as cause:
            shutil.rmtree(temporary, ignore_errors=True)
            raise OutputError(
                f"cannot write a checkpoint to {self._directory}: {cause}; make room there or give another directory"
            ) from cause

    def latest(self, expected: Weights) -> tuple[TrainingState | None, tuple[str, ...]]:
        """Return the newest usable checkpoint, if any, and why newer ones were passed over.

        Args:
            expected: the trained values of the model at hand; names and shapes must agree.
        """
        warnings: list[str] = []
        for directory in sorted(self._directory.glob("step-*"), reverse=True):
            try:
                return self._read(directory, expected), tuple(warnings)
            except InputError as problem:
                warnings.append(f"checkpoint {directory.name} was not used: {problem}")
        return None, tuple(warnings)

    def _write(self, state: TrainingState, directory: Path) -> None:
        save_file(dict(state.weights), directory / WEIGHTS)
        save_file(dict(state.best), directory / BEST)
        torch.save({"optimizer": state.optimizer, "generators": state.generators}, directory / OPTIMIZER)
        digests = {name: file_sha256(directory / name) for name in (WEIGHTS, BEST, OPTIMIZER)}
        record = _StateFile(key=self._key, progress=state.progress, sha256=digests)
        (directory / STATE).write_text(record.model_dump_json(), encoding="utf-8")

    def _read(self, directory: Path, expected: Weights) -> TrainingState:
        record = read_record(_StateFile, directory / STATE)
        if record.key != self._key:
            raise InputError("it belongs to a bake of other inputs or settings")
        try:
            return _read_tensors(directory, record, expected)
        except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError, KeyError, EOFError) as cause:
            raise InputError(f"it is damaged: {' '.join(str(cause).split())}") from cause


def _read_tensors(directory: Path, record: _StateFile, expected: Weights) -> TrainingState:
    for name, digest in record.sha256.items():
        if (found := file_sha256(directory / name)) != digest:
            raise InputError(f"it is damaged: {name} hashes to {found[:12]}, {digest[:12]} was written")
    weights, best = load_file(directory / WEIGHTS), load_file(directory / BEST)
    for loaded in (weights, best):
        if _shapes(loaded) != _shapes(expected):
            raise InputError("its weights are those of another model or method")
    rest = torch.load(directory / OPTIMIZER, map_location="cpu", weights_only=True)
    return TrainingState(
        progress=record.progress,
        weights=weights,
        best=best,
        optimizer=rest["optimizer"],
        generators=rest["generators"],
    )


def _shapes(weights: Weights) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in weights.items()}
