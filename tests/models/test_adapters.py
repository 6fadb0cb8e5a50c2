"""Laws of the adapters: they start as nothing, merge to what they did, and touch only what they should."""

import copy
import math

import pytest
import torch
from tiny_finetune import ARCHITECTURES, CONTEXT, TOKEN_IDS, VOCABULARY, tiny_model
from torch import nn

from agent_forge.errors import ChampionError
from agent_forge.models.adapters import LoraShape, TokenRows, attach

SHAPE = LoraShape(rank=4, alpha=8.0, dropout=0.0)
# Every fourth token is one of the two trained ones, so that their embeddings matter to the logits.
IDS_BT = (torch.arange(2 * 12).reshape(2, 12) * 5) % (VOCABULARY - 2)
IDS_BT[:, 1::4], IDS_BT[:, 3::4] = TOKEN_IDS
BOTH_TIES = pytest.mark.parametrize("tied", [True, False])
EVERY_ARCHITECTURE = pytest.mark.parametrize("architecture", ARCHITECTURES)


def weights_of(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@torch.no_grad()
def logits_of(model):
    return model(IDS_BT, use_cache=False).logits.float()


@torch.no_grad()
def shake(trainable, size=0.05):
    torch.manual_seed(1)
    for value in trainable.parameters.values():
        value.add_(torch.randn_like(value) * size)


@EVERY_ARCHITECTURE
@BOTH_TIES
def test_attached_adapters_change_no_logit(architecture, tied):
    model = tiny_model(architecture, tied)
    before = logits_of(model)
    attach("lora", model, TOKEN_IDS, SHAPE)
    torch.testing.assert_close(logits_of(model), before, atol=0, rtol=0)


@EVERY_ARCHITECTURE
@BOTH_TIES
def test_merged_logits_are_the_adapters_logits(architecture, tied):
    model = tiny_model(architecture, tied)
    before = logits_of(model)
    trainable = attach("lora", model, TOKEN_IDS, SHAPE)
    shake(trainable)
    adapted = logits_of(model)
    trainable.merge()
    assert (adapted - before).abs().max() > 1e-2
    torch.testing.assert_close(logits_of(model), adapted, atol=1e-5, rtol=1e-5)


@EVERY_ARCHITECTURE
@BOTH_TIES
def test_merging_changes_two_rows_of_the_embeddings_and_keeps_the_tie(architecture, tied):
    model = tiny_model(architecture, tied)
    names, before = [name for name, _ in model.named_modules()], weights_of(model)
    trainable = attach("lora", model, TOKEN_IDS, SHAPE)
    shake(trainable)
    trainable.merge()
    assert [name for name, _ in model.named_modules()] == names
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert (embedding is head) == tied
    for name, value in model.named_parameters():
        if value is embedding or value is head:
            moved = (value != before[name]).any(dim=1).nonzero().flatten()
            assert moved.tolist() == list(TOKEN_IDS)


@EVERY_ARCHITECTURE
@BOTH_TIES
def test_discarding_leaves_every_weight_and_flag_as_it_was(architecture, tied):
    model = tiny_model(architecture, tied)
    before, logits = weights_of(model), logits_of(model)
    trainable = attach("lora", model, TOKEN_IDS, SHAPE)
    shake(trainable)
    trainable.discard()
    after = weights_of(model)
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    assert all(value.requires_grad for value in model.parameters())
    torch.testing.assert_close(logits_of(model), logits, atol=0, rtol=0)
    assert not hasattr(model, "peft_config")


@EVERY_ARCHITECTURE
@BOTH_TIES
def test_row_gradients_are_those_of_the_embedding_tables(architecture, tied):
    model = tiny_model(architecture, tied)
    reference = copy.deepcopy(model)
    rows = TokenRows(model.get_input_embeddings(), model.get_output_embeddings(), TOKEN_IDS)
    for candidate in (model, reference):
        candidate(IDS_BT, labels=IDS_BT, use_cache=False).loss.backward()
    index = list(TOKEN_IDS)
    expected_in = reference.get_input_embeddings().weight.grad[index]
    expected_out = reference.get_output_embeddings().weight.grad[index]
    torch.testing.assert_close(rows.input_rows_KD.grad, expected_in, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(rows.output_rows_KD.grad, expected_out, atol=1e-6, rtol=1e-4)


def test_rows_are_shared_exactly_when_the_embeddings_are():
    for tied, count in ((True, 1), (False, 2)):
        trainable = attach("lora", tiny_model("llama", tied), TOKEN_IDS, SHAPE)
        assert sum(name.startswith("token_rows.") for name in trainable.parameters) == count


def test_lora_covers_every_linear_layer_but_the_head():
    model = tiny_model("llama")
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    trainable = attach("lora", model, TOKEN_IDS, SHAPE)
    adapted = {name.partition(".lora_")[0] for name in trainable.parameters if ".lora_" in name}
    assert adapted == linear - {"lm_head"}


def test_counts_of_parameters():
    model = tiny_model("llama")
    total = sum(value.numel() for value in model.parameters())
    full = attach("full", copy.deepcopy(model), TOKEN_IDS, SHAPE)
    assert full.trainable_parameters == full.total_parameters == total
    lora = attach("lora", model, TOKEN_IDS, SHAPE)
    linear = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 48), (32, 48), (48, 32)]
    assert lora.trainable_parameters == 2 * sum(4 * (a + b) for a, b in linear) + 2 * 2 * 32
    assert lora.total_parameters == total


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_half_precision_models_train_in_fp32_and_come_back_in_their_own(method, dtype):
    model = tiny_model("llama", tied=True, dtype=dtype)
    trainable = attach(method, model, TOKEN_IDS, SHAPE)
    assert {value.dtype for value in trainable.parameters.values()} == {torch.float32}
    shake(trainable)
    adapted = logits_of(model)
    trainable.merge()
    assert {value.dtype for value in model.parameters()} == {dtype}
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert (logits_of(model) - adapted).abs().max() < 0.05 * adapted.abs().max()


