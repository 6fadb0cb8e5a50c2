"""Laws of extending: nothing old moves, the new tokens are there, and what cannot be extended says so."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import EOS, tiny_champion
from tiny_extended import (
    BOTH_TIES,
    DTYPES,
    END,
    EVERY_ARCHITECTURE,
    SIZE,
    START,
    all_entries,
    as_mixed,
    edit_json,
    exact,
    extended_at,
    in_memory,
    logits,
    tokens_added,
    weights,
)
from torch import nn

from agent_forge.errors import ForgeError
from agent_forge.models.extend import LARGEST_LOGIT_CHANGE, extend, save_extended
from agent_forge.models.load import LoadedModel, load_champion
from agent_forge.storage.files import list_files


@pytest.fixture
def champion(tmp_path):
    return tiny_champion(tmp_path / "champion")


@EVERY_ARCHITECTURE
@BOTH_TIES
def test_logits_of_the_old_vocabulary_stay(kind, tied):
    loaded = in_memory(kind, tied=tied)
    before = logits(loaded.model)
    extended = extend(loaded, START, END)
    change = float((logits(extended.model)[:, :SIZE] - before).abs().max())
    assert max(change, extended.largest_logit_change) < LARGEST_LOGIT_CHANGE
    assert (extended.old_vocabulary, extended.new_vocabulary, extended.ids) == (SIZE, SIZE + 2, (SIZE, SIZE + 1))
    assert (extended.tied, extended.recognised) == (tied, False)


@EVERY_ARCHITECTURE
@BOTH_TIES
def test_every_old_weight_stays_and_the_new_rows_answer(kind, tied):
    loaded = in_memory(kind, tied=tied)
    before = weights(loaded.model)
    extended = extend(loaded, START, END)
    after = weights(extended.model)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name][: len(value)], value) for name, value in before.items())
    grown = {name for name in after if len(after[name]) != len(before[name])}
    assert len(grown) == (1 if tied else 2) + any(name.startswith("lm_head.bias") for name in after)
    for module in (extended.model.get_input_embeddings(), extended.model.get_output_embeddings()):
        assert len(module.weight) == SIZE + 2
    assert logits(extended.model, extended.ids).shape == (2, SIZE + 2)
    assert extended.model.config.vocab_size == SIZE + 2


@pytest.mark.parametrize("init_text", ["\n", "Answer: 7", ""])
def test_new_rows_start_from_the_text_and_from_the_mean(init_text):
    loaded = in_memory("phi")
    before = weights(loaded.model)
    extended = extend(loaded, START, END, init_text=init_text)
    source = loaded.tokenizer.encode(init_text) or list(range(SIZE))
    expected = {
        "model.embed_tokens.weight": before["model.embed_tokens.weight"][source].mean(dim=0),
        "lm_head.weight": before["lm_head.weight"].mean(dim=0),
        "lm_head.bias": before["lm_head.bias"].mean(dim=0),
    }
    after = weights(extended.model)
    for name, row in expected.items():
        torch.testing.assert_close(after[name][list(extended.ids)], torch.stack([row, row]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_models_run_in_sixteen_bits_keep_what_they_say(dtype):
    extended = extend(in_memory(dtype=dtype), START, END)
    assert extended.largest_logit_change < LARGEST_LOGIT_CHANGE
    assert {value.dtype for value in extended.model.parameters()} == {dtype}
    assert not extended.model.get_output_embeddings()._forward_hooks


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(SIZE, SIZE + 70), multiple=st.integers(1, 130), context=st.integers(2, 40), tied=st.booleans())
@example(rows=SIZE + 1, multiple=1, context=2, tied=True)
@example(rows=SIZE + 20, multiple=64, context=2, tied=False)
def test_rows_are_the_next_multiple_that_holds_everything(rows, multiple, context, tied):
    loaded = in_memory(vocabulary=rows, context=context, tied=tied)
    before = weights(loaded.model)
    extended = extend(loaded, START, END, pad_to_multiple=multiple)
    needed = max(rows, SIZE + 2)
    assert extended.new_vocabulary % multiple == 0
    assert needed <= extended.new_vocabulary < needed + multiple
    assert (extended.old_vocabulary, extended.ids) == (rows, (SIZE, SIZE + 1))
    for name, value in weights(extended.model).items():
        kept = [row for row in range(len(before[name])) if value.ndim < 2 or row not in extended.ids]
        assert torch.equal(value[kept], before[name][kept])
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("rows", [SIZE + 1, SIZE + 2, SIZE + 20])
def test_spare_rows_are_used_before_new_ones_and_only_they_change(tmp_path, rows):
    loaded = exact(tiny_champion(tmp_path / "c", vocabulary=rows))
    before, table = logits(loaded.model), weights(loaded.model)["lm_head.weight"]
    extended = extend(loaded, START, END)
    assert extended.new_vocabulary == max(rows, SIZE + 2)
    moved = (logits(extended.model)[:, :rows] - before).abs().amax(dim=0) >= LARGEST_LOGIT_CHANGE
    assert moved.nonzero().flatten().tolist() == [index for index in extended.ids if index < rows]
    assert not torch.equal(extended.model.lm_head.weight[SIZE], table[SIZE])


@BOTH_TIES
@pytest.mark.parametrize("rows", [SIZE + 2, SIZE + 20])
def test_known_tokens_are_recognised_and_nothing_changes(tmp_path, tied, rows):
    loaded = exact(tiny_champion(tmp_path / "c", tied=tied, vocabulary=rows, tokenizer=tokens_added(END, START)))
    before, answers, vocabulary = weights(loaded.model), logits(loaded.model), loaded.tokenizer.get_vocab()
    extended = extend(loaded, START, END)
    assert (extended.recognised, extended.ids, extended.new_vocabulary) == (True, (SIZE + 1, SIZE), rows)
    assert extended.tokenizer.get_vocab() == vocabulary
    after = weights(extended.model)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(logits(extended.model), answers)


@pytest.mark.parametrize("known", [START, END])
def test_of_one_known_token_and_one_missing_only_the_missing_one_starts_anew(tmp_path, known):
    loaded = exact(tiny_champion(tmp_path / "c", vocabulary=SIZE + 1, tokenizer=tokens_added(known)))
    before = weights(loaded.model)["model.embed_tokens.weight"]
    extended = extend(loaded, START, END)
    assert (extended.recognised, sorted(extended.ids)) == (False, [SIZE, SIZE + 1])
    assert extended.tokenizer.encode(known) == [SIZE]
    assert torch.equal(extended.model.model.embed_tokens.weight[: SIZE + 1], before)


@pytest.mark.parametrize("rows", [SIZE, SIZE + 1])
def test_known_tokens_without_rows_get_them(tmp_path, rows):
    loaded = exact(tiny_champion(tmp_path / "c", vocabulary=rows, tokenizer=tokens_added(START, END)))
    before = logits(loaded.model)
    extended = extend(loaded, START, END)
    assert (extended.recognised, extended.new_vocabulary) == (True, SIZE + 2)
    torch.testing.assert_close(logits(extended.model)[:, :rows], before, atol=LARGEST_LOGIT_CHANGE, rtol=0)


def test_extending_an_extended_model_changes_nothing(tmp_path, champion):
    save_extended(extended_at(champion), tmp_path / "once")
    again = extended_at(tmp_path / "once")
    assert again.recognised
    save_extended(again, tmp_path / "twice")
    assert list_files(tmp_path / "twice") == list_files(tmp_path / "once")


def test_extending_twice_gives_the_same_files_whatever_the_generator(tmp_path, champion):
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        save_extended(extended_at(champion), tmp_path / name)
    assert list_files(tmp_path / "a") == list_files(tmp_path / "b")


def test_nothing_is_said_and_the_global_generator_is_left_alone(tmp_path, champion, capfd):
    before = torch.random.get_rng_state()
    save_extended(extended_at(champion, pad_to_multiple=64), tmp_path / "e")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


def refusal(loaded, start=START, end=END) -> str:
    with pytest.raises(ForgeError) as caught:
        extend(loaded, start, end)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("think", END, "ordinary text"),
        (START, "...", "ordinary text"),
        ("<|t|>", "<<|t|>>", "contains the other"),
        (EOS, END, "eos_token"),
        (START, "<|pad|>", "pad_token"),
    ],
)
def test_a_refused_token_leaves_champion_and_model_as_they_were(champion, start, end, expected):
    files, loaded = all_entries(champion), exact(champion)
    before = weights(loaded.model)
    assert expected in refusal(loaded, start, end)
    after = weights(loaded.model)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all_entries(champion) == files


@pytest.mark.parametrize("several", [[0, SIZE], SIZE])
@pytest.mark.parametrize("known", [(), (START, END), (END,)])
def test_a_token_that_ends_the_champions_texts_is_refused(tmp_path, several, known):
    champion = tiny_champion(tmp_path / "c", vocabulary=SIZE + 2, tokenizer=tokens_added(*known))
    edit_json(champion / "generation_config.json", eos_token_id=several)
    assert f"has id {SIZE}, which ends a text" in refusal(exact(champion))


@pytest.mark.parametrize(
    ("stored", "wider", "dtype"),
    [
        (torch.float32, (), "bfloat16"),
        (torch.bfloat16, (), "float16"),
        (torch.float16, (), "bfloat16"),
        (torch.bfloat16, ("model.norm.weight",), "bfloat16"),
    ],
)
def test_arithmetic_that_rounds_the_weights_is_refused(tmp_path, stored, wider, dtype):
    champion = as_mixed(tiny_champion(tmp_path / "c", dtype=stored), *wider)
    assert "load it in float32" in refusal(load_champion(str(champion), dtype=dtype))


def test_weights_that_no_arithmetic_here_holds_are_to_be_converted(tmp_path):
    message = refusal(exact(tiny_champion(tmp_path / "c", dtype=torch.float64)))
    assert "torch.float64" in message and "convert it to float32" in message and "load it" not in message


def answering(change, **changes):
    """A champion whose logits pass through a function of its token ids and its logits."""
    loaded = in_memory(**changes)

    def hook(_, arguments, named, output):
        output.logits = change(named["input_ids"], output.logits)
        return output

    loaded.model.register_forward_hook(hook, with_kwargs=True)
    return loaded


def test_logits_are_compared_in_float32_whatever_the_model_runs_in():
    seen = []

    def record(_, logits_BTV):
        seen.append(logits_BTV.dtype)
        return logits_BTV

    extend(answering(record, dtype=torch.bfloat16), START, END)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("context", [2, 8])
def test_models_with_few_positions_can_be_extended(context):
    assert extend(in_memory("gpt2", context=context), START, END).new_vocabulary == SIZE + 2


def test_a_model_whose_old_logits_depend_on_the_size_of_its_vocabulary_is_refused():
    message = refusal(answering(lambda _, logits_BTV: logits_BTV.log_softmax(dim=-1)))
    assert "moves the champion's logits" in message and f"less than {LARGEST_LOGIT_CHANGE:.1e}" in message


def test_a_model_with_a_further_table_of_tokens_is_refused():
    table = nn.Embedding(SIZE, 1)
    assert "tables that the new tokens do not fit" in refusal(
        answering(lambda ids, logits_BTV: logits_BTV + table(ids))
    )


def test_a_model_that_gives_no_number_for_the_new_tokens_is_refused():
    def poisoned(ids, logits_BTV):
        return logits_BTV.masked_fill((ids >= SIZE).any(), float("nan"))

    assert "finite logits for the new tokens" in refusal(answering(poisoned))
    assert "moves the champion's logits by nan" in refusal(answering(lambda _, logits_BTV: logits_BTV * float("nan")))


def test_a_model_without_an_output_layer_is_refused():
    loaded = in_memory()
    headless = LoadedModel(loaded.model.model, loaded.tokenizer, loaded.dtype, loaded.dtype, "eager", None)
    assert "no output layer" in refusal(headless)
