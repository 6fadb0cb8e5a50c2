"""The sharing engine writes what the reference writes, whatever is shared, however rows come and go."""

from contextlib import contextmanager
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from out_of_memory import ERRORS, every_kind
from test_sample import PROMPTS, ROWS
from tiny import KINDS, tiny_model
from tiny_sampling import (
    CONTEXT,
    EOS_ID,
    GREEDY,
    PROMPT_IDS,
    RANDOM,
    extended,
    ids,
    prompting,
    request,
    rules,
    sampler,
    scripts,
)

from agent_forge.errors import QuestionError
from agent_forge.models.choosing import Decoding
from agent_forge.models.engine import STRETCH, SharingSampler
from agent_forge.models.engine_fit import fault, open_sampler
from agent_forge.models.sample import plan_batches
from agent_forge.models.slots import SlotCache

HEAD = ids("The quick brown fox jumps over the lazy dog. 0123456789 ")
# Longer than the window of the kinds that have one; every question in every arm, several times.
SHARED = tuple(
    request(script, HEAD + question, seed)
    for seed in range(2)
    for question in (ids("7"), ids("what is 3 + 4?\n"), ids("what is 3"))
    for script in scripts().values()
)


def sharing(kind: str = "llama", decoding: Decoding = GREEDY, context: int | None = CONTEXT, **changes):
    return SharingSampler(extended(kind).model, prompting(), rules(**changes), decoding, context)


@pytest.mark.parametrize("kind", KINDS)
def test_it_writes_what_the_reference_writes(kind):
    decoding, shared, strangers = Decoding(0.8, top_p=0.95, top_k=40), SHARED[::2], ROWS[::4]
    assert sharing(kind, decoding).sample(shared, 6) == sampler(kind, decoding).sample(shared, len(shared))
    assert sharing(kind).sample(strangers, 3) == sampler(kind).sample(strangers, len(strangers))


@cache
def expected_of_shared():
    return sampler(decoding=RANDOM).sample(SHARED, len(SHARED))


@settings(max_examples=8, deadline=None)
@given(chosen=st.lists(st.integers(0, len(SHARED) - 1), max_size=8), batch_size=st.integers(1, 9))
def test_neither_company_nor_order_nor_room_matters(chosen, batch_size):
    every = expected_of_shared()
    assert sharing(decoding=RANDOM).sample([SHARED[k] for k in chosen], batch_size) == [every[k] for k in chosen]


def in_order(rows, batch_size=1):
    return [rows[k] for batch in plan_batches(rows, batch_size) for k in batch]


def test_stretches_come_in_the_order_of_the_plan():
    rows = (*SHARED[:17], *ROWS[:16])
    found = list(sharing(decoding=RANDOM).batches(rows, 2))
    assert [len(stretch) for stretch in found] == [2 * STRETCH, 2 * STRETCH, 1]
    assert [row for stretch in found for row in stretch] == sampler(decoding=RANDOM).sample(in_order(rows), 1)


def test_work_that_is_continued_after_a_stretch_repeats_every_pass_to_the_last_bit():
    # Long prompts first, so that the rows that are left begin with more in common than all of them do.
    rows = in_order((*SHARED[:16], *(request(scripts()["direct"], ids("12"), seed) for seed in range(10))))
    with logits_of_passes() as whole:
        first, *_ = sharing(decoding=RANDOM).batches(rows, 2)
    with logits_of_passes() as rest:
        list(sharing(decoding=RANDOM).batches(rows[len(first) :], 2))
    assert 0 < len(rest) < len(whole)
    assert all(torch.equal(one, other) for one, other in zip(whole[-len(rest) :], rest, strict=True))


@contextmanager
def logits_of_passes():
    """Yield the logits of every pass."""
    passes: list[torch.Tensor] = []
    handle = extended().model.register_forward_hook(
        lambda _module, _given, output: passes.append(output.logits.clone())
    )
    try:
        yield passes
    finally:
        handle.remove()


@contextmanager
def tokens_fed():
    """Yield the number of tokens of every pass."""
    passes: list[int] = []
    handle = (
        extended()
        .model.get_input_embeddings()
        .register_forward_hook(lambda _module, given, _output: passes.append(given[0].numel()))
    )
    try:
        yield passes
    finally:
        handle.remove()


def test_what_rows_share_is_fed_once():
    rows = [request(scripts()["direct"], HEAD + ids("what is 3 + 4?\n"), seed) for seed in range(5)]
    rows += [request(scripts()["direct"], HEAD + ids("Question: 1\n"), seed) for seed in range(5)]
    with tokens_fed() as passes:
        answers = sharing(decoding=RANDOM).sample(rows, 10)
    shared = len(HEAD) + sum(row.length - len(HEAD) for row in (rows[0], rows[5]))
    # The last sampled token of a row is not fed; each of the eight others feeds the last token of its prompt again.
    assert sum(passes) <= shared + 8 + sum(row.tokens for row in answers)


