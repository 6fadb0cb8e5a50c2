"""Passes of one shape: recorded as a fixed list of operations on the same memory, they write what the engine writes."""

from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_engine import SHARED
from test_sample import ROWS
from tiny import KINDS
from tiny_sampling import CONTEXT, PROMPT_IDS, RANDOM, extended, ids, prompting, request, rules, sampler, scripts
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from agent_forge.models import engine_fit, slots, steps
from agent_forge.models.engine import SharingSampler
from agent_forge.models.steps import graphs_for, rounded


class Operations(TorchDispatchMode):
    """Records operations on tensors as a CUDA graph would: on memory as it is now, without Python in between."""

    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "a pass that reads a value cannot be recorded"
        out = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, out))
        return out


def recording(run):
    with Operations() as operations:
        found = run()

    def again():
        made = {}
        for func, args, kwargs, out in operations.done:
            args, kwargs = tree_map(lambda part: made.get(id(part), part), (args, kwargs))
            new = func(*args, **kwargs)
            made.update(zip(map(id, tree_leaves(out)), tree_leaves(new), strict=True))
        return made[id(found)]

    return again


def keeping(recordings):
    def record(run):
        recordings.append(recording(run))
        return recordings[-1]

    return record


def with_steps(kind, record):
    return SharingSampler(extended(kind).model, prompting(), rules(), RANDOM, CONTEXT, record)


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_passes_write_what_the_reference_writes(kind):
    rows, recordings = (*SHARED[::3], *ROWS[::8]), []
    found = with_steps(kind, keeping(recordings)).sample(rows, 6)
    assert recordings and found == sampler(kind, RANDOM).sample(rows, len(rows))


def test_short_rows_that_follow_long_ones_do_not_get_slots_as_long(monkeypatch):
    monkeypatch.setattr(steps, "PLACES", 8)
    monkeypatch.setattr(slots, "GROWTH", 8)
    long = [request(scripts()["direct"], ids("what is 3 + 4?\n") * 6, seed) for seed in range(4)]
    short = [request(scripts()["direct"], ids("7"), seed) for seed in range(40)]
    own, most = with_steps("llama", keeping([])), []
    with watched_slots(most):
        found = own.sample([*long, *short], 4)
    assert found == sampler(decoding=RANDOM).sample([*long, *short], 64)
    longest, (rows, shortest) = max(places for _, places in most), most[-1]
    assert longest >= 2 * shortest and rows > 8
    assert own.room_for(short[0]) <= shortest


@contextmanager
def watched_slots(most):
    """Note how many slots of how many places there are in each pass."""

    def note(_module, _args, given):
        if (keys := given["cache"]._stored) and keys[0].slots is not None:
            most.append((keys[0].slots[0].shape[0], keys[0].slots[0].shape[2]))

    handle = extended().model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def test_rows_that_memory_does_not_hold_start_anew_though_passes_are_recorded():
    rows = [request(scripts()["elicited"], prompt, seed) for seed, prompt in enumerate([PROMPT_IDS, ids("7")] * 4)]
    own = with_steps("llama", keeping([]))
    with slots_for(4):
        assert own.sample(rows, 8) == sampler(decoding=RANDOM).sample(rows, 8)
    assert own.backed_off_to is not None and own.backed_off_to <= 4


@contextmanager
def slots_for(most):
    """Let the model run out of memory in passes of one token for each of more slots."""

    def fill(_module, _args, given):
        plan = getattr(given.get("cache"), "plan", None)
        if plan and set(plan.counts) == {1} and len(plan.counts) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    handle = extended().model.register_forward_pre_hook(fill, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def opened(record, monkeypatch):
    monkeypatch.setattr(engine_fit, "graphs_for", lambda _model: record)
    return engine_fit.open_sampler(extended().model, prompting(), rules(), RANDOM, CONTEXT)


def test_recordings_are_checked_on_the_model_before_they_are_used(monkeypatch):
    recordings = []
    own, warning = opened(keeping(recordings), monkeypatch)
    assert recordings and warning is None and own.record is not None and own.name == "sharing, by CUDA graphs"


def once(run):
    found = run()
    return lambda: found


def waiting(run):
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize(("record", "why"), [(once, "logits differ"), (waiting, "not permitted")])
def test_recordings_that_do_not_do_are_not_used_and_the_run_says_why(record, why, monkeypatch):
    own, warning = opened(record, monkeypatch)
    assert own.shares and own.record is None and "not as CUDA graphs" in warning and why in warning


def test_a_model_on_a_processor_is_not_recorded():
    assert graphs_for(extended().model) is None


@given(st.integers(1, 300))
def test_few_numbers_of_slots_are_made_into_passes_and_none_is_much_too_large(count):
    slots = rounded(count)
    assert count <= slots < max(2 * count, count + 8) and rounded(slots) == slots
    assert len({rounded(k) for k in range(1, count + 1)}) <= 4 + count / 8
