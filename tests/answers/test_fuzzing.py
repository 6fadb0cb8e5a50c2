"""Any text up to 100 kB: a grade comes back, can be written down, and right is only what holds the answer.

Whether it does is found by other means than the graders': compatibility characters folded, then the digits, letters or
lines looked for in their order. `bench/fuzz_graders.py` does the same for minutes.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.answers import grade
from agent_forge.records import AnswerKind
from bench.fuzz_graders import FRAGMENTS, HOLDS, PROMPTS, REFERENCES, check_code

KINDS: tuple[AnswerKind, ...] = ("number", "math", "choice", "text")
EXAMPLES = 25

characters = st.characters()
texts = st.one_of(
    st.text(characters, max_size=200),
    st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join),
    # Up to 100 kB: a short text many times.
    st.builds(
        lambda piece, times: (piece * times)[:100_000],
        st.lists(st.sampled_from(FRAGMENTS) | st.text(characters, max_size=3), min_size=1, max_size=3).map("".join),
        st.sampled_from([1000, 10_000, 100_000]),
    ),
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES)
@given(text=texts)
def test_only_what_holds_the_answer_is_right(kind: AnswerKind, text: str) -> None:
    verdict = grade(kind, text, REFERENCES[kind], PROMPTS[kind])
    assert verdict.model_dump_json()
    assert not verdict.correct or HOLDS[kind](text)


@settings(max_examples=EXAMPLES)
@given(texts)
def test_a_program_is_made_of_lines_that_were_written(text: str) -> None:
    assert check_code(text) is None
