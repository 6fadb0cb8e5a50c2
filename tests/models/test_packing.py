"""Laws of packing: nothing is lost, nothing leaks, and a packed example has the logits it has alone."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_finetune import ARCHITECTURES, CONTEXT, logits_of, random_examples, tiny_model

from agent_forge.errors import InputError
from agent_forge.models import packed_attention
from agent_forge.models.packed_attention import (
    BY_SPANS,
    attending,
    choose_layout,
    described,
    keeps_examples_apart,
    maskable_attention,
    span_attention,
)
from agent_forge.models.packing import (
    IGNORED_LABEL,
    WINDOW,
    Layout,
    TrainingExample,
    block_causal_mask,
    collate,
    pack_rows,
    packing_efficiency,
    plan_batches,
    plan_epochs,
)

CPU = torch.device("cpu")
lengths_lists = st.lists(st.integers(2, 32), min_size=1, max_size=60)


@given(lengths_lists, st.integers(0, 5))
def test_every_example_is_in_exactly_one_row_and_rows_fit(lengths, seed):
    rows = pack_rows(lengths, 32, np.random.default_rng(seed))
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[index] for index in row) <= 32 for row in rows)


@given(lengths_lists, st.integers(0, 5))
def test_no_two_rows_could_be_one_smaller_half(lengths, seed):
    # Best fit opens a row only when no open one has room: at most one row is half empty or emptier.
    rows = pack_rows(lengths, 32, np.random.default_rng(seed))
    assert sum(sum(lengths[index] for index in row) <= 16 for row in rows) <= 1


@given(lengths_lists, st.integers(0, 5))
def test_same_generator_state_gives_the_same_rows(lengths, seed):
    first, second = (pack_rows(lengths, 32, np.random.default_rng(seed)) for _ in range(2))
    assert first == second


def test_more_examples_than_a_window_are_all_packed():
    lengths = [2 + index % 30 for index in range(2 * WINDOW + 7)]
    rows = pack_rows(lengths, 32, np.random.default_rng(0))
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))


def test_epochs_differ_in_order_but_each_covers_everything():
    lengths = [5, 9, 3, 7, 11, 6, 4, 8] * 4
    layout = Layout(row_length=16, packed=True, rows_per_batch=2, batches_per_step=3)
    generator = np.random.default_rng(0)
    one, two = (plan_epochs(lengths, layout, 1, generator) for _ in range(2))
    both = plan_epochs(lengths, layout, 2, np.random.default_rng(0))
    assert both == one + two and one != two
    for epoch in (one, two):
        assert sorted(index for step in epoch for batch in step for row in batch for index in row) == list(range(32))


def test_steps_hold_as_many_rows_as_the_layout_says():
    layout = Layout(row_length=8, packed=False, rows_per_batch=2, batches_per_step=3)
    steps = plan_epochs([8] * 13, layout, 1, np.random.default_rng(0))
    assert [[len(batch) for batch in step] for step in steps] == [[2, 2, 2], [2, 2, 2], [1]]


def test_unpacked_rows_hold_one_example_each():
    layout = Layout(row_length=32, packed=False, rows_per_batch=4, batches_per_step=1)
    batches = plan_batches([2, 3, 4, 5, 6], layout, np.random.default_rng(0))
    assert sorted(row for batch in batches for row in batch) == [(0,), (1,), (2,), (3,), (4,)]


@given(lengths_lists)
def test_packing_never_computes_more_padding_than_one_example_per_row_of_full_length(lengths):
    layout = Layout(row_length=32, packed=True, rows_per_batch=4, batches_per_step=1)
    efficiency = packing_efficiency(plan_epochs(lengths, layout, 1, np.random.default_rng(0)), lengths)
    assert sum(lengths) / (32 * len(lengths)) <= efficiency <= 1


def test_many_short_examples_fill_rows():
    lengths = [int(length) for length in np.random.default_rng(1).integers(20, 200, 500)]
    layout = Layout(row_length=512, packed=True, rows_per_batch=4, batches_per_step=1)
    assert packing_efficiency(plan_epochs(lengths, layout, 2, np.random.default_rng(0)), lengths) > 0.95


@pytest.mark.parametrize("packed", [True, False])
def test_an_example_longer_than_a_row_is_refused_by_length(packed):
    layout = Layout(row_length=16, packed=packed, rows_per_batch=1, batches_per_step=1)
    with pytest.raises(InputError, match="example 1 has 17 tokens but a row holds 16"):
        plan_batches([16, 17, 3], layout, np.random.default_rng(0))


def test_an_example_that_teaches_nothing_is_refused():
    with pytest.raises(InputError, match="supervises none"):
        TrainingExample((1, 2, 3), (True, False, False))
    with pytest.raises(InputError, match="3 tokens and 2 supervision flags"):
        TrainingExample((1, 2, 3), (True, True))


def test_tensors_of_a_packed_row():
    rows = [
        [TrainingExample((5, 6, 7), (True, False, True)), TrainingExample((8, 9), (True, True))],
        [TrainingExample((4, 3, 2, 1, 5, 6), (False,) * 3 + (True,) * 3)],
    ]
    batch = collate(rows, packed=True, dtype=torch.float32, device=CPU)
    no = IGNORED_LABEL
    assert batch.input_ids_BT.tolist() == [[5, 6, 7, 8, 9, 0], [4, 3, 2, 1, 5, 6]]
    assert batch.labels_BT.tolist() == [[no, no, 7, no, 9, no], [no, no, no, 1, 5, 6]]
    assert batch.segments_BT.tolist() == [[1, 1, 1, 2, 2, 0], [1] * 6]
    assert batch.position_ids_BT.tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]]
    assert (batch.tokens, batch.targets) == (11, 5)
    assert batch.targets == int((batch.labels_BT != no).sum())


@given(st.lists(st.lists(st.integers(0, 4), min_size=6, max_size=6), min_size=1, max_size=3))
def test_mask_is_causal_within_a_segment_and_closed_between_segments(segments):
    segments_BT = torch.tensor(segments)
    mask_B1TT = block_causal_mask(segments_BT, torch.float32)
    for row, segment in enumerate(segments):
        for query in range(6):
            for key in range(6):
                sees = key <= query and segment[key] == segment[query]
                assert (mask_B1TT[row, 0, query, key] == 0) == sees


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_mask_is_finite_and_every_query_sees_itself(dtype):
    mask_B1TT = block_causal_mask(torch.tensor([[1, 1, 2, 0, 0]]), dtype)
    assert mask_B1TT.dtype == dtype and mask_B1TT.isfinite().all()
    assert (mask_B1TT[0, 0].diagonal() == 0).all()


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_examples_have_the_logits_they_have_alone(architecture, backend):
    model = tiny_model(architecture)
    model.set_attn_implementation(backend)
    examples = random_examples(5)
    batch = collate([examples[:3], examples[3:]], packed=True, dtype=model.dtype, device=CPU)
    with torch.no_grad():
        logits_BTV = model(**batch.inputs(), use_cache=False).logits
    assert logits_BTV.isfinite().all()
    for row, members in enumerate((examples[:3], examples[3:])):
        start = 0
        for example in members:
            packed_TV = logits_BTV[row, start : start + len(example.input_ids)]
            torch.testing.assert_close(packed_TV, logits_of(model, example.input_ids), atol=1e-5, rtol=0)
            start += len(example.input_ids)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attention_by_spans_gives_the_logits_and_gradients_of_the_mask(architecture, dtype):
    examples = random_examples(7)
    rows, close = [examples[:4], examples[4:]], 1e-5 if dtype == torch.float32 else 5e-2
    found = []
    for backend in ("sdpa", BY_SPANS):
        model = tiny_model(architecture, dtype=dtype)
        model.set_attn_implementation(backend)
        batch = collate(rows, packed=True, dtype=dtype, device=CPU, masked=backend != BY_SPANS)
        with attending(batch):
            logits_BTV = model(**batch.inputs(), use_cache=False).logits.float()
            logits_BTV[batch.segments_BT > 0].square().mean().backward()
        found.append((logits_BTV.detach()[batch.segments_BT > 0], model.get_input_embeddings().weight.grad))
    (masked, masked_grad), (spans, spans_grad) = found
    torch.testing.assert_close(spans, masked, atol=close, rtol=close)
    torch.testing.assert_close(spans_grad, masked_grad, atol=close, rtol=close)


def varlen_on_cpu(query, key, value, bounds, bounds_k, most, most_k, *, scale, window_size, enable_gqa=False):
    """The kernel's contract, for machines without a GPU: pieces of one long row, each causal."""
    assert window_size == (-1, 0) and torch.equal(bounds, bounds_k) and most == most_k == int(bounds.diff().max())
    pieces = zip(*(torch.split(states, bounds.diff().tolist()) for states in (query, key, value)), strict=True)
    attend = torch.nn.functional.scaled_dot_product_attention
    found = [
        attend(*(states.transpose(0, 1)[None] for states in piece), is_causal=True, scale=scale, enable_gqa=enable_gqa)
        for piece in pieces
    ]
    return torch.cat([one[0].transpose(0, 1) for one in found])


