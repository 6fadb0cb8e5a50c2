"""Prompts: no question can open or close a thought, and everything else of it arrives as it is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_tokenizer
from tiny_extended import END, START

from agent_forge.config import build_config
from agent_forge.errors import QuestionError
from agent_forge.models.prompting import PLAIN_CUE, Prompting
from agent_forge.models.vocabulary import add_thought_tokens
from agent_forge.records import Question


def prompting(chat: bool = False, **fields) -> Prompting:
    tokenizer, _, _ = add_thought_tokens(tiny_tokenizer(chat_template=chat), START, END)
    return Prompting.of(build_config({"model_path": "m", "output_path": "o", **fields}), tokenizer)


def question(prompt: str) -> Question:
    return Question(id="q", prompt=prompt, reference="7", kind="number", task="t")


PLAIN, CHAT = prompting(), prompting(chat=True)
PIECES = (START, END, START[:9], START[9:], END[:5], "<|", "|>", " ", "\n", "3 + 4?", "{{ 7 * 7 }}", "{prompt}", "é文")
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), min_size=1, max_size=12).map("".join)


@settings(deadline=None)
@given(TEXTS.filter(str.strip), st.sampled_from([PLAIN, CHAT]))
def test_no_question_yields_a_thought_token(text, used):
    try:
        ids = used.prompt_ids(question(text))
    except QuestionError as refused:
        assert "thought token" in str(refused)
        return
    assert not set(ids) & set(used.thought_token_ids)


@pytest.mark.parametrize("used", [PLAIN, CHAT], ids=["plain", "chat"])
@pytest.mark.parametrize(
    "text",
    [
        START,
        f"{START}{END}",
        f"a {START}7{END} b",
        "<|startof<|startofthought|>thought|>",
        "<|startofthought<|endofthought|>|>",
        f"{START}\n",
    ],
)
def test_tokens_typed_by_a_user_are_escaped_or_refused(used, text):
    try:
        ids = used.prompt_ids(question(text))
    except QuestionError:
        return
    assert not set(ids) & set(used.thought_token_ids) and "thought" in used.decode(ids)


@given(st.text(max_size=40))
def test_other_text_is_left_alone(text):
    if START not in text and END not in text:
        assert PLAIN.escape(text) == text
        assert PLAIN.decode(PLAIN.encode(text)) == text


def test_a_question_is_not_read_as_a_template():
    asked = question("{{ 7 * 7 }} {% raw %} {prompt}")
    for used in (PLAIN, CHAT):
        assert "{{ 7 * 7 }} {% raw %} {prompt}" in used.prompt_text(asked)


def test_auto_follows_the_chat_template():
    assert PLAIN.prompt_text(question("3?")) == "Question: 3?\n" and PLAIN.cue == PLAIN_CUE
    assert CHAT.prompt_text(question("3?")) == "<user>3?\n<assistant>" and CHAT.cue == ""
    own = prompting(chat=True, prompt_template="Q: {prompt}\n", answer_cue="A:")
    assert own.prompt_text(question("3?")) == "Q: 3?\n" and own.cue == "A:" and own.answer_stops == ()
    assert PLAIN.answer_stops == ("\nQuestion:",)


def test_an_end_that_the_tokenizer_adds_is_taken_off():
    used = prompting()
    plain = used.prompt_ids(question("3?"))
    ending = used.tokenizer
    original = type(ending).__call__

    class Ending(type(ending)):
        def __call__(self, text, add_special_tokens=True, **options):
            encoded = original(self, text, add_special_tokens=add_special_tokens, **options)
            if add_special_tokens:
                encoded["input_ids"] = [*encoded["input_ids"], self.eos_token_id]
            return encoded

    ending.__class__ = Ending
    assert used.prompt_ids(question("3?")) == plain
    assert used.decode(used.encode("3?")) == "3?"


@pytest.mark.parametrize(
    ("answer", "left"),
    [("Answer: 7", " 7"), ("\n Answer: 7", " 7"), (" 7", " 7"), ("7 Answer: 8", "7 Answer: 8"), ("", "")],
)
def test_a_cue_that_the_model_writes_itself_is_dropped_once(answer, left):
    assert PLAIN.without_cue(answer) == left
    assert CHAT.without_cue(answer) == answer