def test_a_finished_row_gives_its_place_to_the_next():
    rows = [request(scripts()["direct"], prompt, seed) for seed, prompt in enumerate(PROMPTS[:2] * 6)]
    # Answers of very different lengths: one token in ten ends them.
    changes = {"max_answer_tokens": 30, "eos_ids": frozenset(range(0, 300, 10))}
    with tokens_fed() as passes:
        answers = sharing(decoding=RANDOM, **changes).sample(rows, 3)
    in_batches = sum(max(answers[k].tokens for k in batch) for batch in plan_batches(rows, 3))
    assert answers == sampler(decoding=RANDOM, **changes).sample(rows, 3)
    assert len(passes) < in_batches


def test_forced_tokens_take_one_pass_together():
    wishes = iter([*ids("3"), EOS_ID, *ids("7"), EOS_ID])
    with wishing(wishes):
        (row,) = sharing().sample([request(scripts()["elicited"])], 1)
    assert (row.thought, row.completion, row.well_formed) == ("3", "7", True)


@contextmanager
def wishing(wishes):
    """Make the model want one thing after another, a pass each."""

    def want(_module, _args, output):
        output.logits[0, -1, next(wishes)] += 1e4

    handle = extended().model.register_forward_hook(want)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize(("tokens", "at_most"), [(10**6, None), (120, 4), (50, 1)])
def test_rows_that_memory_does_not_hold_start_anew_and_become_the_same(tokens, at_most):
    rows = [request(scripts()["elicited"], prompt, seed) for seed, prompt in enumerate([PROMPT_IDS, ids("7")] * 4)]
    expected = sampler(decoding=RANDOM).sample(rows, 8)
    own = sharing(decoding=RANDOM)
    with memory_for(tokens):
        assert own.sample(rows, 8) == expected
    assert (own.backed_off_to is None) == (at_most is None)
    assert at_most is None or own.backed_off_to <= at_most
    assert extended().model.config._attn_implementation == "sdpa"


def test_rows_that_are_done_when_memory_runs_out_are_not_lost(monkeypatch):
    copied, copy = [], SlotCache.copy

    def copy_later(cache, moves, length):
        copied.append(moves)
        if len(copied) == 1:
            raise ERRORS["gpu"]
        copy(cache, moves, length)

    # Every token ends a row, so the one that has read the prompt is done before the others copy from it.
    changes = {"eos_ids": frozenset(range(300))}
    # The last one keeps the prompt from being the head of all.
    rows = [request(scripts()["direct"], seed=seed) for seed in range(5)] + [request(scripts()["direct"], ids("7"))]
    monkeypatch.setattr(SlotCache, "copy", copy_later)
    own = sharing(decoding=RANDOM, **changes)
    assert own.sample(rows, 6) == sampler(decoding=RANDOM, **changes).sample(rows, 6)
    assert len(copied) > 1 and own.backed_off_to == 3


@every_kind
def test_lack_of_memory_is_met_however_it_shows(error):
    rows = [request(scripts()["direct"], seed=seed) for seed in range(4)]
    own = sharing(decoding=RANDOM)
    with memory_for(30, error):
        assert own.sample(rows, 4) == sampler(decoding=RANDOM).sample(rows, 4)
    assert own.backed_off_to is not None


def test_any_other_error_ends_the_sampling():
    own = sharing()
    with memory_for(1, RuntimeError("shape mismatch")), pytest.raises(RuntimeError, match="shape mismatch"):
        own.sample([request(scripts()["direct"])] * 3, 3)
    assert own.backed_off_to is None


@contextmanager
def memory_for(tokens: int, error: Exception = ERRORS["gpu"]):
    """Let the model run out of memory when the rows of a pass hold more than so many tokens after the head."""
    model = extended().model

    def fill(_module, _args, given):
        plan = given["cache"].plan if hasattr(given.get("cache"), "plan") else None
        if plan and sum(plan.cached) + sum(plan.counts) > tokens:
            raise error

    handle = model.register_forward_pre_hook(fill, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def test_a_single_row_that_memory_does_not_hold_is_an_error_and_the_model_is_as_before():
    with memory_for(len(PROMPT_IDS)), pytest.raises(torch.OutOfMemoryError):
        sharing().sample([request(scripts()["direct"])] * 3, 3)
    assert extended().model.config._attn_implementation == "sdpa"


def test_what_cannot_fit_is_refused_and_nothing_is_nothing():
    with pytest.raises(QuestionError):
        sharing().sample([request(scripts()["direct"], PROMPT_IDS * 20)], 1)
    assert sharing().sample([], 4) == [] and list(sharing().batches([], 4)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_fits_every_architecture_that_attends_as_it_is_told(kind):
    own, why = open_sampler(extended(kind).model, prompting(), rules(), GREEDY, CONTEXT)
    assert why is None and isinstance(own, SharingSampler)


def test_a_model_that_computes_something_else_is_sampled_by_the_reference_which_says_why():
    model = tiny_model("llama", context=CONTEXT)
    model.model.layers[1].self_attn.register_forward_hook(
        # Attention that looks at what it was given beyond its queries, keys and values.
        lambda _module, _args, output: (output[0] + output[0].roll(1, dims=1), *output[1:])
    )
    own, why = open_sampler(model, prompting(), rules(), GREEDY, CONTEXT)
    assert not isinstance(own, SharingSampler) and "logits differ" in why
    rotating = tiny_model("llama", context=CONTEXT)
    rotating.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    assert "longest row" in fault(rotating)
