"""Sampling: rows of a batch are strangers to each other, caps and scripts hold, lack of memory costs only time."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import KINDS
from tiny_extended import END, START, in_memory

from agent_forge.config import build_config
from agent_forge.errors import QuestionError
from agent_forge.models.extend import extend
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import Decoding, Request, TransformersSampler, choose_tokens, plan_batches
from agent_forge.thoughts import (
    ThoughtRules,
    direct_script,
    elicited_script,
    free_script,
    pause_script,
    swapped_script,
)

PROMPTS = (
    "Question: what is 3 + 4?\n",
    "fox\n",
    "The quick brown fox jumps over the lazy dog. Question: what is 9 + 4?\n",
    "0123456789 7\n",
    "dog",
)
GREEDY, HOT = Decoding(0.0), Decoding(1.0)


class Bench:
    """One extended tiny model with everything to sample it; `rules` may be changed per test."""

    def __init__(self, kind: str = "llama", **rules) -> None:
        extended = extend(in_memory(kind), START, END)
        config = build_config({"model_path": "m", "output_path": "o", "thought_prompt": "Hm:", "answer_cue": "Answer:"})
        self.model = extended.model.eval()
        self.prompting = Prompting.of(config, extended.tokenizer)
        self.rules = ThoughtRules(
            start_id=extended.ids.start,
            end_id=extended.ids.end,
            eos_ids=frozenset({extended.tokenizer.eos_token_id}),
            **({"max_thought_length": 6, "max_answer_tokens": 8} | rules),
        )
        cue = self.prompting.cue_ids
        self.scripts = {
            "direct": direct_script(cue),
            "elicited": elicited_script(self.rules, self.prompting.elicit_ids, cue),
            "pause": pause_script(self.rules, self.prompting.encode(".")[0], 4, cue),
            "free": free_script(cue),
            "swapped": swapped_script(self.rules, self.prompting.encode("3+4"), cue),
        }

    def requests(self, name: str = "elicited", count: int = len(PROMPTS)) -> list[Request]:
        prompts = [self.prompting.encode(PROMPTS[n % len(PROMPTS)]) for n in range(count)]
        return [Request(prompt, self.scripts[name], seed) for seed, prompt in enumerate(prompts)]

    def sampler(self, decoding: Decoding = HOT, model=None, context: int | None = None) -> TransformersSampler:
        return TransformersSampler(model or self.model, self.prompting, self.rules, decoding, context)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_rows_are_the_same_alone_and_in_a_padded_batch(kind):
    bench = Bench(kind)
    requests = bench.requests("elicited") + bench.requests("direct")
    together = bench.sampler(GREEDY).sample(requests, len(requests))
    assert together == [bench.sampler(GREEDY).sample([request], 1)[0] for request in requests]
    assert len({row.completion for row in together}) > 1


@pytest.mark.parametrize("name", ["direct", "elicited", "pause", "free", "swapped"])
def test_a_row_does_not_depend_on_the_batch_it_is_in(bench, name):
    requests = bench.requests(name, 10)
    whole = bench.sampler().sample(requests, 10)
    for size in (1, 3, 7):
        assert bench.sampler().sample(requests, size) == whole
    assert bench.sampler().sample(requests[::-1], 4) == whole[::-1]
    assert bench.sampler().sample(requests[2:5], 3) == whole[2:5]


def test_the_seed_makes_the_sample(bench):
    (request,) = bench.requests(count=1)
    reseeded = [dataclasses.replace(request, seed=seed) for seed in range(6)]
    rows = bench.sampler().sample(reseeded, 6)
    assert len({row.text for row in rows}) > 1
    assert rows == bench.sampler().sample(reseeded, 6)


def test_the_global_generator_is_neither_used_nor_moved(bench):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = bench.sampler().sample(bench.requests(), 5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert bench.sampler().sample(bench.requests(), 5) == first


def test_every_arm_has_the_same_cap_on_answer_tokens():
    # Nothing ends by itself: without an end of sequence the cap decides.
    bench = Bench(max_thoughts=1)
    bench.rules = dataclasses.replace(bench.rules, eos_ids=frozenset())
    for name in ("direct", "elicited", "pause"):
        for row in bench.sampler().sample(bench.requests(name), 5):
            thoughts = row.tokens - bench.rules.max_answer_tokens
            assert row.truncated and 0 <= thoughts <= bench.rules.max_thought_length + 1


def test_a_thought_is_closed_at_its_cap_and_called_malformed():
    bench = Bench()
    bench.rules = dataclasses.replace(bench.rules, eos_ids=frozenset(), max_thought_length=3)
    rows = bench.sampler(GREEDY).sample(bench.requests("elicited"), 5)
    closed = [row for row in rows if row.text.count(END) == 1 and not row.well_formed]
    assert closed and all(row.thought_tokens == len(bench.prompting.elicit_ids) + 3 for row in closed)


def test_forced_text_is_in_neither_completion_nor_thought(bench):
    for row in bench.sampler().sample(bench.requests("elicited", 10), 10):
        assert "Answer:" not in row.completion and "Hm:" not in row.thought
        assert row.text.startswith(START) and f"{END}Answer:" in row.text and "Hm:" not in row.text
    for row in bench.sampler().sample(bench.requests("pause"), 5):
        assert (row.thought, row.thought_tokens) == ("", 4)


def test_thought_tokens_are_never_sampled_where_no_thought_may_open(bench):
    with torch.no_grad():
        # A model that would say nothing but its thought tokens, were it allowed to.
        eager = Bench()
        output = eager.model.get_output_embeddings()
        hidden = output.weight[eager.rules.start_id].clone()
        output.weight[[eager.rules.start_id, eager.rules.end_id]] = hidden * 0 + 50 * hidden.sign()
    for name in ("direct", "pause", "swapped"):
        for row in eager.sampler().sample(eager.requests(name), 5):
            assert START not in row.completion and END not in row.completion and row.well_formed


def test_a_stop_text_ends_the_answer_and_is_dropped():
    bench = Bench(max_answer_tokens=40)
    (request,) = bench.requests("direct", 1)
    free = bench.sampler().sample([request], 1)[0].completion
    stop = free[len(free) // 2 :][:2]
    bench.rules = dataclasses.replace(bench.rules, answer_stops=(stop,))
    stopped = bench.sampler().sample([request], 1)[0]
    assert stopped.completion == free[: free.index(stop)] and not stopped.truncated


class Cramped:
    """A model on a device that holds so many rows."""

    def __init__(self, model, rows: int) -> None:
        self.model, self.rows, self.device, self.sizes = model, rows, model.device, []
        self.forward = model.forward

    def __call__(self, **inputs):
        self.sizes.append(len(inputs["input_ids"]))
        if self.sizes[-1] > self.rows:
            raise torch.OutOfMemoryError("no room")
        return self.model(**inputs)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_memory_that_runs_out_halves_the_batch_and_changes_no_row(bench, rows):
    requests = bench.requests(count=8)
    cramped = Cramped(bench.model, rows)
    sampler = bench.sampler(model=cramped)
    assert sampler.sample(requests, 8) == bench.sampler().sample(requests, 8)
    assert sampler.backed_off_to is not None and sampler.backed_off_to <= max(rows, 1)
    assert bench.sampler().backed_off_to is None


def test_one_row_that_does_not_fit_is_the_device_s_own_error(bench):
    with pytest.raises(torch.OutOfMemoryError):
        bench.sampler(model=Cramped(bench.model, 0)).sample(bench.requests(), 5)


def test_what_exceeds_the_context_is_refused_before_anything_is_sampled(bench):
    with pytest.raises(QuestionError, match="lower max_thought_length or max_answer_tokens"):
        bench.sampler(context=30, model=Cramped(bench.model, 0)).sample(bench.requests(), 5)


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 9))
def test_batches_hold_every_row_once_longest_first(lengths, size):
    requests = [Request((1,) * length, direct_script(()), 0) for length in lengths]
    batches = plan_batches(requests, size)
    flat = [row for batch in batches for row in batch]
    assert sorted(flat) == list(range(len(lengths))) and all(len(batch) <= size for batch in batches)
    assert [lengths[row] for row in flat] == sorted(lengths, reverse=True)


LOGITS = st.lists(st.floats(-8, 8), min_size=2, max_size=12)


@settings(deadline=None)
@given(LOGITS, st.floats(0, 1, exclude_max=True), st.floats(0.1, 3), st.integers(0, 6), st.floats(0.05, 1), st.data())
def test_a_chosen_token_is_allowed_and_within_top_k_and_the_nucleus(logits, uniform, temperature, top_k, top_p, data):
    banned = data.draw(st.sets(st.integers(0, len(logits) - 1), max_size=len(logits) - 1))
    row = torch.tensor([logits])
    row[0, list(banned)] = -torch.inf
    chosen = int(choose_tokens(row.clone(), torch.tensor([uniform]), Decoding(temperature, top_p, top_k)))
    assert chosen not in banned
    order = sorted((value for index, value in enumerate(row[0].tolist()) if index not in banned), reverse=True)
    if top_k:
        assert row[0, chosen] >= order[min(top_k, len(order)) - 1]
    weights = np.exp((np.array(order) - order[0]) / temperature)
    weights = weights[: top_k or None] / weights[: top_k or None].sum()
    before = weights[np.array(order[: len(weights)]) > float(row[0, chosen]) + 1e-9].sum()
    assert before <= top_p + 1e-6


def test_tokens_come_as_often_as_the_distribution_says():
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    uniforms = (torch.arange(4000) + 0.5) / 4000
    chosen = choose_tokens(logits.expand(4000, 4), uniforms, Decoding(0.7))
    wanted = (logits[0] / 0.7).softmax(-1)
    shares = torch.bincount(chosen, minlength=4) / 4000
    assert torch.allclose(shares, wanted, atol=1e-3)


def test_greedy_takes_the_likeliest_and_a_model_may_name_several_ends():
    assert choose_tokens(torch.tensor([[0.1, 3.0, 2.9]]), torch.tensor([0.999]), GREEDY).tolist() == [1]
    bench = Bench(max_answer_tokens=30)
    (request,) = bench.requests("direct", 1)
    first = bench.prompting.encode(bench.sampler(GREEDY).sample([request], 1)[0].completion)[0]
    bench.rules = dataclasses.replace(bench.rules, eos_ids=bench.rules.eos_ids | {first})
    ended = bench.sampler(GREEDY).sample([request], 1)[0]
    assert (ended.completion, ended.truncated, ended.tokens) == ("", False, 1)
