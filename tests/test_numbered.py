import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.numbered import Numbered

TEXTS = st.lists(st.text(max_size=5) | st.sampled_from(["", "a\0", "a", "\U0001f600", "￮", "long" * 40]), max_size=40)


@given(TEXTS)
def test_texts_are_numbered_in_the_order_they_come(texts):
    names, known = Numbered(), {}
    assert [names.add(text) for text in texts] == [known.setdefault(text, len(known)) for text in texts]
    assert list(names) == list(known)
    assert [names.find(text) for text in texts] == [known[text] for text in texts]
    assert names.find("another text") is None
    assert "another text" not in names


@given(TEXTS)
def test_numbers_are_sorted_as_their_texts_are(texts):
    names = Numbered()
    for text in texts:
        names.add(text)
    ordered = names.in_order(np.arange(len(names), dtype=np.int32))
    assert [names[number] for number in ordered.tolist()] == sorted(set(texts))


def test_many_texts_keep_their_numbers_while_the_table_grows():
    names = Numbered()
    assert [names.add(f"q{k}") for k in range(5000)] == list(range(5000))
    assert [names.find(f"q{k}") for k in range(5000)] == list(range(5000))