def test_a_bfloat16_row_moves_by_less_than_its_own_resolution():
    # The reason for fp32 rows: a thousand steps of 1e-5 add up, where each alone would round away.
    model = tiny_model("llama", dtype=torch.bfloat16)
    before = weights_of(model)["model.embed_tokens.weight"][TOKEN_IDS[0]].float()
    rows = TokenRows(model.get_input_embeddings(), model.get_output_embeddings(), TOKEN_IDS)
    with torch.no_grad():
        for _ in range(1000):
            rows.input_rows_KD.add_(1e-5)
    rows.merge()
    moved = weights_of(model)["model.embed_tokens.weight"][TOKEN_IDS[0]].float() - before
    assert math.isclose(float(moved.mean()), 0.01, rel_tol=0.05)


def test_weight_decay_spares_token_rows_norms_and_biases():
    lora = attach("lora", tiny_model("phi"), TOKEN_IDS, SHAPE)
    assert lora.undecayed == {name for name in lora.parameters if name.startswith("token_rows.")}
    full = attach("full", tiny_model("phi"), TOKEN_IDS, SHAPE)
    decayed = set(full.parameters) - full.undecayed
    assert decayed and all(full.parameters[name].ndim == 2 for name in decayed)
    assert {"model.embed_tokens.weight", "lm_head.weight", "lm_head.bias"} <= full.undecayed


def test_weights_load_back():
    trainable = attach("lora", tiny_model("llama"), TOKEN_IDS, SHAPE)
    saved = trainable.weights()
    shake(trainable)
    moved = trainable.weights()
    trainable.load(saved)
    assert all(torch.equal(value, saved[name]) for name, value in trainable.weights().items())
    assert all(not torch.equal(moved[name], saved[name]) for name in saved)


def test_an_embedding_that_does_more_than_look_up_is_refused():
    class Shifted(nn.Embedding):
        def forward(self, ids):
            return super().forward(ids) + 1

    with pytest.raises(ChampionError, match="Shifted does more than look up"):
        TokenRows(Shifted(CONTEXT, 8), nn.Linear(8, CONTEXT), TOKEN_IDS)


def test_a_model_that_lora_cannot_adapt_is_refused_and_left_alone():
    model = tiny_model("mamba")
    before, names = logits_of(model), [name for name, _ in model.named_modules()]
    with pytest.raises(ChampionError, match="use bake_method full"):
        attach("lora", model, TOKEN_IDS, SHAPE)
    assert [name for name, _ in model.named_modules()] == names
    assert all(value.requires_grad for value in model.parameters())
    torch.testing.assert_close(logits_of(model), before, atol=0, rtol=0)
