"""The bundled champion is what its card says, and its corpus and its training keep their promises."""

import json
import re
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent_forge.config import QuietSTaRConfig, load_config
from agent_forge.demo import champion_path
from agent_forge.demo.card import FIGURES_FILE, RECIPE_FILE, Recipe, card_text
from agent_forge.demo.corpus import (
    ANSWER_CUE,
    LONGEST_REMARK,
    PROMPT_TEMPLATE,
    STEPS_CUE,
    WORKED_SHARE,
    documents,
    draw_remark,
    evaluation_questions,
)
from agent_forge.demo.measure import FORMS, REMARK, TEMPERATURE, Figures, answers, measure
from agent_forge.demo.train_champion import IGNORED, batch_tensors, main, train_champion
from agent_forge.errors import OutputError
from agent_forge.records import parse_record

WEIGHTS = champion_path() / "model.safetensors"
# Five standard deviations of a share of 240 questions near 0.1.
TOLERANCE = 0.1
untimed = settings(deadline=None)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(champion_path())


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(champion_path()).eval()


@pytest.fixture(scope="module")
def pool():
    return evaluation_questions()


@pytest.fixture(scope="module")
def corpus():
    return documents(4000, seed=0)


def shipped(kind, name):
    return parse_record(kind, (champion_path() / name).read_text(encoding="utf-8"), name)


