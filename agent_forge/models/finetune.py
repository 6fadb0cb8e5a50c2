"""The bake: fine-tune a model on traces and keep the weights with the lowest held-out loss.

    report = bake(model, train, heldout, BakeSettings.of(config), checkpoint_dir, print, token_ids=(start, end))

Every step is decided before the first: which examples share which rows (`packing`), and the learning rate (`training`).
Training can therefore stop at any moment and go on from its last checkpoint (`training_state`) to the same weights, bit
for bit on a CPU.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PreTrainedModel

from agent_forge.errors import InputError
from agent_forge.models.adapters import HALF_PRECISION, LoraShape, Trainable, attach
from agent_forge.models.packed_attention import choose_layout, described, maskable_attention
from agent_forge.models.packing import Layout, TrainingExample
from agent_forge.models.ranks import ALONE, Ranks
from agent_forge.models.settings import BakeSettings
from agent_forge.models.training import ProgressEvent, Training
from agent_forge.models.training_state import Checkpoints
from agent_forge.records import BakeReport

__all__ = ["BakeSettings", "ProgressEvent", "TrainingExample", "bake"]

OPERATIONAL = {"checkpoint_every", "gradient_checkpointing"}  # settings that leave the baked weights as they are


def bake(
    model: PreTrainedModel,
    train: Sequence[TrainingExample],
    heldout: Sequence[TrainingExample],
    settings: BakeSettings,
    checkpoint_dir: Path,
    on_progress: Callable[[ProgressEvent], None],
    *,
    token_ids: Sequence[int],
    key: str = "",
    ranks: Ranks = ALONE,
    reload: Callable[[], PreTrainedModel] | None = None,
) -> BakeReport:
    """Fine-tune a model in place and leave it plain, with the weights of the lowest held-out loss.

    A checkpoint of the same bake in `checkpoint_dir` is continued. When this raises, LoRA leaves the model's weights
    as they were; after full training they are partly trained and the model must be loaded again.

    Args:
        model: the extended model, on the device to train on.
        train: examples to learn from.
        heldout: examples that choose the weights and stop the bake; none of them in `train`.
        settings: how to bake.
        checkpoint_dir: where checkpoints go; the caller removes it once the result is safe.
        on_progress: called after every step; what it raises ends the bake and reaches the caller.
        token_ids: the two thought tokens.
        key: digest of what the caller knows the outcome to depend on besides the examples and settings: the model.
        ranks: the processes that bake together; `checkpoint_dir` is the first one's.
        reload: gives the model anew, for the weights to be merged into. With it the layers of `model` are kept in
            parts during training, and `model` is of no use after it. Only the first process calls it.

    Raises:
        InputError: when there is nothing to train on or to hold out, or an example is longer than a row.
        ChampionError: when the model cannot be trained by this method.
        OutputError: when a checkpoint cannot be written.
        ForgeError: when the loss stops being finite.
    """
    _require_examples(train, heldout)
    warnings: list[str] = []
    with _training_conditions(model, settings, warnings):
        lengths = [len(example.input_ids) for example in (*train, *heldout)]
        layout, notes = choose_layout(model, lengths, _wanted_layout(settings))
        warnings.extend(notes)
        attention = described(model, layout)
        half_precision = model.dtype in HALF_PRECISION
        trainable = attach(settings.method, model, token_ids, _shape(settings))
        try:
            checkpoints = Checkpoints(checkpoint_dir, _bake_key(key, settings, layout, token_ids, train, heldout))

            def save_memory() -> bool:
                return not _checkpoints_gradients(model) and not _checkpoint_gradients(model)

            if reload is not None:
                trainable = trainable.in_parts(model)
            training = Training(
                model, trainable, train, heldout, layout, settings, checkpoints, half_precision, save_memory, ranks
            )
            training.run(on_progress)
        except BaseException:
            trainable.discard()
            raise
        warnings.extend(training.warnings)
        if reload is None:
            warnings.extend(_merge(training, trainable, half_precision))
        else:
            training.put_best_together()
            if ranks.first:
                warnings.extend(_merge_into(reload(), training, settings, token_ids, half_precision))
    return _report(training, trainable, train, heldout, settings, warnings, attention)


def _require_examples(train: Sequence[TrainingExample], heldout: Sequence[TrainingExample]) -> None:
    if not train or not heldout:
        raise InputError(
            f"{len(train)} training and {len(heldout)} held-out examples; at least one of each is needed:"
            " collect more traces or change heldout_fraction"
        )


def _wanted_layout(settings: BakeSettings) -> Layout:
    return Layout(
        row_length=settings.pack_length,
        packed=True,
        rows_per_batch=settings.train_batch_size,
        batches_per_step=settings.gradient_accumulation,
    )


@contextmanager
def _training_conditions(model: PreTrainedModel, settings: BakeSettings, warnings: list[str]) -> Iterator[None]:
    """Seed torch's generators, switch attention and gradient checkpointing; put everything back at the end."""
    was_training = model.training
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), maskable_attention(model) as notes:
        warnings.extend(notes)
        torch.manual_seed(settings.seed)
        try:
            if settings.gradient_checkpointing:
                warnings.extend(_checkpoint_gradients(model))
            yield
        finally:
            if _checkpoints_gradients(model):
                _keep_gradients(model)
            model.train(was_training)


