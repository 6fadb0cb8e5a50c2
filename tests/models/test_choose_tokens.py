"""Choosing a token: within top-k and the nucleus, never a banned one, as often as the distribution says."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.models import choosing
from agent_forge.models.choosing import BLOCK, NUCLEUS, Decoding, choose_tokens

FINITE = st.floats(-60, 60, width=32)


@st.composite
def choices(draw):
    """A row of logits, some banned, a number in [0, 1) and a way of decoding."""
    logits = draw(st.lists(st.one_of(FINITE, st.just(-float("inf"))), min_size=1, max_size=12))
    logits[draw(st.integers(0, len(logits) - 1))] = draw(FINITE)
    temperature = draw(st.one_of(st.floats(0, 10), st.floats(0, 1e-30)))
    top_p = draw(st.one_of(st.just(1.0), st.floats(0, 1, exclude_min=True)))
    return logits, draw(st.floats(0, 1, exclude_max=True)), Decoding(temperature, top_p, draw(st.integers(0, 14)))


def choose(logits, uniforms, decoding: Decoding) -> list[int]:
    logits_BV = torch.tensor(logits, dtype=torch.float32).expand(len(uniforms), -1)
    return choose_tokens(logits_BV, torch.tensor(uniforms, dtype=torch.float64), decoding).tolist()


def distribution(logits, temperature: float, top_k: int = 0) -> np.ndarray:
    """Return the probabilities that a definition of temperature and top-k gives; ties at the k-th place stay in."""
    values = np.asarray(logits, dtype=np.float64)
    if top_k:
        values = np.where(values >= np.sort(values)[::-1][min(top_k, len(values)) - 1], values, -np.inf)
    with np.errstate(over="ignore"):
        weights = np.exp((values - values.max()) / temperature)
    return weights / weights.sum()


@settings(max_examples=300, deadline=None)
@given(choices())
def test_what_is_chosen_is_allowed(choice):
    logits, uniform, decoding = choice
    (chosen,) = choose(logits, [uniform], decoding)
    likelier = np.asarray(logits) > logits[chosen]
    assert np.isfinite(logits[chosen])
    if decoding.temperature == 0:
        assert not likelier.any()
        return
    assert not decoding.top_k or likelier.sum() < decoding.top_k
    mass = distribution(logits, decoding.temperature, decoding.top_k)
    assert mass[chosen] > 0
    assert mass[likelier].sum() < decoding.top_p + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=8, unique=True), st.floats(0.05, 10), st.integers(0, 9))
def test_frequencies_are_the_distribution(logits, temperature, top_k):
    count = 2000
    chosen = choose(logits, (np.arange(count) + 0.5) / count, Decoding(temperature, top_k=top_k))
    found = np.bincount(chosen, minlength=len(logits)) / count
    np.testing.assert_allclose(found, distribution(logits, temperature, top_k), atol=1.01 / count)


def test_a_vocabulary_of_many_blocks_is_chosen_from_as_its_distribution_says():
    """The running sum over the whole vocabulary, in exact order, is the definition."""
    count, uniforms = 3 * BLOCK + 17, (np.arange(4000) + 0.5) / 4000
    logits = (3 * torch.randn(count, generator=torch.Generator().manual_seed(0))).tolist()
    logits[5:400] = [-float("inf")] * 395
    cumulative = distribution(logits, 0.7).cumsum()
    chosen = np.array(choose(logits, uniforms, Decoding(0.7)))
    # As close as float32 weights can tell.
    assert (uniforms < cumulative[chosen] + 1e-5).all()
    assert (uniforms > cumulative[chosen] - distribution(logits, 0.7)[chosen] - 1e-5).all()


def test_the_nucleus_is_the_smallest_set_that_reaches_its_mass():
    logits = np.log([0.1, 0.4, 0.2, 0.3]).tolist()
    uniforms = (np.arange(70) + 0.5) / 70
    for top_p, kept in [(0.05, {1}), (0.39, {1}), (0.41, {1, 3}), (0.71, {1, 2, 3}), (0.91, {0, 1, 2, 3})]:
        assert set(choose(logits, uniforms, Decoding(1.0, top_p))) == kept
    chosen = np.bincount(choose(logits, uniforms, Decoding(1.0, 0.69)), minlength=4)
    assert chosen.tolist() == [0, 40, 0, 30]


@pytest.mark.parametrize("spread", [0.01, 0.5, 3])
@pytest.mark.parametrize("top_p", [0.02, 0.9, 0.99999])
def test_a_nucleus_found_among_the_likeliest_is_that_of_the_sorted_vocabulary(spread, top_p):
    """However many of the likeliest tokens it takes: a top-k of the whole vocabulary sorts it."""
    rows, count = 64, NUCLEUS * 20
    generator = torch.Generator().manual_seed(0)
    logits_BV = spread * torch.randn(rows, count, generator=generator)
    logits_BV[: rows // 2] *= torch.linspace(0.1, 10, rows // 2)[:, None]
    uniforms_B = torch.rand(rows, generator=generator, dtype=torch.float64)
    found_B, sorted_B = (choose_tokens(logits_BV, uniforms_B, Decoding(0.7, top_p, k)) for k in (0, count))
    assert torch.equal(found_B, sorted_B)
    assert torch.equal(choose_tokens(logits_BV, uniforms_B, Decoding(0.7, top_p), waits=False), sorted_B)


@settings(max_examples=100, deadline=None)
@given(choices())
def test_a_nucleus_looked_for_among_ever_more_tokens_is_allowed(choice):
    logits, uniform, decoding = choice
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "NUCLEUS", 1)
        patch.setattr(choosing, "NUCLEUS_GROWTH", 2)
        (chosen,) = choose(logits, [uniform], Decoding(decoding.temperature, decoding.top_p))
    mass = distribution(logits, decoding.temperature) if decoding.temperature else np.zeros(len(logits))
    assert np.isfinite(logits[chosen])
    assert mass[np.asarray(logits) > logits[chosen]].sum() < decoding.top_p + 1e-9


@pytest.mark.parametrize("decoding", [Decoding(0), Decoding(1, top_k=1), Decoding(1, top_p=1e-9), Decoding(1e-300)])
def test_every_way_of_being_certain_takes_the_likeliest(decoding):
    logits_BV = torch.randn(64, 40, generator=torch.Generator().manual_seed(0))
    uniforms_B = torch.rand(64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(choose_tokens(logits_BV, uniforms_B, decoding), logits_BV.argmax(dim=-1))


@pytest.mark.parametrize("decoding", [Decoding(1.0), Decoding(1.0, top_p=0.999), Decoding(1.0, top_k=150_000)])
def test_the_ends_of_the_unit_interval_choose_real_tokens_of_a_large_padded_vocabulary(decoding):
    logits_BV = torch.full((2, 150_000), -torch.inf)
    logits_BV[:, 500:120_000] = torch.randn(119_500, generator=torch.Generator().manual_seed(0))
    ends_B = torch.tensor([0.0, np.nextafter(1.0, 0.0)], dtype=torch.float64)
    chosen_B1 = choose_tokens(logits_BV, ends_B, decoding)[:, None]
    assert torch.isfinite(logits_BV.gather(1, chosen_B1)).all()
