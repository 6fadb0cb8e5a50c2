"""Laws of the thought tokens: one id each wherever they stand, and ordinary text reads as it did."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import EOS, PAD, tiny_tokenizer
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from agent_forge.errors import ChampionError, ConfigError, ForgeError
from agent_forge.models.vocabulary import ThoughtIds, add_thought_tokens, thought_ids

START, END = "<|startofthought|>", "<|endofthought|>"
OLD = tiny_tokenizer()
NEW, IDS, _ = add_thought_tokens(OLD, START, END)
SIZE = len(OLD)
WORDS = st.text(string.ascii_letters + string.digits + "äß文" + " \t\n", min_size=1, max_size=12)
MARKS = st.text(string.punctuation + "…–«»", min_size=1, max_size=6)
PIECES = st.sampled_from(["<|", "|>", "<", "|", ">", "start", "end", "of", "thought", " ", "\n", "7"])
MARKED = st.text(string.ascii_letters + "_|", max_size=8).map(lambda inner: f"<|a{inner}|>")


def refusal(start, end, tokenizer=OLD) -> ForgeError:
    before = tokenizer.get_vocab()
    with pytest.raises(ForgeError) as caught:
        add_thought_tokens(tokenizer, start, end)
    assert "\n" not in str(caught.value)
    assert tokenizer.get_vocab() == before
    return caught.value


def knowing(*tokens, special=True, **rules):
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(token, **rules) for token in tokens], special_tokens=special)
    return tokenizer


def words_with_ids(*ids):
    vocabulary = dict(zip(("<unk>", EOS, "a", "b", ":"), ids, strict=True))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, unk_token="<unk>")


def test_new_tokens_follow_the_old_vocabulary():
    tokenizer, ids, added = add_thought_tokens(OLD, START, END)
    assert ids == (SIZE, SIZE + 1)
    assert added == set(ids)
    assert tokenizer.get_vocab() == OLD.get_vocab() | {START: ids.start, END: ids.end}
    assert thought_ids(tokenizer, START, END) == ids


def test_the_tokenizer_given_is_left_alone():
    tokenizer = tiny_tokenizer(chat_template=True)
    extended, _, _ = add_thought_tokens(tokenizer, START, END)
    assert tokenizer.backend_tokenizer.to_str() == tiny_tokenizer().backend_tokenizer.to_str()
    for name in ("eos_token", "pad_token", "bos_token", "chat_template", "padding_side"):
        assert getattr(extended, name) == getattr(tokenizer, name)


@settings(deadline=None)
@given(before=st.text(max_size=20), thought=st.text(max_size=20), after=st.text(max_size=20))
def test_a_thought_encodes_to_its_parts_between_the_two_ids(before, thought, after):
    def plain(text):
        return OLD.encode(text, add_special_tokens=False)

    text = f"{before}{START}{thought}{END}{after}"
    ids = NEW.encode(text, add_special_tokens=False)
    assert ids == [*plain(before), IDS.start, *plain(thought), IDS.end, *plain(after)]
    assert NEW.decode(ids, skip_special_tokens=False) == text
    assert NEW.decode(ids, skip_special_tokens=True) == f"{before}{thought}{after}"


@settings(deadline=None)
@given(pieces=st.lists(PIECES, max_size=12))
def test_text_encodes_as_before_exactly_when_it_lacks_the_tokens(pieces):
    text = "".join(pieces)
    assert (NEW.encode(text) == OLD.encode(text)) == (START not in text and END not in text)


@pytest.mark.parametrize("text", [START[:-1], END[1:], START.upper(), "<| startofthought |>", string.printable])
def test_what_only_resembles_the_tokens_encodes_as_before(text):
    assert NEW.encode(text) == OLD.encode(text)


@settings(max_examples=30, deadline=None)
@given(start=MARKED, end=MARKED)
def test_marked_names_are_accepted_unless_one_contains_the_other(start, end):
    if start in end or end in start:
        assert isinstance(refusal(start, end), ConfigError)
    else:
        tokenizer, ids, added = add_thought_tokens(OLD, start, end)
        assert [tokenizer.encode(token) for token in (start, end)] == [[index] for index in ids]
        assert added == set(ids)


@settings(max_examples=30, deadline=None)
@given(ordinary=WORDS | MARKS)
def test_words_and_punctuation_are_refused_on_either_side(ordinary):
    for start, end in ((ordinary, END), (START, ordinary)):
        error = refusal(start, end)
        assert isinstance(error, ConfigError) and "ordinary text" in str(error)


@pytest.mark.parametrize("token", ["", " ", "<|a|> ", "\n<|a|>", "<|a\nb|>", "Thought:", "Step 1.", "...", "**", "</"])
def test_texts_that_anyone_might_write_are_refused(token):
    error = refusal(token, END)
    assert isinstance(error, ConfigError) and repr(token) in str(error)


@pytest.mark.parametrize(
    ("token", "tokenizer"),
    [
        (START, OLD),
        ("<think>", OLD),
        ("</think>", OLD),
        ("[THINK]", OLD),
        ("<｜begin▁of▁thought｜>", OLD),
        ("<|reserved 12|>", OLD),
    ],
)
def test_names_that_models_use_are_accepted(token, tokenizer):
    assert add_thought_tokens(tokenizer, token, END)[1] == (SIZE, SIZE + 1)


@pytest.mark.parametrize("tokens", [(START, START), ("<|a|>", "<<|a|>>"), ("<<|a|>>", "<|a|>")])
def test_tokens_are_kept_apart(tokens):
    assert "contains the other" in str(refusal(*tokens))


@pytest.mark.parametrize(("token", "name"), [(EOS, "eos_token"), (PAD, "pad_token")])
def test_a_token_with_another_meaning_is_refused(token, name):
    for tokens in ((token, END), (START, token)):
        assert f"is the tokenizer's {name}" in str(refusal(*tokens))


def test_ordinary_vocabulary_is_refused_even_where_it_looks_marked():
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, START: 1, EOS: 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, unk_token="<unk>")
    assert "ordinary vocabulary" in str(refusal(START, END, fast))


@pytest.mark.parametrize("special", [True, False])
def test_tokens_that_are_there_keep_their_ids(special):
    tokenizer = knowing(END, "<|other|>", START, special=special)
    extended, ids, added = add_thought_tokens(tokenizer, START, END)
    assert (ids, added) == (ThoughtIds(SIZE + 2, SIZE), set())
    assert extended.get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("known", [START, END])
def test_the_missing_one_of_two_is_added(known):
    extended, ids, added = add_thought_tokens(knowing(known), START, END)
    assert extended.get_vocab()[known] == SIZE
    assert added == {SIZE + 1} == set(ids) - {SIZE}


def test_adding_twice_is_adding_once():
    again, ids, added = add_thought_tokens(NEW, START, END)
    assert (ids, added) == (IDS, set())
    assert again.backend_tokenizer.to_str() == NEW.backend_tokenizer.to_str()


def test_a_known_token_that_is_found_only_between_spaces_is_refused():
    assert "inside text" in str(refusal(START, END, knowing(START, END, single_word=True)))


@pytest.mark.parametrize("ids", [(0, 1, 2, 3, 5), (0, 1, 2, 3, 6), (0, 1, 2, 5, 6), (5, 6, 7, 8, 9)])
def test_a_tokenizer_that_would_give_out_an_id_twice_is_refused(ids):
    assert "ids have gaps; renumber them" in str(refusal(START, END, words_with_ids(*ids)))


def test_a_gap_that_the_new_ids_do_not_fall_on_is_no_obstacle():
    _, ids, added = add_thought_tokens(words_with_ids(0, 1, 2, 3, 9), START, END)
    assert (ids, added) == ((5, 6), {5, 6})


@pytest.mark.parametrize("known", [(), (START,), (END,)])
def test_an_extended_tokenizer_is_expected_where_the_ids_are_read(known):
    with pytest.raises(ChampionError, match="not in the tokenizer's vocabulary; an extended model is expected"):
        thought_ids(knowing(*known), START, END)
