"""What is trained in a bake: LoRA adapters and the rows of the thought tokens, or every weight.

    trainable = attach("lora", model, token_ids, LoraShape(rank=16, alpha=32.0, dropout=0.0))
    ... optimise trainable.parameters ...
    trainable.merge()       # `model` is plain again, with the training in its weights
    trainable.discard()     # or: `model` is plain again, as it was

LoRA (Hu et al., 2021, arXiv:2106.09685) comes from peft and covers every linear layer but the output head. The rows of
the thought tokens are trained by `TokenRows` and not by peft's `trainable_token_indices`, which is right for tied and
scaled embeddings but drops the bias of an output head that has one (Phi, GPT-J), and rebuilds the whole embedding table
and its gradient in every pass: a SmolLM-sized step took 2.3 times as long.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from peft import LoraConfig, LoraModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from agent_forge.errors import ChampionError
from agent_forge.models.parts import own, share_layers

HALF_PRECISION = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class LoraShape:
    """Rank, scale numerator (the update is scaled by alpha / rank) and dropout of the adapters."""

    rank: int
    alpha: float
    dropout: float


@dataclass(frozen=True, eq=False)
class Trainable:
    """A model made ready for training.

    Attributes:
        parameters: what the optimizer moves, by name; fp32 when the model is in half precision.
        undecayed: names of those that weight decay must not touch: token rows, norms, biases.
        total_parameters: parameters of the plain model.
        merge: puts the training into the plain weights and removes everything added.
        discard: removes everything added; LoRA leaves the weights as they were, full training as they are.
    """

    parameters: dict[str, nn.Parameter]
    undecayed: frozenset[str]
    total_parameters: int
    merge: Callable[[], None]
    discard: Callable[[], None]

    @property
    def trainable_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of the trained values in main memory; of values in parts, what this process holds."""
        return {name: own(value).detach().to("cpu", copy=True) for name, value in self.parameters.items()}

    @torch.no_grad()
    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Set the trained values; names and shapes must be those of `weights()`."""
        for name, value in self.parameters.items():
            own(value).copy_(weights[name])

    def in_parts(self, model: PreTrainedModel) -> "Trainable":
        """Keep the model's layers in parts, one per process, and return what is trained of it then.

        Raises:
            ConfigError: when the model has no list of layers.
        """
        frozen = any(not value.requires_grad for value in model.parameters())
        share_layers(model, self.parameters.values() if frozen else ())
        found = dict(model.named_parameters())
        return replace(self, parameters={name: found.get(name, value) for name, value in self.parameters.items()})


def attach(
    method: Literal["lora", "full"], model: PreTrainedModel, token_ids: Sequence[int], shape: LoraShape
) -> Trainable:
    """Make a model ready for training, in place.

    Args:
        method: adapters plus token rows, or every weight.
        model: the extended model.
        token_ids: the thought tokens, whose rows are trained under LoRA.
        shape: of the adapters; unused by `full`.

    Raises:
        ChampionError: when the model has no token embeddings of the usual form or no layer that LoRA can adapt.
    """
    return _attach_lora(model, token_ids, shape) if method == "lora" else _attach_full(model)


class TokenRows(nn.Module):
    """Trainable additions to a few rows of the embedding and of the output head, one shared addition when tied.

    They act through forward hooks, so a pass costs a product with these rows and never a copy of the table. Both are
    kept in fp32 for models in half precision: there, a step of 1e-5 on a weight of 0.02 would round to nothing.
    """

    def __init__(self, embedding: nn.Module, head: nn.Module, token_ids: Sequence[int]) -> None:
        super().__init__()
        weight_VD, head_VD = _table(embedding, "input"), _table(head, "output")
        self.token_ids = torch.tensor(list(token_ids), device=weight_VD.device)
        self.scale = _embedding_scale(embedding, weight_VD, self.token_ids)
        self.embedding, self.head = [embedding], [head]  # in lists: not submodules of this one
        self.input_rows_KD = _zero_rows(weight_VD, len(token_ids))
        self.output_rows_KD = self.input_rows_KD if head_VD is weight_VD else _zero_rows(head_VD, len(token_ids))
        self._handles = [
            embedding.register_forward_hook(self._add_to_embedding),
            head.register_forward_hook(self._add_to_logits),
        ]

    def _add_to_embedding(self, _: nn.Module, inputs: tuple[torch.Tensor], output_BTD: torch.Tensor) -> torch.Tensor:
        chosen_BTK = (inputs[0][..., None] == self.token_ids).to(self.input_rows_KD.dtype)
        return output_BTD + (chosen_BTK @ self.input_rows_KD * self.scale).to(output_BTD.dtype)

    def _add_to_logits(self, _: nn.Module, inputs: tuple[torch.Tensor], output_BTV: torch.Tensor) -> torch.Tensor:
        added_BTK = inputs[0].to(self.output_rows_KD.dtype) @ self.output_rows_KD.T
        # In place: the linear layer's backward pass does not need its output, and no tensor is larger than the logits.
        return output_BTV.index_add_(-1, self.token_ids, added_BTK.to(output_BTV.dtype))

    @torch.no_grad()
    def merge(self) -> None:
        """Write the additions into the tables."""
        tables = {id(self.input_rows_KD): (self.embedding[0], self.input_rows_KD)}
        tables.setdefault(id(self.output_rows_KD), (self.head[0], self.output_rows_KD))
        for module, rows_KD in tables.values():
            weight_VD = module.weight
            assert isinstance(weight_VD, torch.Tensor)
            weight_VD[self.token_ids] = (weight_VD[self.token_ids] + rows_KD).to(weight_VD.dtype)

    def detach_hooks(self) -> None:
        """Stop acting on the model."""
        for handle in self._handles:
            handle.remove()


def _attach_lora(model: PreTrainedModel, token_ids: Sequence[int], shape: LoraShape) -> Trainable:
    total = sum(parameter.numel() for parameter in model.parameters())
    required = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    rows = TokenRows(model.get_input_embeddings(), model.get_output_embeddings(), token_ids)
    try:
        tuner = _inject_lora(model, shape)
    except ValueError as cause:
        rows.detach_hooks()
        _unwrap(model, required)
        raise ChampionError(
            f"LoRA cannot be attached to {type(model).__name__}: {' '.join(str(cause).split())}; use bake_method full"
        ) from cause
    adapters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    for value in adapters.values():
        value.data = value.data.to(_training_dtype(value.dtype))

    def remove(merge: bool) -> None:
        rows.detach_hooks()
        if merge:
            rows.merge()
            tuner.merge_and_unload(safe_merge=True)
        else:
            tuner.unload()
        _unwrap(model, required)

    token_rows = {f"token_rows.{name}": value for name, value in rows.named_parameters()}
    return Trainable(
        parameters=adapters | token_rows,
        undecayed=frozenset(token_rows),
        total_parameters=total,
        merge=lambda: remove(merge=True),
        discard=lambda: remove(merge=False),
    )


def _inject_lora(model: PreTrainedModel, shape: LoraShape) -> Any:
    config = LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=shape.dropout,
        target_modules="all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    # LoraModel and not get_peft_model: the wrapper around it would change the model's config and add nothing needed.
    return LoraModel(model, config, "default")


def _unwrap(model: PreTrainedModel, required: Mapping[str, bool]) -> None:
    """Undo what is left of an injection: peft gives up half-way where it refuses one of a model's layers."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            model.set_submodule(name, layer.get_base_layer())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(required[name])


