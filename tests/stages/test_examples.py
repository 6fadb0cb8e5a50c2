"""From traces to training examples: what is masked, what is learnt, what is held out, what does not fit."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.config import build_config
from agent_forge.models.prompting import Prompting
from agent_forge.models.vocabulary import add_thought_tokens
from agent_forge.records import Question, ReplayRow, Trace
from agent_forge.stages.examples import replay_example, split_heldout, that_fit, trace_example

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from tiny import tiny_tokenizer

START, END = "<|startofthought|>", "<|endofthought|>"
QUESTION = Question(id="q", prompt="what is 3 + 4?", reference="7", kind="number", task="t")


def prompting(cue: str = "Answer:") -> Prompting:
    tokenizer, _, _ = add_thought_tokens(tiny_tokenizer(), START, END)
    config = build_config({"model_path": "m", "output_path": "o", "answer_cue": cue})
    return Prompting.of(config, tokenizer)


def trace(text: str) -> Trace:
    return Trace(question_id="q", sample=0, seed=0, thought="", completion="", text=text, thought_tokens=0, tokens=0)


def learnt(used: Prompting, example) -> str:
    ids = [token for token, counts in zip(example.input_ids, example.supervised, strict=True) if counts]
    return used.tokenizer.decode(ids)


def test_a_trace_is_learnt_whole_and_its_prompt_is_not():
    used = prompting()
    text = f"{START}3+4=7{END}Answer: 7"
    example = trace_example(used, QUESTION, trace(text))
    assert learnt(used, example) == text + used.tokenizer.eos_token
    assert example.input_ids[: len(used.prompt_ids(QUESTION))] == used.prompt_ids(QUESTION)
    assert [token in example.input_ids for token in used.thought_token_ids] == [True, True]


@pytest.mark.parametrize(("cue", "taught"), [("Answer:", " 7 or so"), ("", "7 or so")])
def test_a_replayed_answer_never_teaches_how_to_begin(cue, taught):
    used = prompting(cue)
    row = ReplayRow(question_id="q", completion=" 7 or so")
    example = replay_example(used, QUESTION, row)
    told = learnt(used, example)
    if cue:
        assert told == taught + used.tokenizer.eos_token
    else:
        first = used.encode(row.completion)[0]
        assert told == used.tokenizer.decode([*used.encode(row.completion)[1:], used.tokenizer.eos_token_id])
        assert first in example.input_ids
    assert example.source == "replay"


def test_an_empty_answer_without_a_cue_teaches_nothing_and_is_no_example():
    assert replay_example(prompting(""), QUESTION, ReplayRow(question_id="q", completion="")) is None


def test_what_a_row_cannot_hold_is_left_out_and_what_just_fits_is_not():
    used = prompting()
    examples = [trace_example(used, QUESTION, trace("7" * count)) for count in (1, 20, 40)]
    limit = len(examples[1].input_ids)
    assert that_fit(examples, limit) == examples[:2]
    assert that_fit(examples, limit - 1) == examples[:1]


@given(st.sets(st.text(min_size=1, max_size=8), min_size=2, max_size=60), st.floats(0.01, 0.89))
def test_some_questions_are_held_out_and_never_all_whatever_their_order(ids, fraction):
    held = split_heldout(sorted(ids), fraction)
    assert 1 <= len(held) < len(ids) and held <= ids
    assert held == split_heldout(sorted(ids, reverse=True), fraction)