def _checkpoint_gradients(model: PreTrainedModel) -> tuple[str, ...]:
    # transformers 5.x renames the method and warns under the old name.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError:
        return (f"{type(model).__name__} does not support gradient checkpointing: baked without",)
    return ()


def _checkpoints_gradients(model: PreTrainedModel) -> bool:
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def _keep_gradients(model: PreTrainedModel) -> None:
    disable = getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable
    disable()
    model.disable_input_require_grads()


def _bake_key(
    key: str,
    settings: BakeSettings,
    layout: Layout,
    token_ids: Sequence[int],
    train: Sequence[TrainingExample],
    heldout: Sequence[TrainingExample],
) -> str:
    shape = [layout.packed, layout.masked, layout.row_length]
    facts = [key, settings.model_dump(exclude=OPERATIONAL), shape, list(token_ids)]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for part in (train, heldout):
        digest.update(b"\n")
        for example in part:
            digest.update(json.dumps([example.input_ids, example.supervised]).encode())
    return digest.hexdigest()


def _merge(training: Training, trainable: Trainable, half_precision: bool) -> list[str]:
    """Put the best weights into the model, which is plain after it; return what is odd about them."""
    trainable.load(training.best)
    trainable.merge()
    return list(_doubts(training, half_precision))


def _merge_into(
    model: PreTrainedModel, training: Training, settings: BakeSettings, token_ids: Sequence[int], half_precision: bool
) -> list[str]:
    """Do so with another copy of the model, in this process alone."""
    with _training_conditions(model, settings, []):
        trainable = attach(settings.method, model, token_ids, _shape(settings))
        training.go_on_alone(model)
        return _merge(training, trainable, half_precision)


def _shape(settings: BakeSettings) -> LoraShape:
    return LoraShape(settings.rank, settings.alpha, settings.dropout)


def _doubts(training: Training, half_precision: bool) -> Iterator[str]:
    """Yield what is odd about a finished bake: no gain, or a merge that changed the loss."""
    best = training.progress.best_loss
    if training.progress.best_step == 0:
        yield f"the held-out loss never fell below its {best:.4f} at the start: the weights are unchanged"
    merged = training.heldout_loss()
    if abs(merged - best) > (2e-2 if half_precision else 1e-3) * max(1.0, best):
        yield f"merging moved the held-out loss from {best:.4f} to {merged:.4f}"


def _report(
    training: Training,
    trainable: Trainable,
    train: Sequence[TrainingExample],
    heldout: Sequence[TrainingExample],
    settings: BakeSettings,
    warnings: Sequence[str],
    attention: str,
) -> BakeReport:
    progress = training.progress
    first = progress.curve[0].heldout_loss
    assert first is not None
    return BakeReport(
        method=settings.method,
        examples=len(train),
        heldout_examples=len(heldout),
        replay_examples=sum(example.source == "replay" for example in train),
        steps=progress.step,
        planned_steps=len(training.plan),
        best_step=progress.best_step,
        stopped_early=training.stopped_early and progress.step < len(training.plan),
        trainable_parameters=trainable.trainable_parameters,
        total_parameters=trainable.total_parameters,
        packing_efficiency=training.efficiency,
        first_heldout_loss=first,
        best_heldout_loss=progress.best_loss,
        curve=progress.curve,
        attention=attention,
        warnings=tuple(warnings),
    )