@pytest.mark.parametrize(("architecture", "groups"), [("llama", True), ("llama", False), ("gpt2", True)])
def test_spans_by_the_flash_kernel_are_the_spans_one_by_one(architecture, groups, monkeypatch):
    """Without a GPU only what is handed to the kernel is tested; the model's own probe tests the kernel where it is."""
    batch = collate([random_examples(7)[:4]], packed=True, dtype=torch.float32, device=CPU, masked=False)
    found = []
    for flash in (False, True):
        monkeypatch.setattr(packed_attention, "fits_flash", lambda *_, flash=flash: flash)
        monkeypatch.setattr(packed_attention, "flash_varlen", varlen_on_cpu)
        monkeypatch.setattr(packed_attention, "_TAKES_GROUPS", groups)
        model = tiny_model(architecture)
        layout, _ = choose_layout(model, [5, 9], Layout(48, True, 4, 1))
        assert described(model, layout) == f"{'flash' if flash else 'sdpa'}, example by example"
        with attending(batch):
            logits_BTV = model(**batch.inputs(), use_cache=False).logits
            logits_BTV.square().mean().backward()
        found.append((logits_BTV.detach(), model.get_input_embeddings().weight.grad))
    for plain, by_flash in zip(*found, strict=True):
        torch.testing.assert_close(by_flash, plain, atol=1e-6, rtol=1e-6)


