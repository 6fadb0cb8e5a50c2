"""A model whose layers are kept in parts, one per process, and put together where a pass needs them.

Fully sharded data parallel training (Zhao et al., 2023, arXiv:2304.11277), layer by layer. With LoRA only what is
frozen is in parts, and what is trained is whole everywhere. In full training the layers' weights, their gradients and
what the optimizer keeps of them are in parts; embeddings, head and norms outside of layers are whole.

Every function here that puts together or takes apart has to be called by all processes.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from agent_forge.errors import ConfigError


def share_layers(model: nn.Module, kept: Iterable[nn.Parameter] = ()) -> None:
    """Keep the weights of every layer in parts, one per process.

    Gradients of what is trained in parts are sums over the processes.

    Args:
        model: with everything trainable attached.
        kept: what stays whole in every process.

    Raises:
        ConfigError: when the model has no list of layers.
    """
    from torch.distributed.fsdp import fully_shard

    layers = max((module for module in model.modules() if isinstance(module, nn.ModuleList)), key=_weight, default=None)
    if layers is None:
        raise ConfigError(f"{type(model).__name__} has no list of layers to keep in parts; set bake_sharded to false")
    ignored = set(kept)
    for layer in layers:
        # Each layer is a root of its own, and roots would stay whole after a pass.
        shared = fully_shard(layer, reshard_after_forward=True, ignored_params=ignored)
        # Losses are scaled by the targets of all processes already; gloo cannot scale while it sums.
        shared.set_gradient_divide_factor(1.0)
        shared.set_force_sum_reduction_for_comms(True)


def is_part(value: torch.Tensor) -> bool:
    """Whether this process holds a part of the value only."""
    # By what only such tensors have: their class takes long to import, and most bakes have none.
    return hasattr(value, "to_local")


def own(value: torch.Tensor) -> torch.Tensor:
    """Return what this process holds of a value, in the same memory."""
    found: torch.Tensor = value.to_local() if is_part(value) else value  # type: ignore[attr-defined]
    return found


def whole(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a value whole, in main memory; as it is where nothing is in parts.

    Args:
        value: what this process holds of it.
        like: the parameter that it belongs to.
    """
    if not is_part(like):
        return value
    from torch.distributed.tensor import DTensor

    assert isinstance(like, DTensor)
    held = own(value).detach().to(like.device)
    part = DTensor.from_local(held, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())
    return part.full_tensor().to("cpu")


def outlined(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return the shape alone of a whole value where `like` is in parts: what the others need for `taken_apart`."""
    return torch.empty_like(value, device="meta") if is_part(like) else value


@torch.no_grad()
def taken_apart(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a whole value in parts where `like` is, on its device; that of the first process counts."""
    if not is_part(like):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    here = torch.empty_like(value, device=like.device) if value.is_meta else value.to(like.device)
    return distribute_tensor(here, like.device_mesh, like.placements)


def optimizer_changed(
    state: dict[str, Any],
    parameters: Iterable[torch.Tensor],
    change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> dict[str, Any]:
    """Return an optimizer's `state_dict()` with everything changed that it keeps of its parameters, in their order."""
    # How many steps there were is a number of its own, which every process has.
    listed = list(parameters)
    changed = {
        place: {name: change(value, listed[place]) if value.ndim else value for name, value in kept.items()}
        for place, kept in state["state"].items()
    }
    return {**state, "state": changed}


def clip_gradients(parameters: Iterable[nn.Parameter], most: float, add_up: Callable[[float], float]) -> float:
    """Scale gradients down to a norm of at most `most`; return the norm they had.

    Args:
        parameters: some of them in parts.
        most: largest Euclidean norm of all gradients together.
        add_up: adds a number up over the processes.
    """
    gradients = [value.grad for value in parameters if value.grad is not None]
    parts = [own(gradient) for gradient in gradients if is_part(gradient)]
    others = [gradient for gradient in gradients if not is_part(gradient)]
    squares = add_up(sum(float(part.double().square().sum()) for part in parts))
    norm: float = (squares + sum(float(gradient.double().square().sum()) for gradient in others)) ** 0.5
    scale = most / (norm + 1e-6)
    if scale < 1:
        for gradient in (*parts, *others):
            gradient.mul_(scale)
    return norm


def _weight(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())
