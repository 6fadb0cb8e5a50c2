"""The training loop: AdamW over packed batches, held-out evaluation, early stop, checkpoints.

AdamW is decoupled weight decay (Loshchilov and Hutter, 2019, arXiv:1711.05101).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from agent_forge.errors import ForgeError
from agent_forge.models.adapters import Trainable
from agent_forge.models.memory import give_back_memory, is_out_of_memory
from agent_forge.models.packed_attention import attending
from agent_forge.models.packing import (
    Batch,
    Layout,
    PackedBatch,
    TrainingExample,
    collate,
    packing_efficiency,
    plan_batches,
    plan_epochs,
)
from agent_forge.models.parts import (
    clip_gradients,
    is_part,
    optimizer_changed,
    outlined,
    own,
    taken_apart,
    whole,
)
from agent_forge.models.ranks import ALONE, Ranks
from agent_forge.models.settings import BakeSettings, learning_rate_at
from agent_forge.models.target_loss import TargetLoss
from agent_forge.models.training_state import Checkpoints, TrainingProgress, TrainingState, Weights
from agent_forge.records import LossPoint


@dataclass(frozen=True)
class ProgressEvent:
    """One optimizer step done.

    Attributes:
        step: which, counted from 1.
        planned_steps: how many there are unless held-out loss stops the bake earlier.
        tokens: training tokens seen so far, padding left out.
        loss: mean over the step's supervised tokens, nats.
        learning_rate: the step was taken with.
    """

    step: int
    planned_steps: int
    tokens: int
    loss: float
    learning_rate: float


class Training:
    """One training run from its first step, or its last checkpoint, to its end.

    Args:
        model: with everything trainable attached.
        trainable: what was attached.
        train: examples to learn from.
        heldout: examples to stop by.
        layout: the rows' shape, fitted to the model.
        settings: how to train.
        checkpoints: where to continue from and write to.
        half_precision: whether the plain model is; on CUDA it then trains under bf16 autocast.
        save_memory: called when memory runs out; says whether it could do something about it.
        ranks: the processes that train together.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        trainable: Trainable,
        train: Sequence[TrainingExample],
        heldout: Sequence[TrainingExample],
        layout: Layout,
        settings: BakeSettings,
        checkpoints: Checkpoints,
        half_precision: bool,
        save_memory: Callable[[], bool],
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks = ranks
        self._model, self._trainable, self._settings, self._layout = model, trainable, settings, layout
        self._train, self._heldout, self._checkpoints, self._save_memory = train, heldout, checkpoints, save_memory
        lengths = [len(example.input_ids) for example in train]
        generator = np.random.default_rng(settings.seed)
        self.plan = plan_epochs(lengths, layout, settings.num_epochs, generator)
        self._heldout_plan = plan_batches([len(example.input_ids) for example in heldout], layout, generator)
        self.efficiency = packing_efficiency(self.plan, lengths)
        self._optimizer = _optimizer(trainable, settings)
        self._autocast_to_bf16 = model.device.type == "cuda" and half_precision
        self._loss = TargetLoss(model, self._autocast)
        self.warnings: tuple[str, ...] = ()
        self.progress, self.best = self._begin_or_resume()

    @property
    def stopped_early(self) -> bool:
        """Whether the held-out loss has gone without a gain for too long."""
        return self.progress.evaluations_without_gain >= self._settings.early_stop_patience

    def run(self, on_progress: Callable[[ProgressEvent], None]) -> None:
        """Train to the end of the plan or the early stop.

        Args:
            on_progress: called after every step; what it raises ends the training and reaches the caller.

        Raises:
            ForgeError: when a loss or gradient is not finite.
            OutputError: when a checkpoint cannot be written.
        """
        while self.progress.step < len(self.plan) and not self.stopped_early:
            point = self._step()
            step = point.step
            if step % self._settings.evaluate_every == 0 or step == len(self.plan):
                point = self._judge(point)
            self._update(curve=(*self.progress.curve, point), step=step, tokens=point.tokens)
            if step % self._settings.checkpoint_every == 0:
                self._save()
            assert point.loss is not None
            on_progress(ProgressEvent(step, len(self.plan), point.tokens, point.loss, point.learning_rate))

    def heldout_loss(self) -> float:
        """Return the mean negative log-likelihood of the held-out targets, nats per supervised token."""
        self._model.eval()
        total = targets = 0.0
        with torch.no_grad():
            for rows in self._heldout_plan:
                own, counted = self._ranks.share(rows)
                batch = self._collate(self._heldout, own)
                with attending(batch):
                    loss = self._loss.total(batch)
                if counted:
                    total += loss
                    targets += batch.targets
        total, targets = self._ranks.add_up(total, targets)
        return total / targets

    def go_on_alone(self, model: PreTrainedModel) -> None:
        """Judge by another copy of the model, in this process only."""
        self._model, self._ranks = model, ALONE
        self._loss = TargetLoss(model, self._autocast)

    def put_best_together(self) -> None:
        """Make the best weights whole, for `go_on_alone`; with layers in parts, every process has to."""
        self.best = self._of_each(self.best, whole)

    def _save(self) -> None:
        state = self._state()
        if self._ranks.first:
            self._checkpoints.save(state)

    def _begin_or_resume(self) -> tuple[TrainingProgress, Weights]:
        found = self._checkpoints.latest(self._trainable.parameters) if self._ranks.first else (None, ())
        said = self._ranks.agree(lambda: (found[0] and self._outlined(found[0]), found[1]))
        state, self.warnings = found if self._ranks.first else said
        return self._begin() if state is None else self._resume(state)

    def _begin(self) -> tuple[TrainingProgress, Weights]:
        loss = self._finite(self.heldout_loss(), 0, "held-out loss")
        point = LossPoint(step=0, tokens=0, learning_rate=0.0, heldout_loss=loss)
        progress = TrainingProgress(
            step=0, tokens=0, best_step=0, best_loss=loss, evaluations_without_gain=0, curve=(point,)
        )
        return progress, self._trainable.weights()

    def _resume(self, state: TrainingState) -> tuple[TrainingProgress, Weights]:
        best = {name: own(value).to("cpu") for name, value in self._of_each(state.best, taken_apart).items()}
        weights = self._of_each(state.weights, taken_apart)
        self._trainable.load({name: own(value) for name, value in weights.items()})
        optimizer = optimizer_changed(state.optimizer, self._optimized, taken_apart)
        self._optimizer.load_state_dict(_moved_as(self._optimizer, optimizer))
        self._restore(state.generators)
        return state.progress, best

    def _of_each(
        self, weights: Weights, change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return weights changed one by one, each with the parameter that it belongs to."""
        return {name: change(value, self._trainable.parameters[name]) for name, value in weights.items()}

    def _outlined(self, state: TrainingState) -> TrainingState:
        """Return a state with the shapes alone of what the other processes get in parts."""
        weights, best = (self._of_each(values, outlined) for values in (state.weights, state.best))
        optimizer = optimizer_changed(state.optimizer, self._optimized, outlined)
        return replace(state, weights=weights, best=best, optimizer=optimizer)

    def _state(self) -> TrainingState:
        weights, best = (self._of_each(values, whole) for values in (self._trainable.weights(), self.best))
        optimizer = optimizer_changed(self._optimizer.state_dict(), self._optimized, whole)
        return TrainingState(self.progress, weights, best, optimizer, self._generators())

    @property
    def _optimized(self) -> list[torch.Tensor]:
        """The trained values in the order of the optimizer."""
        return [value for group in self._optimizer.param_groups for value in group["params"]]

    def _step(self) -> LossPoint:
        """Take one optimizer step; the loss is the mean over all supervised tokens of its forward passes.

        When memory runs out, the passes are made again with gradient checkpointing, which changes no weight, and so
        are all after them.
        """
        if not self._model.training:
            self._model.train()
        index = self.progress.step
        generators = self._generators()
        found = self._tried(index)
        if found is None:
            # Outside of the handler, which would keep the tensors of the failed passes alive.
            self._optimizer.zero_grad(set_to_none=True)
            self._restore(generators)
            give_back_memory()
            found = self._passes(index)
        total, tokens = found
        rate = self._move(index, total)
        return LossPoint(step=index + 1, tokens=self.progress.tokens + tokens, learning_rate=rate, loss=total)

    def _tried(self, index: int) -> tuple[float, int] | None:
        """Make the passes of a step; None when memory ran out and less will be needed from now on."""
        try:
            return self._passes(index)
        except (MemoryError, RuntimeError) as error:
            # Of several processes each would have to know that it makes its passes again.
            if self._ranks.count > 1 or not is_out_of_memory(error) or not self._save_memory():
                raise
        self.warnings = (*self.warnings, f"memory ran out in step {index + 1}: gradients are checkpointed from there")
        return None

    def _passes(self, index: int) -> tuple[float, int]:
        """Add up the gradients of one step; return its loss and its tokens."""
        tokens, total = 0, 0.0
        targets = sum(self._train[example].targets for rows in self.plan[index] for row in rows for example in row)
        for rows in self.plan[index]:
            own, counted = self._ranks.share(rows)
            batch = self._collate(self._train, own)
            with attending(batch):
                total += self._loss.backward(batch, counted / targets)
            tokens += batch.tokens * counted
        self._ranks.add_up_gradients(self._trainable.parameters.values())
        total, counted_tokens = self._ranks.add_up(total, tokens)
        return total, int(counted_tokens)

    def _generators(self) -> dict[str, torch.Tensor]:
        generators = {"cpu": torch.get_rng_state()}
        if self._model.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self._model.device)
        return generators

    def _restore(self, generators: Mapping[str, torch.Tensor]) -> None:
        torch.set_rng_state(generators["cpu"])
        if "cuda" in generators and self._model.device.type == "cuda":
            torch.cuda.set_rng_state(generators["cuda"], self._model.device)

    def _move(self, index: int, loss: float) -> float:
        settings = self._settings
        rate = learning_rate_at(index, len(self.plan), settings.learning_rate, settings.warmup_fraction)
        norm = self._clip()
        self._finite(loss, index + 1, "loss")
        self._finite(norm, index + 1, "gradient")
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return rate

    def _clip(self) -> float:
        parameters, most = self._trainable.parameters.values(), self._settings.max_grad_norm
        if any(map(is_part, parameters)):
            return clip_gradients(parameters, most, lambda value: self._ranks.add_up(value)[0])
        return float(torch.nn.utils.clip_grad_norm_(parameters, most))

    def _judge(self, point: LossPoint) -> LossPoint:
        loss = self._finite(self.heldout_loss(), point.step, "held-out loss")
        if loss < self.progress.best_loss:
            self.best = self._trainable.weights()
            self._update(best_step=point.step, best_loss=loss, evaluations_without_gain=0)
        else:
            self._update(evaluations_without_gain=self.progress.evaluations_without_gain + 1)
        return point.model_copy(update={"heldout_loss": loss})

    def _finite(self, value: float, step: int, name: str) -> float:
        if math.isfinite(value):
            return value
        raise ForgeError(
            f"the bake diverged: {name} is {value} after {step} steps; lower learning_rate"
            f" ({self._settings.learning_rate:g}), raise warmup_fraction, or use dtype float32; nothing was baked"
        )

    def _update(self, **values: object) -> None:
        self.progress = self.progress.model_copy(update=values)

    def _collate(self, examples: Sequence[TrainingExample], rows: Batch) -> PackedBatch:
        chosen = [[examples[index] for index in row] for row in rows]
        layout = self._layout
        return collate(chosen, layout.packed, self._model.dtype, self._model.device, layout.masked)

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self._model.device.type, dtype=torch.bfloat16, enabled=self._autocast_to_bf16)


def _optimizer(trainable: Trainable, settings: BakeSettings) -> torch.optim.AdamW:
    decayed = [value for name, value in trainable.parameters.items() if name not in trainable.undecayed]
    undecayed = [value for name, value in trainable.parameters.items() if name in trainable.undecayed]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    values = trainable.parameters.values()
    # Functions for many values at once take either parts or whole values.
    foreach = False if any(map(is_part, values)) else None
    # On a CPU one kernel moves all of a group without copies of it; on a GPU PyTorch chooses.
    fused = True if foreach is None and all(value.device.type == "cpu" for value in values) else None
    return torch.optim.AdamW(groups, lr=settings.learning_rate, foreach=foreach, fused=fused)


def _moved_as(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return an optimizer's state to be loaded by this one, which may move its values in another way."""
    groups = zip(state["param_groups"], optimizer.param_groups, strict=True)
    ways = ("foreach", "fused")
    return {**state, "param_groups": [saved | {name: here[name] for name in ways} for saved, here in groups]}