def test_flash_attention_is_not_asked_for_what_it_cannot_do():
    assert not packed_attention.fits_flash(torch.zeros(1)) and not packed_attention.fits_flash(torch.zeros(1).half())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_models_attend_by_spans_where_they_can_and_get_their_attention_back(architecture):
    model = tiny_model(architecture)
    with maskable_attention(model):
        layout, warnings = choose_layout(model, [5, 9], Layout(48, True, 4, 1))
        assert (layout.packed, layout.masked, warnings) == (True, False, ())
        assert model.config._attn_implementation == BY_SPANS
    assert model.config._attn_implementation == "sdpa"


def test_whoever_asks_for_eager_attention_gets_it():
    model = tiny_model("llama")
    model.set_attn_implementation("eager")
    with maskable_attention(model):
        assert choose_layout(model, [5], Layout(48, True, 4, 1))[0].masked
        assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("given", [{"softcap": 5.0}, {"s_aux": torch.ones(2)}, {"mask": torch.ones(1)}])
def test_spans_refuse_attention_that_they_do_not_know(given):
    states = torch.ones(1, 2, 3, 4)
    mask = given.pop("mask", None)
    with pytest.raises(NotImplementedError):
        span_attention(torch.nn.Identity(), states, states, states, mask, **given)


def test_a_model_whose_spans_are_not_heeded_keeps_the_mask(monkeypatch):
    model = tiny_model("llama")
    monkeypatch.setattr(packed_attention, "attending", lambda _: nullcontext())
    layout, _ = choose_layout(model, [5, 9], Layout(48, True, 4, 1))
    assert layout.packed and layout.masked and model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_changing_one_example_leaves_the_others_untouched(architecture):
    model = tiny_model(architecture)
    first, second, third = random_examples(3)
    changed = TrainingExample(tuple(token - 1 for token in second.input_ids), second.supervised)
    outputs = []
    for middle in (second, changed):
        batch = collate([[first, middle, third]], packed=True, dtype=model.dtype, device=CPU)
        with torch.no_grad():
            outputs.append(model(**batch.inputs(), use_cache=False).logits[0])
    start, end = len(first.input_ids), len(first.input_ids) + len(second.input_ids)
    torch.testing.assert_close(outputs[0][:start], outputs[1][:start], atol=1e-6, rtol=0)
    torch.testing.assert_close(outputs[0][end:], outputs[1][end:], atol=1e-6, rtol=0)
    assert (outputs[0][start:end] - outputs[1][start:end]).abs().max() > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_probe_trusts_models_that_take_the_mask(architecture, dtype):
    assert keeps_examples_apart(tiny_model(architecture, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_probe_sees_through_a_model_that_ignores_the_mask(dtype, monkeypatch):
    model = tiny_model("llama", dtype=dtype)
    forward = model.forward

    def forward_with_all_ones(**inputs):
        return forward(**{**inputs, "attention_mask": torch.ones_like(inputs["input_ids"])})

    monkeypatch.setattr(model, "forward", forward_with_all_ones)
    assert not keeps_examples_apart(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_probe_sees_through_a_model_that_ignores_absolute_positions(dtype, monkeypatch):
    model = tiny_model("gpt2", dtype=dtype)
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda **inputs: forward(**{**inputs, "position_ids": None}))
    assert not keeps_examples_apart(model)


def test_a_model_that_cannot_be_packed_gets_one_example_per_row_and_a_warning():
    wanted = Layout(row_length=48, packed=True, rows_per_batch=4, batches_per_step=2)
    layout, warnings = choose_layout(tiny_model("mamba"), [5, 9], wanted)
    assert layout == Layout(row_length=48, packed=False, rows_per_batch=4, batches_per_step=2)
    assert len(warnings) == 1 and "MambaForCausalLM does not keep packed examples apart" in warnings[0]


def test_rows_are_no_longer_than_the_context():
    wanted = Layout(row_length=1024, packed=True, rows_per_batch=4, batches_per_step=1)
    layout, warnings = choose_layout(tiny_model("gpt2"), [5], wanted)
    assert layout.row_length == CONTEXT and layout.packed and not warnings


@pytest.mark.parametrize("architecture", ["mistral", "gemma3"])
def test_an_example_longer_than_the_attention_window_is_not_packed(architecture):
    wanted = Layout(row_length=48, packed=True, rows_per_batch=4, batches_per_step=1)
    model = tiny_model(architecture, sliding_window=8)
    assert choose_layout(model, [8, 3], wanted)[0].packed
    layout, warnings = choose_layout(model, [9, 3], wanted)
    assert not layout.packed and "window of 8" in warnings[0]


def test_a_backend_without_masks_is_switched_for_the_duration():
    model = tiny_model("llama")
    model.set_attn_implementation("flex_attention")
    with maskable_attention(model) as warnings:
        assert model.config._attn_implementation == "sdpa"
        assert "flex_attention" in warnings[0]
    assert model.config._attn_implementation == "flex_attention"
