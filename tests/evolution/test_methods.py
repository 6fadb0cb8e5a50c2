"""Every merge method against its paper's formula, written out entry by entry in plain numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.evolution.methods.dare import dare, drop, drop_mask
from agent_forge.evolution.methods.linear import linear
from agent_forge.evolution.methods.slerp import slerp
from agent_forge.evolution.methods.task_arithmetic import task_arithmetic
from agent_forge.evolution.methods.ties import ties, trim

numbers = st.floats(-3, 3, width=32)
weight = st.floats(0.0625, 2, width=32)
density = st.floats(0.05, 1)
# Formulas written out in plain numbers are slow; what they could get wrong shows in few small examples.
cheap = settings(max_examples=40, deadline=None)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@st.composite
def families(draw):
    """A base and one to four parents of one length, with a weight and a density each."""
    length, count = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    vector = st.lists(numbers, min_size=length, max_size=length)
    return (
        draw(vector),
        draw(st.lists(vector, min_size=count, max_size=count)),
        draw(st.lists(weight, min_size=count, max_size=count)),
        draw(st.lists(density, min_size=count, max_size=count)),
    )


def tensors(vectors):
    return [torch.tensor(vector) for vector in vectors]


def same(found, expected):
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32), **TOLERANCE)


@cheap
@given(families())
def test_linear_is_the_weighted_mean(family):
    _, parents, weights, _ = family
    expected = [
        sum(w * x for w, x in zip(weights, xs, strict=True)) / sum(weights) for xs in zip(*parents, strict=True)
    ]
    same(linear(tensors(parents), weights), expected)
    same(linear(tensors(parents), weights, normalize=False), [x * sum(weights) for x in expected])


@cheap
@given(families())
def test_task_arithmetic_adds_weighted_differences(family):
    base, parents, weights, _ = family
    expected = [
        b + 0.7 * sum(w * (p[i] - b) for w, p in zip(weights, parents, strict=True)) for i, b in enumerate(base)
    ]
    same(task_arithmetic(torch.tensor(base), tensors(parents), weights, scale=0.7), expected)


def slow_trim(delta, kept_fraction):
    kept = len(delta) if kept_fraction >= 1 else max(1, math.floor(kept_fraction * len(delta)))
    largest = sorted(range(len(delta)), key=lambda i: (-abs(delta[i]), i))[:kept]
    return [value if i in largest else 0.0 for i, value in enumerate(delta)]


def slow_agreement(base, deltas, weights, normalize):
    merged = []
    for i, b in enumerate(base):
        mass = sum(torch.tensor([w * d[i] for w, d in zip(weights, deltas, strict=True)]).tolist())
        counted = [(w, d[i]) for w, d in zip(weights, deltas, strict=True) if d[i] * (1 if mass >= 0 else -1) > 0]
        total = sum(w * d for w, d in counted)
        merged.append(b + (total / sum(w for w, _ in counted) if normalize and counted else total))
    return merged


def far_from_a_draw(deltas, weights):
    """Whether rounding cannot decide which sign is elected."""
    masses = [sum(w * d[i] for w, d in zip(weights, deltas, strict=True)) for i in range(len(deltas[0]))]
    return all(abs(mass) > 1e-4 or all(d[i] == 0 for d in deltas) for i, mass in enumerate(masses))


def differences(base, parents):
    return [(torch.tensor(parent) - torch.tensor(base)).tolist() for parent in parents]


@cheap
@given(families(), st.booleans())
def test_ties_trims_elects_and_averages_what_agrees(family, normalize):
    base, parents, weights, densities = family
    deltas = [slow_trim(d, f) for d, f in zip(differences(base, parents), densities, strict=True)]
    if far_from_a_draw(deltas, weights):
        found = ties(torch.tensor(base), tensors(parents), weights, densities, normalize=normalize)
        same(found, slow_agreement(base, deltas, weights, normalize))


@cheap
@given(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]), min_size=1, max_size=30), density)
def test_trim_keeps_the_largest_and_of_equals_the_first(delta, kept_fraction):
    assert trim(torch.tensor(delta), kept_fraction).tolist() == slow_trim(delta, kept_fraction)


@pytest.mark.parametrize("elect", [False, True])
@cheap
@given(families(), st.data())
def test_dare_scales_what_the_masks_keep_by_the_density(elect, family, data):
    base, parents, weights, densities = family
    masks = [data.draw(st.lists(st.booleans(), min_size=len(base), max_size=len(base))) for _ in parents]
    deltas = [
        [d * kept / f for d, kept in zip(delta, mask, strict=True)] if f < 1 else delta
        for delta, mask, f in zip(differences(base, parents), masks, densities, strict=True)
    ]
    found = dare(
        *(torch.tensor(base), tensors(parents), tensors(masks), weights, densities), rescale="density", elect=elect
    )
    if not elect:
        same(found, [b + sum(w * d[i] for w, d in zip(weights, deltas, strict=True)) for i, b in enumerate(base)])
    elif far_from_a_draw(deltas, weights):
        same(found, slow_agreement(base, deltas, weights, normalize=False))


def test_rescaling_by_norm_keeps_the_l1_norm():
    delta = torch.randn(50, generator=torch.Generator().manual_seed(0))
    mask = drop_mask(delta.shape, 0.3, 0, "a", 0)
    kept = drop(delta, mask, 0.3, "norm")
    assert torch.equal(kept != 0, mask) and math.isclose(kept.abs().sum(), delta.abs().sum(), rel_tol=1e-6)
    assert torch.equal(drop(delta, mask, 0.3, "none"), delta * mask)


def test_a_mask_depends_on_its_origin_alone_and_keeps_its_density():
    shape = torch.Size([100, 100])
    mask = drop_mask(shape, 0.3, 7, "a.weight", 1)
    drop_mask(shape, 0.5, 7, "b.weight", 1)
    assert torch.equal(mask, drop_mask(shape, 0.3, 7, "a.weight", 1))
    assert abs(float(mask.float().mean()) - 0.3) < 0.02
    for other in ((8, "a.weight", 1), (7, "b.weight", 1), (7, "a.weight", 2)):
        # Independent masks agree on 0.3 * 0.3 + 0.7 * 0.7 of the entries.
        assert abs(float((mask == drop_mask(shape, 0.3, *other)).float().mean()) - 0.58) < 0.03


def rotated(vector, angle):
    return [
        math.cos(angle) * vector[0] - math.sin(angle) * vector[1],
        math.sin(angle) * vector[0] + math.cos(angle) * vector[1],
    ]


@cheap
@given(st.floats(0.05, 3), st.floats(0.1, 5), st.floats(0.05, 3.0), st.floats(0, 1))
def test_slerp_turns_at_constant_speed(start, length, angle, t):
    first = rotated([length, 0.0], start)
    found = slerp(torch.tensor(first), torch.tensor(rotated(first, angle)), t)
    same(found, rotated(first, angle * t))


@cheap
@given(st.floats(0, 1), st.sampled_from([2.0, -1.0]))
def test_slerp_of_parallel_or_opposed_vectors_is_the_straight_line(t, factor):
    first = torch.tensor([1.0, -2.0, 3.0])
    torch.testing.assert_close(slerp(first, first * factor, t), first * (1 - t) + first * factor * t, **TOLERANCE)


def test_a_vector_of_zeros_is_at_right_angles_to_any():
    first = torch.tensor([1.0, -2.0, 3.0])
    torch.testing.assert_close(slerp(first, first * 0, 0.25), first * math.cos(math.pi / 8), **TOLERANCE)


@pytest.mark.parametrize("method", ["ties", "dare", "task_arithmetic"])
def test_parents_equal_to_the_base_change_nothing(method):
    base = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    same_as_base, weights = [base.clone(), base.clone()], [0.5, 2.0]
    merged = {
        "ties": lambda: ties(base, same_as_base, weights, [0.2, 1.0]),
        "dare": lambda: dare(base, same_as_base, [base > 0, base < 0], weights, [0.5, 0.5]),
        "task_arithmetic": lambda: task_arithmetic(base, same_as_base, weights),
    }[method]()
    assert torch.equal(merged, base)


def test_chunks_do_not_show(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    base, *parents = (torch.randn(9, 11, generator=generator) for _ in range(3))
    whole = ties(base, parents, [1, 2], [0.5, 0.7]), slerp(base, parents[0], 0.3)
    monkeypatch.setattr("agent_forge.evolution.methods.ties._CHUNK", 10)
    monkeypatch.setattr("agent_forge.evolution.methods.slerp._CHUNK", 10)
    pieces = ties(base, parents, [1, 2], [0.5, 0.7]), slerp(base, parents[0], 0.3)
    assert torch.equal(whole[0], pieces[0])
    torch.testing.assert_close(whole[1], pieces[1])
