"""Sampling: a row is a stranger to its batch, lack of memory costs only time, what cannot fit is refused at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from out_of_memory import ERRORS, every_kind
from tiny import KINDS, tiny_champion, tiny_tokenizer
from tiny_extended import END, START, edit_json, extended_at
from tiny_sampling import (
    CONTEXT,
    CUE_IDS,
    END_ID,
    EOS_ID,
    GREEDY,
    PROMPT_IDS,
    RANDOM,
    START_ID,
    extended,
    hooked,
    ids,
    prompting,
    request,
    rules,
    sampler,
    scripts,
    steered,
)

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import QuestionError
from agent_forge.models.choosing import Decoding
from agent_forge.models.extend import save_extended
from agent_forge.models.memory import is_out_of_memory
from agent_forge.models.sample import TransformersSampler, plan_batches
from agent_forge.records import SplitReport
from agent_forge.stages.bench import open_bench
from agent_forge.stages.context import StageContext
from agent_forge.storage.question_files import write_questions
from agent_forge.thoughts import direct_script

SCRIPTS = tuple(scripts())
LONG = "The quick brown fox jumps over the lazy dog. "
PROMPTS = tuple(ids(text) for text in ("7", "what is 3 + 4?\n", "Question: ", LONG, LONG + "0123"))
# Every script after every prompt: rows of different lengths that stop at different steps.
ROWS = tuple(
    request(script, prompt, seed)
    for seed, (prompt, script) in enumerate((prompt, script) for prompt in PROMPTS for script in scripts().values())
)


def written_one_by_one(kind: str, prompt_ids, count: int) -> str:
    """Greedy decoding as a definition: no batch, no padding, no cache."""
    model, written = extended(kind).model, []
    for _ in range(count):
        with torch.no_grad():
            logits_V = model(torch.tensor([[*prompt_ids, *written]]), use_cache=False).logits[0, -1]
        logits_V[[START_ID, END_ID]] = -torch.inf
        written.append(int(logits_V.argmax()))
    return prompting().decode(written)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_decoding_writes_what_the_model_says_one_token_at_a_time(kind):
    script = direct_script(CUE_IDS)
    rows = sampler(kind, eos_ids=frozenset()).sample([request(script, prompt) for prompt in PROMPTS], len(PROMPTS))
    expected = [written_one_by_one(kind, (*prompt, *CUE_IDS), rules().max_answer_tokens) for prompt in PROMPTS]
    assert [row.completion for row in rows] == expected


NUCLEUS = Decoding(0.8, top_p=0.9, top_k=20)


# Architectures compute logits, whatever is then chosen from them: each is asked with one decoding, one with all.
@pytest.mark.parametrize(
    ("kind", "decoding"), [*((kind, NUCLEUS) for kind in KINDS), ("llama", GREEDY), ("llama", RANDOM)]
)
def test_a_row_is_sampled_alike_alone_and_among_others(kind, decoding):
    # Every other row: still every prompt and every script.
    alone = sampler(kind, decoding).sample(ROWS[::2], 1)
    assert sampler(kind, decoding).sample(ROWS, len(ROWS))[::2] == alone
    assert sampler(kind, decoding).sample(ROWS[::-2], 4) == alone[::-1]


@cache
def every_row_at_random():
    return sampler(decoding=RANDOM).sample(ROWS, len(ROWS))


@settings(max_examples=15, deadline=None)
@given(chosen=st.lists(st.integers(0, len(ROWS) - 1), max_size=8), batch_size=st.integers(1, 9))
def test_batch_size_composition_and_order_do_not_matter(chosen, batch_size):
    every = every_row_at_random()
    assert sampler(decoding=RANDOM).sample([ROWS[k] for k in chosen], batch_size) == [every[k] for k in chosen]


def test_other_seeds_give_other_samples_unless_decoding_is_greedy():
    rows = [request(scripts()["elicited"], seed=seed) for seed in (0, 1, 2**16, 2**47, 2**48 - 1)]
    assert len({row.text for row in sampler(decoding=RANDOM).sample(rows, 5)}) == len(rows)
    assert len({row.text for row in sampler().sample(rows, 5)}) == 1


def test_global_generators_are_neither_asked_nor_moved():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = sampler(decoding=RANDOM).sample(ROWS, 8)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert sampler(decoding=RANDOM).sample(ROWS, 8) == first


def test_no_requests_no_samples():
    assert sampler().sample([], 4) == []


def test_a_tokenizer_without_a_padding_token_will_do():
    unpadded = tiny_tokenizer(pad=False)
    unpadded.add_tokens([START, END], special_tokens=True)
    assert unpadded.pad_token_id is None
    own = TransformersSampler(extended().model, replace(prompting(), tokenizer=unpadded), rules(), RANDOM)
    assert own.sample(ROWS, 8) == sampler(decoding=RANDOM).sample(ROWS, 8)


NOTHING_SPLIT = SplitReport(
    counts={},
    per_task={},
    guard_tasks=(),
    digests={},
    available={},
    dropped=(),
    duplicates_removed=0,
    sources={},
)


@pytest.mark.parametrize(("named", "expected"), [(None, set()), (5, {5}), ([5, 7], {5, 7})])
def test_a_bench_knows_every_end_token_that_the_model_names(tmp_path, named, expected):
    champion = tiny_champion(tmp_path / "champion")
    edit_json(champion / "generation_config.json", eos_token_id=named)
    save_extended(extended_at(champion), tmp_path / "extended")
    config = QuietSTaRConfig(model_path="m", output_path="o", max_thought_length=8, max_answer_tokens=8)
    write_questions(tmp_path, {}, NOTHING_SPLIT)
    bench = open_bench(StageContext(config, {"questions": (tmp_path,)}, {}, {}, tmp_path), tmp_path / "extended")
    assert bench.rules.eos_ids == expected | {EOS_ID}


@contextmanager
def memory_for(cells: int, error: Exception = ERRORS["gpu"]) -> Iterator[list[int]]:
    """Let the model run out of memory at a cache of more than `cells` rows x tokens; yield the rows of every pass."""
    passes: list[int] = []

    def fill(input_ids, mask, _):
        if mask.numel() > cells:
            raise error
        passes.append(len(input_ids))

    with hooked(extended().model, fill):
        yield passes


@pytest.mark.parametrize(("cells", "at_most"), [(10**6, None), (160, 4), (120, 2), (40, 1)])
def test_a_batch_that_memory_does_not_hold_is_halved_until_it_does(cells, at_most):
    rows = [request(scripts()["elicited"], seed=seed) for seed in range(7)]
    expected = sampler(decoding=RANDOM).sample(rows, 7)
    own = sampler(decoding=RANDOM)
    with memory_for(cells):
        assert own.sample(rows, 7) == expected
    assert own.backed_off_to == at_most


@every_kind
def test_lack_of_memory_is_met_however_it_shows(error):
    rows = [request(scripts()["direct"], seed=seed) for seed in range(4)]
    own = sampler()
    with memory_for(2 * rows[0].length + 30, error):
        assert own.sample(rows, 4) == sampler().sample(rows, 4)
    assert own.backed_off_to == 2


def test_any_other_error_ends_the_sampling():
    own = sampler()
    with memory_for(0, RuntimeError("shape mismatch")), pytest.raises(RuntimeError, match="shape mismatch"):
        own.sample([request(scripts()["direct"])] * 3, 3)
    assert own.backed_off_to is None


def test_what_pytorch_says_of_main_memory_is_lack_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58, dtype=torch.uint8)
    assert is_out_of_memory(caught.value) and not is_out_of_memory(RuntimeError("shape mismatch"))


def test_memory_may_run_out_in_the_middle_of_an_answer():
    rows = [request(scripts()["direct"], seed=seed) for seed in range(4)]
    prefill = 4 * rows[0].length
    own = sampler()
    with memory_for(prefill + 8) as passes:
        assert own.sample(rows, 4) == sampler().sample(rows[:1], 1) * 4
    assert passes[:2] == [4, 4] and own.backed_off_to == 2


def test_the_smallest_batch_is_what_is_remembered():
    rows = [request(scripts()["direct"], prompt) for prompt in (*[PROMPT_IDS * 8] * 4, *[PROMPT_IDS * 2] * 4)]
    own = sampler()
    with memory_for(70) as passes:
        own.sample(rows, 4)
    assert (passes[0], passes[-1], own.backed_off_to) == (1, 2, 1)


def test_a_single_row_that_memory_does_not_hold_is_an_error():
    with memory_for(len(PROMPT_IDS)), pytest.raises(torch.OutOfMemoryError):
        sampler().sample([request(scripts()["direct"])] * 3, 3)


@cache
def longest_prompt(script: str) -> tuple[int, ...]:
    """Return the longest prompt that is let in before a script."""
    for length in range(CONTEXT, 0, -1):
        prompt = (PROMPT_IDS * CONTEXT)[:length]
        try:
            sampler().check_fits([request(scripts()[script], prompt)])
        except QuestionError:
            continue
        return prompt
    raise AssertionError(f"no prompt fits before {script}")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_let_in_have_room_even_when_they_wait_for_others(kind):
    longest = [request(scripts()[script], longest_prompt(script)) for script in SCRIPTS]
    rows = [*longest, request(scripts()["elicited"], ids("7"))]
    own = sampler(kind, eos_ids=frozenset())
    assert own.sample(rows, len(rows)) == own.sample(rows, 1)


def test_a_row_that_cannot_fit_is_refused_in_one_line_before_anything_runs():
    room = rules().max_answer_tokens + len(CUE_IDS)
    fits, too_long = ((PROMPT_IDS * 20)[: CONTEXT - room + extra] for extra in (0, 1))
    with memory_for(10**6) as passes, pytest.raises(QuestionError) as caught:
        sampler().sample([request(scripts()["direct"]), request(scripts()["direct"], too_long)], 1)
    assert not passes
    message = str(caught.value)
    assert "\n" not in message and f"up to {CONTEXT + 1} tokens" in message and f"takes {CONTEXT}" in message
    sampler().check_fits([request(scripts()["direct"], fits)])
    sampler(context=None).check_fits([request(scripts()["direct"], too_long)])


@pytest.mark.parametrize("script", SCRIPTS)
def test_whatever_a_script_can_take_is_reckoned_with(script):
    thought = {"elicited": ids("9" * 6), "free": (START_ID, *ids("9" * 6))}.get(script, ())
    with steered(extended().model, [*thought, *ids("9")]) as fed:
        sampler().sample([request(scripts()[script])], 1)
    with pytest.raises(QuestionError):
        sampler(context=len(fed) - 1).check_fits([request(scripts()[script])])


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 9))
def test_batches_hold_every_row_once_longest_first_in_an_order_of_their_own(lengths, batch_size):
    rows = [request(scripts()["direct"], (7,) * length) for length in lengths]
    batches = plan_batches(rows, batch_size)
    order = [row for batch in batches for row in batch]
    assert sorted(order) == list(range(len(rows)))
    assert all(len(batch) == batch_size for batch in batches[:-1]) and all(1 <= len(b) <= batch_size for b in batches)
    planned = [lengths[row] for row in order]
    assert planned == sorted(lengths, reverse=True)
    assert order == [row for batch in plan_batches(rows, 1) for row in batch]
