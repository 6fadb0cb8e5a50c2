"""Rows that are moved on all at once become what each would have become by itself."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_sampling import END_ID, EOS_ID, START_ID, ids, prompting, rules, scripts

from agent_forge.models.rows import Row, Rows
from agent_forge.models.straight import StraightTokens
from agent_forge.thoughts import RowState

# Tokens that act are as likely here as all others together.
ACTING = st.sampled_from([START_ID, END_ID, EOS_ID, *ids(". So\n"), *ids("so")])
TOKENS = st.one_of(ACTING, st.integers(0, 255))
RULES = [
    rules(),
    rules(answer_stops=(".", "So"), thought_stops=("\n",), max_thoughts=2),
    rules(placement="sentence", max_thoughts=3, max_answer_tokens=20),
]


@cache
def table(held):
    # Kept from one example to the next, as a sampler keeps it.
    return StraightTokens(held, prompting().piece, max(START_ID, END_ID) + 1)


def state(held, script):
    coins = np.random.default_rng(7) if held.placement == "sentence" else None
    return RowState(held, script, prompting().decode, prompting().piece, coins)


def alone(held, script, proposals):
    """Return what a row feeds after each proposal, by its own state."""
    row, fed = state(held, script), []
    for proposed in proposals:
        if row.done:
            break
        fed.append([row.advance(proposed)])
        while row.forced and not row.done:
            fed[-1].append(row.advance(proposed))
        fed[-1] = [token for token in fed[-1] if token is not None]
    return row, fed


def outcome(row):
    return (
        row.answer_text(),
        row.thought_texts(),
        row.sampled_tokens,
        row.thought_tokens,
        row.truncated,
        row.well_formed,
    )


@pytest.mark.parametrize("held", RULES, ids=["caps", "stops", "sentences"])
@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(scripts())), st.lists(TOKENS, min_size=40, max_size=40)),
        min_size=1,
        max_size=4,
    )
)
def test_rows_moved_on_together_are_rows_moved_on_alone(held, asked):
    made = [(scripts(max_thoughts=held.max_thoughts)[name], proposals) for name, proposals in asked]
    rows = Rows(table(held), [np.linspace(0, 1, 80)] * len(made))
    for number, (script, _) in enumerate(made):
        rows.enter(Row(number, (), (), state(held, script), 80))
    fed = [[] for _ in made]
    going = np.arange(len(made))
    for step in range(40):
        on, done = rows.propose(going, np.array([made[number][1][step] for number in going]))
        for place, number in enumerate(going.tolist()):
            tokens = rows.tokens(np.array([number])).tolist()
            fed[number].append(tokens)
            assert on[place] == (tokens == [made[number][1][step]])
            assert rows.token[number] == tokens[0] if tokens else rows.at[number].state.done
        going = np.array([number for number in going.tolist() if rows.at[number] not in done], dtype=np.int64)
        if not len(going):
            break
    for number, (script, proposals) in enumerate(made):
        row, expected = alone(held, script, proposals)
        assert fed[number] == expected
        if row.done:
            assert outcome(rows.at[number].state) == outcome(row)
            assert rows.drawn[number] == row.sampled_tokens
