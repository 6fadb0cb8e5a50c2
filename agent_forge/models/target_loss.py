"""The loss of the supervised tokens: no other token's logits are computed, and only a piece of them is held at a time.

Prompts are masked, so most positions of a row have no target, and with a large vocabulary logits are the largest
tensors of a step by far. The output head is therefore made to see the positions before targets only. Their hidden
states are then sent through it piece by piece, each piece's gradient taken before the next is computed (as the fused
kernels of Hsu et al., Liger Kernel, 2024, arXiv:2410.10989, do; nothing is computed twice). Losses and gradients are
those of `cross_entropy` over all logits, but for the order of sums.

Whether a model allows it is found out by asking: its logits must be what its head makes of the hidden states it is
given. Some scale or cap them afterwards: they get all supervised positions in one piece. A model whose head cannot be
told which positions to see computes all logits.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from agent_forge.models.memory import is_out_of_memory
from agent_forge.models.packing import IGNORED_LABEL, PackedBatch

# Logits of one piece, 64 MiB in float32.
PIECE_LOGITS = 2**24
Way = Literal["pieces", "targets", "all"]


class TargetLoss:
    """Losses of one model, computed the way that it allows; made when everything trainable is attached.

    Attributes:
        way: how logits are computed: in pieces, for targets at once, or for all positions.
    """

    def __init__(
        self, model: PreTrainedModel, autocast: Callable[[], AbstractContextManager[None]], piece: int = PIECE_LOGITS
    ) -> None:
        self._model, self._autocast, self._piece = model, autocast, piece
        head = model.get_output_embeddings()
        self._head = head if isinstance(head, nn.Module) else None
        self.way: Way = _way(model, self._head) if self._head is not None else "all"

    @torch.no_grad()
    def total(self, batch: PackedBatch) -> float:
        """Return the negative log-likelihood of a batch's targets, in nats, summed in fp32 or better."""
        with self._autocast():
            if self.way != "pieces":
                return float(self._summed(self._logits(batch), _labels(batch)))
            hidden_ND = self._hidden(batch)
            return float(sum(self._of_piece(part_ND, part_N) for part_ND, part_N in self._pieces(hidden_ND, batch)))

    def backward(self, batch: PackedBatch, share: float) -> float:
        """Add the gradient of the summed loss times `share`; return that product."""
        if self.way != "pieces":
            with self._autocast():
                loss = self._summed(self._logits(batch), _labels(batch)) * share
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach())
        with self._autocast():
            hidden_ND = self._hidden(batch)
        # Cut off, so that a piece's logits are freed before the next piece's are made.
        leaf_ND = hidden_ND.detach().requires_grad_()
        total = torch.zeros((), device=hidden_ND.device)
        for part_ND, part_N in self._pieces(leaf_ND, batch):
            with self._autocast():
                loss = self._of_piece(part_ND, part_N) * share
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        hidden_ND.backward(leaf_ND.grad)  # type: ignore[no-untyped-call]
        return float(total)

    def _logits(self, batch: PackedBatch) -> torch.Tensor:
        targets_BT = _before_targets(batch)
        if self.way == "all":
            logits_BTV: torch.Tensor = self._model(**batch.inputs(), use_cache=False).logits
            return logits_BTV[targets_BT]
        assert self._head is not None
        with _seeing(self._head, targets_BT):
            logits_BNV: torch.Tensor = self._model(**batch.inputs(), use_cache=False).logits
        return logits_BNV[0]

    def _hidden(self, batch: PackedBatch) -> torch.Tensor:
        """Return the hidden states before targets; the model's own pass ends with a head that sees none of them."""
        assert self._head is not None
        with _seeing(self._head, _before_targets(batch), pass_on=False) as seen:
            self._model(**batch.inputs(), use_cache=False)
        return seen[0]

    def _pieces(self, hidden_ND: torch.Tensor, batch: PackedBatch) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        rows = max(1, self._piece // self._model.config.get_text_config().vocab_size)
        return zip(torch.split(hidden_ND, rows), torch.split(_labels(batch), rows), strict=True)

    def _of_piece(self, hidden_ND: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
        assert self._head is not None
        return self._summed(self._head(hidden_ND[None])[0], labels_N)

    @staticmethod
    def _summed(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
        exact = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
        return functional.cross_entropy(exact, labels_N, reduction="sum")


def _before_targets(batch: PackedBatch) -> torch.Tensor:
    """Return which positions predict a target, (B, T)."""
    return functional.pad(batch.labels_BT[:, 1:] != IGNORED_LABEL, (0, 1))


def _labels(batch: PackedBatch) -> torch.Tensor:
    labels_BT = batch.labels_BT[:, 1:]
    return labels_BT[labels_BT != IGNORED_LABEL]


@contextmanager
def _seeing(head: nn.Module, chosen_BT: torch.Tensor, pass_on: bool = True) -> Iterator[list[torch.Tensor]]:
    """Let a head see only the chosen positions, as one row; they are yielded too. Without `pass_on` it sees none."""
    seen: list[torch.Tensor] = []

    def choose(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        seen.append(inputs[0][chosen_BT])
        return (seen[-1][None] if pass_on else seen[-1][None, :0], *inputs[1:])

    handle = head.register_forward_pre_hook(choose)
    try:
        yield seen
    finally:
        handle.remove()


@torch.no_grad()
def _way(model: PreTrainedModel, head: nn.Module) -> Way:
    """Find out on a short made-up text what a model allows."""
    was_training = model.training
    model.eval()
    try:
        return _allowed(model, head)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        return "all"  # its forward pass cannot do with other logits than it expects: an answer too
    finally:
        model.train(was_training)


def _allowed(model: PreTrainedModel, head: nn.Module) -> Way:
    ids_BT = torch.arange(1, 9, device=model.device).view(2, 4) % model.config.get_text_config().vocab_size
    chosen_BT = torch.tensor([[False, True, True, False], [True, False, False, True]], device=model.device)
    inputs = {"input_ids": ids_BT, "use_cache": False}
    all_NV = model(**inputs).logits[chosen_BT]
    with _seeing(head, chosen_BT) as seen:
        chosen_NV = model(**inputs).logits[0]
    with _seeing(head, chosen_BT, pass_on=False) as kept:
        none_NV = model(**inputs).logits[0]
    # Rows of a matrix product may differ in their last digits by how many there are.
    close = 1e-5 if all_NV.dtype in (torch.float32, torch.float64) else 2e-2
    size = float(all_NV.abs().max())

    def same(logits_NV: torch.Tensor) -> bool:
        return logits_NV.shape == all_NV.shape and float((logits_NV - all_NV).abs().max()) <= close * size

    if len(seen) != 1 or not same(chosen_NV):
        return "all"
    plain = len(kept) == 1 and len(none_NV) == 0 and same(head(kept[0][None])[0])
    return "pieces" if plain else "targets"