def test_is_a_small_tied_fp32_llama(model):
    assert WEIGHTS.stat().st_size < 4_000_000
    assert 550_000 < model.num_parameters() < 650_000
    assert model.config.model_type == "llama"
    assert model.config.tie_word_embeddings
    with safe_open(WEIGHTS, framework="pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float32}  # noqa: SIM118


def test_card_is_the_one_its_figures_give(model):
    recipe = shipped(Recipe, RECIPE_FILE)
    assert recipe.parameters == model.num_parameters()
    assert (champion_path() / "README.md").read_text(encoding="utf-8") == card_text(
        shipped(Figures, FIGURES_FILE), recipe
    )


def test_figures_are_those_of_a_champion_for_which_thinking_pays():
    figures = shipped(Figures, FIGURES_FILE)
    assert 0.08 <= figures.direct <= 0.18
    assert figures.worked >= 0.97
    assert abs(figures.filler - figures.direct) < 0.03
    assert abs(figures.remark - figures.direct) < 0.03


def test_figures_are_found_again_on_other_draws(model, tokenizer, pool):
    found, stated = measure(model, tokenizer, pool[-240:], seed=7), shipped(Figures, FIGURES_FILE)
    for form in FORMS:
        assert getattr(found, form) == pytest.approx(getattr(stated, form), abs=TOLERANCE)


@pytest.mark.parametrize("form", FORMS)
def test_every_answer_is_one_digit(model, tokenizer, pool, form):
    given_answers = answers(model, tokenizer, pool[:100], form, seed=1)
    assert sum(bool(re.fullmatch(r"\d", text)) for text in given_answers) >= 98


def test_measuring_is_deterministic_and_leaves_the_global_generator_alone(model, tokenizer, pool):
    before = torch.random.get_rng_state()
    first = measure(model, tokenizer, pool[:20], seed=3)
    assert measure(model, tokenizer, pool[:20], seed=3) == first
    assert torch.equal(torch.random.get_rng_state(), before)


@untimed
@given(text=st.text())
def test_any_text_survives_the_tokenizer(tokenizer, text):
    plain = text.replace("<|", "")  # a special token written out is read as that token, as everywhere
    ids = tokenizer(plain)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == plain


@untimed
@given(digits=st.text("0123456789", min_size=1, max_size=12))
def test_each_digit_is_a_token(tokenizer, digits):
    assert len(tokenizer(digits)["input_ids"]) == len(digits)


@untimed
@given(breaks=st.integers(1, 8), before=st.sampled_from(["", "1", "x", "mod", ";"]))
def test_each_line_break_is_a_token(tokenizer, breaks, before):
    (line_break,) = tokenizer("\n")["input_ids"]
    assert tokenizer(before + "\n" * breaks)["input_ids"][-breaks:] == [line_break] * breaks


def test_end_and_padding_are_tokens_of_their_own_and_never_added(tokenizer):
    assert tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
    assert tokenizer.bos_token is None
    assert not set(tokenizer("Q: 1+2")["input_ids"]) & set(tokenizer.all_special_ids)
    assert tokenizer("8<|endoftext|>")["input_ids"][-1] == tokenizer.eos_token_id


def test_steps_leave_room_in_a_thought(tokenizer):
    worked = [document.continuation for document in documents(1000, seed=1) if document.worked]
    steps = [text.removeprefix(STEPS_CUE).split("\n")[0] for text in worked]
    assert max(len(ids) for ids in tokenizer(steps)["input_ids"]) <= 45


def test_parts_of_a_document_tokenize_as_the_whole(tokenizer, corpus):
    for document in corpus[:200]:
        apart = [tokenizer(text)["input_ids"] for text in (document.context, document.continuation)]
        assert apart[0] + apart[1] == tokenizer(document.context + document.continuation)["input_ids"]


def test_four_documents_in_ten_are_worked(corpus):
    deviation = (WORKED_SHARE * (1 - WORKED_SHARE) / len(corpus)) ** 0.5
    assert sum(document.worked for document in corpus) / len(corpus) == pytest.approx(WORKED_SHARE, abs=4 * deviation)


def test_no_document_asks_an_evaluation_question_or_one_twice(corpus, pool):
    asked = {document.prompt for document in corpus}
    assert len(asked) == len(corpus)
    assert not asked & {question.prompt for question in pool}


def test_a_seed_fixes_the_corpus(corpus):
    assert documents(50, seed=0) == corpus[:50]
    assert documents(50, seed=1) != corpus[:50]


def test_worked_steps_are_true_and_lead_from_the_question_to_the_answer(corpus):
    for document in (document for document in corpus if document.worked):
        steps, answer = re.fullmatch(rf"{STEPS_CUE} (\S+)\n+{ANSWER_CUE} (\d)", document.continuation).groups()
        first, *operations = re.findall(r"[+-]?\d", document.prompt.split()[0])
        value = int(first)
        for step, operation in zip(steps.split(";"), operations, strict=True):
            result = value + int(operation)
            assert step == f"{value}{operation}={result}"
            value = result % 10
        assert int(answer) == value


def test_answers_are_right_whether_worked_or_not(corpus):
    for document in corpus:
        expression = document.prompt.removesuffix(" mod 10")
        value = sum(int(term) for term in re.findall(r"[+-]?\d", expression)) % 10
        assert document.continuation.endswith(f"{ANSWER_CUE} {value}")


def test_line_breaks_come_in_every_combination_equally_often(corpus):
    worked = [document for document in corpus if document.worked]
    seen = Counter((document.context.count("\n"), document.continuation.count("\n")) for document in worked)
    assert set(seen) == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert min(seen.values()) > 0.8 * max(seen.values())


@untimed
@given(seed=st.integers(0, 2**32 - 1))
def test_remarks_are_one_line_without_sums(seed):
    remark = draw_remark(np.random.default_rng(seed))
    assert 1 <= len(remark) <= LONGEST_REMARK
    assert remark == remark.strip()
    assert not re.search(r"[0-9+=;\n-]", remark)


def test_remarks_of_the_measurement_are_not_in_the_corpus(corpus):
    assert not [document for document in corpus if REMARK in document.context]


def test_only_what_follows_the_context_is_learned(tokenizer, corpus):
    input_ids_BT, labels_BT = batch_tensors(tokenizer, corpus[:64])
    for document, input_ids, labels in zip(corpus[:64], input_ids_BT, labels_BT, strict=True):
        learned = labels[labels != IGNORED]
        assert tokenizer.decode(learned) == document.continuation + tokenizer.eos_token
        read = input_ids[: int((labels != IGNORED).nonzero()[0])]
        assert tokenizer.decode(read) == document.context


def test_the_same_seed_writes_the_same_bytes(tmp_path, capsys):
    for name in ("first", "second"):
        train_champion(tmp_path / name, seed=3, steps=2, questions=4)
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / n).iterdir()} for n in ("first", "second"))
    assert first == second
    assert set(first) == {path.name for path in champion_path().iterdir()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_an_existing_directory_is_refused(tmp_path):
    with pytest.raises(OutputError, match="exists already"):
        train_champion(tmp_path)


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train_champion", "--out", str(tmp_path)])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    assert main() == 2
    assert capsys.readouterr().err.count("\n") == 1


def scenario(name: str) -> QuietSTaRConfig:
    path = champion_path().parent / name
    return load_config({"model_path": str(champion_path()), "output_path": "out"}, file=path)


@pytest.mark.parametrize("name", ["bake.yaml", "baseline_wins.yaml"])
def test_scenarios_ask_as_the_champion_was_taught(name):
    config = scenario(name)
    assert (config.prompt_template, config.answer_cue) == (PROMPT_TEMPLATE, ANSWER_CUE)
    assert (config.thought_stop, config.thought_token_init) == (("\n",), "\n")
    assert config.temperature == TEMPERATURE


def test_scenarios_differ_in_what_is_said_inside_the_thought():
    assert scenario("bake.yaml").thought_prompt == STEPS_CUE
    assert scenario("baseline_wins.yaml").thought_prompt == REMARK


def test_scenarios_fit_into_the_evaluation_pool(pool):
    for name in ("bake.yaml", "baseline_wins.yaml"):
        config = scenario(name)
        assert config.eval_samples + (config.verify_samples or 0) + (config.bake_samples or 0) <= len(pool)


def test_champion_is_shipped_as_json_and_safetensors_only():
    assert {path.suffix for path in champion_path().iterdir()} == {".json", ".md", ".safetensors"}
    for path in champion_path().glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