def _attach_full(model: PreTrainedModel) -> Trainable:
    parameters = dict(model.named_parameters())
    dtypes = {name: parameter.dtype for name, parameter in parameters.items()}
    required = {name: parameter.requires_grad for name, parameter in parameters.items()}
    for value in parameters.values():
        value.data = value.data.to(_training_dtype(value.dtype))
        value.requires_grad_(True)

    def restore() -> None:
        for name, value in parameters.items():
            value.grad = None
            value.data = value.data.to(dtypes[name])
            value.requires_grad_(required[name])

    # Whole tables count as token rows: rows that no token of the traces touches must not decay either.
    tables = {id(_table(model.get_input_embeddings(), "input")), id(_table(model.get_output_embeddings(), "output"))}
    undecayed = {name for name, value in parameters.items() if value.ndim < 2 or id(value) in tables}
    return Trainable(
        parameters=parameters,
        undecayed=frozenset(undecayed),
        total_parameters=sum(value.numel() for value in parameters.values()),
        merge=restore,
        discard=restore,
    )


def _training_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in HALF_PRECISION else dtype


def _zero_rows(table_VD: nn.Parameter, count: int) -> nn.Parameter:
    dtype = _training_dtype(table_VD.dtype)
    return nn.Parameter(torch.zeros(count, table_VD.shape[1], dtype=dtype, device=table_VD.device))


def _table(module: nn.Module | None, side: str) -> nn.Parameter:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, nn.Parameter):
        raise ChampionError(f"the {side} embedding is {module!r}; a module with one weight, row per token, is needed")
    return weight


@torch.no_grad()
def _embedding_scale(embedding: nn.Module, weight_VD: nn.Parameter, token_ids: torch.Tensor) -> float:
    """Return what the embedding multiplies its rows by: Gemma's does, the others' do not."""
    scale = float(torch.as_tensor(getattr(embedding, "embed_scale", 1.0)).to(weight_VD.dtype))
    if not torch.allclose(embedding(token_ids), weight_VD[token_ids] * scale):
        raise ChampionError(
            f"the input embedding {type(embedding).__name__} does more than look up and scale rows;"
            " such a model can be baked with bake_method full only"
        )
    return scale
