"""On a GPU: recorded passes write what the reference writes, memory that runs out is met, a bake is the CPU's bake.

Left out of `make test`; `make test-gpu` runs these where there is one.
"""

from contextlib import contextmanager
from functools import cache

import pytest
import torch
from test_engine import SHARED
from test_finetune import StopError, baked, settings_with, stop_at, weights_of
from test_sample import ROWS
from tiny import KINDS, tiny_champion
from tiny_extended import END, START, in_memory
from tiny_finetune import random_examples, tiny_model
from tiny_sampling import CONTEXT, GREEDY, PROMPT_IDS, RANDOM, ids, prompting, request, rules, scripts

from agent_forge.models.choosing import Decoding
from agent_forge.models.engine_fit import open_sampler
from agent_forge.models.extend import extend
from agent_forge.models.load import load_champion
from agent_forge.models.packed_attention import attending, choose_layout, described, maskable_attention
from agent_forge.models.packing import Layout, collate
from agent_forge.models.sample import TransformersSampler
from agent_forge.models.target_loss import TargetLoss

pytestmark = pytest.mark.gpu
NUCLEUS = Decoding(0.9, top_p=0.8)


@cache
def on_gpu(kind, dtype=torch.float32):
    loaded = in_memory(kind, context=CONTEXT, dtype=dtype)
    if kind == "gemma2":
        # As champions are loaded: in some transformers 5, sdpa leaves its soft cap out.
        loaded.model.set_attn_implementation("eager")
    return extend(loaded, START, END).model.to("cuda")


def both(kind, decoding, dtype=torch.float32):
    given = (on_gpu(kind, dtype), prompting(), rules(), decoding, CONTEXT)
    engine, warning = open_sampler(*given)
    assert warning is None and engine.name == "sharing, by CUDA graphs"
    return engine, TransformersSampler(*given)


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_passes_write_what_the_reference_writes(kind):
    rows = (*SHARED, *ROWS)
    engine, reference = both(kind, RANDOM)
    found, expected = engine.sample(rows, 16), reference.sample(rows, 64)
    differing = [k for k, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other]
    assert not differing, f"{len(differing)} of {len(rows)} rows differ"


@pytest.mark.parametrize("decoding", [GREEDY, NUCLEUS, Decoding(0.8, top_p=0.95, top_k=40)], ids=str)
def test_they_do_so_however_tokens_are_chosen(decoding):
    engine, reference = both("llama", decoding)
    assert engine.sample(SHARED, 16) == reference.sample(SHARED, 64)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_models_in_bfloat16_are_recorded_too(kind):
    # Rounding tells rows apart here, so only that all of them are written is asked.
    engine, _ = both(kind, RANDOM, torch.bfloat16)
    assert all(row.tokens for row in engine.sample(SHARED, 16))


def test_rows_that_memory_does_not_hold_start_anew_and_become_the_same():
    model = extend(
        in_memory("llama", context=CONTEXT, num_attention_heads=16, num_key_value_heads=16, head_dim=64),
        START,
        END,
    ).model.to("cuda")
    given = (model, prompting(), rules(), RANDOM, CONTEXT)
    requests = [
        request(scripts()["elicited"], prompt, seed) for seed, prompt in enumerate([PROMPT_IDS, ids("7")] * 128)
    ]
    expected = TransformersSampler(*given).sample(requests, 64)
    engine, _ = open_sampler(*given)
    # Keys and values of 256 rows take 2 layers x 2 x 16 heads x 64 x 4 bytes x 256 places each: 1 GiB.
    with memory_of(0.6 * 2**30):
        found = engine.sample(requests, 256)
    assert engine.backed_off_to is not None and engine.backed_off_to < 256
    # Rounding, which differs with the number of rows, may choose another token once in thousands.
    assert sum(one != other for one, other in zip(found, expected, strict=True)) <= 2


@contextmanager
def memory_of(size):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(size / torch.cuda.get_device_properties(0).total_memory)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_bake_on_a_gpu_is_the_one_on_a_cpu(method, tmp_path):
    settings = settings_with(method=method, learning_rate=3e-3, dropout=0.0)
    _, expected = baked(tmp_path / "cpu", settings)
    _, found = baked(tmp_path / "gpu", settings, model=tiny_model("llama", tied=True).to("cuda"))
    assert not found.warnings
    # Adapters begin with numbers of the device's own generator.
    rel = {"full": 1e-3, "lora": 5e-2}[method]
    for one, other in zip(found.curve, expected.curve, strict=True):
        assert (one.loss is None) == (other.loss is None)
        assert one.loss is None or one.loss == pytest.approx(other.loss, rel=rel)
    assert found.first_heldout_loss == pytest.approx(expected.first_heldout_loss, rel=1e-4)
    assert found.best_heldout_loss == pytest.approx(expected.best_heldout_loss, rel=rel)


def test_a_bake_that_is_continued_on_a_gpu_ends_with_the_same_weights(tmp_path):
    model, _ = baked(tmp_path / "whole", model=tiny_model("llama", tied=True).to("cuda"))
    with pytest.raises(StopError):
        baked(tmp_path / "parts", model=tiny_model("llama", tied=True).to("cuda"), on_progress=stop_at(3))
    again, _ = baked(tmp_path / "parts", model=tiny_model("llama", tied=True).to("cuda"))
    whole, parts = weights_of(model), weights_of(again)
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)


def test_packed_examples_are_kept_apart_by_flash_attention():
    # Heads as wide as the kernels want them.
    sizes = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
    model = tiny_model("llama", **sizes).to("cuda", torch.bfloat16)
    examples = random_examples(9)
    lengths = [len(example.input_ids) for example in examples]
    loss = TargetLoss(model, lambda: torch.autocast("cuda", dtype=torch.bfloat16))

    def loss_of(rows, layout):
        batch = collate(rows, layout.packed, model.dtype, model.device, layout.masked)
        with torch.no_grad(), attending(batch):
            return loss.total(batch)

    alone = sum(loss_of([[example]], Layout(64, False, 1, 1)) for example in examples)
    with maskable_attention(model):
        layout, warnings = choose_layout(model, lengths, Layout(sum(lengths), True, 1, 1))
        assert described(model, layout).startswith("flash") and not warnings
        assert loss_of([examples], layout) == pytest.approx(alone, rel=2e-2)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_champion_is_loaded_onto_the_gpu_in_its_own_arithmetic(kind, tmp_path):
    loaded = load_champion(str(tiny_champion(tmp_path, kind, dtype=torch.bfloat16)), "auto")
    assert loaded.model.device.type == "cuda" and loaded.model.dtype == torch.bfloat16
    assert loaded.attention in ("sdpa", "flash_attention_2")
