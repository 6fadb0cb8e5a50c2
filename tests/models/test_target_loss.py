"""Laws of the loss: values and gradients of plain cross entropy, whatever is left out on the way."""

from contextlib import nullcontext

import pytest
import torch
from tiny_finetune import ARCHITECTURES, TOKEN_IDS, random_examples, tiny_model
from torch import nn
from torch.nn import functional

from agent_forge.models.adapters import LoraShape, attach
from agent_forge.models.packing import IGNORED_LABEL, collate
from agent_forge.models.target_loss import TargetLoss

CPU = torch.device("cpu")


def batch_for(model):
    examples = random_examples(6)
    return collate([examples[:4], examples[4:]], packed=True, dtype=model.dtype, device=CPU)


def plain_loss(model, batch):
    logits_BTV = model(**batch.inputs(), use_cache=False).logits[:, :-1].float()
    labels_BT = batch.labels_BT[:, 1:]
    return functional.cross_entropy(
        logits_BTV.flatten(0, 1), labels_BT.flatten(), reduction="sum", ignore_index=IGNORED_LABEL
    )


def gradients(trainable):
    found = {name: value.grad.clone() for name, value in trainable.parameters.items()}
    for value in trainable.parameters.values():
        value.grad = None
    return found


def assert_same_loss_and_gradients(model, method, way, piece=3 * 48):
    trainable = attach(method, model, TOKEN_IDS, LoraShape(4, 8.0, 0.0))
    batch = batch_for(model)
    loss = TargetLoss(model, nullcontext, piece)
    assert loss.way == way
    share = plain_loss(model, batch) / 7
    share.backward()
    expected, wanted = float(share.detach()), gradients(trainable)
    assert loss.total(batch) / 7 == pytest.approx(expected, rel=1e-5)
    assert loss.backward(batch, 1 / 7) == pytest.approx(expected, rel=1e-5)
    for name, value in gradients(trainable).items():
        torch.testing.assert_close(value, wanted[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_losses_and_gradients_are_those_of_all_logits(architecture, method):
    assert_same_loss_and_gradients(tiny_model(architecture, tied=True), method, "pieces")


class Capped(nn.Module):
    """A model's head and what some put after it: the caps and scales of Gemma, Cohere or Granite."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config, self.device, self.dtype = model, model.config, model.device, model.dtype

    def forward(self, **inputs):
        output = self.model(**inputs)
        output.logits = torch.tanh(output.logits / 2) * 2
        return output

    def get_output_embeddings(self):
        return self.model.get_output_embeddings()

    def get_input_embeddings(self):
        return self.model.get_input_embeddings()


def test_logits_that_are_capped_after_the_head_are_taken_from_the_model():
    assert_same_loss_and_gradients(Capped(tiny_model("llama")), "full", "targets")


def test_a_model_that_passes_its_head_by_computes_all_logits(monkeypatch):
    model = tiny_model("llama")
    head = model.get_output_embeddings()
    monkeypatch.setattr(model, "get_output_embeddings", lambda: nn.Linear(32, 48))
    assert TargetLoss(model, nullcontext).way == "all"
    monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
    loss = TargetLoss(model, nullcontext)
    assert loss.way == "all" and head is model.lm_head
    batch = batch_for(model)
    with torch.no_grad():
        assert loss.total(batch) == pytest.approx(float(plain_loss(model, batch)), rel=1e-5)


def test_no_more_logits_are_made_at_a_time_than_a_piece_holds(monkeypatch):
    model = tiny_model("llama")
    seen = []
    model.get_output_embeddings().register_forward_hook(lambda _, __, output: seen.append(output[..., 0].numel()))
    loss = TargetLoss(model, nullcontext, piece=5 * 48)
    seen.clear()
    batch = batch_for(model)
    loss.backward(batch, 1.0)
    assert max(seen) == 5 and sum(seen) == batch.targets < batch.tokens


def test_the_probe_leaves_mode_and_hooks_alone():
    model = tiny_model("llama").train()
    TargetLoss(model, nullcontext)
    assert model.training and not model.get_output_embeddings()._forward_pre_hooks
