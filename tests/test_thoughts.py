import numpy as np
import pytest

from agent_forge.thoughts import (
    RowState,
    Script,
    ThoughtRules,
    direct_script,
    elicited_script,
    free_script,
    is_break,
    pause_script,
    swapped_script,
)

START, END, EOS, CUE = 1000, 1001, 1002, 1003


def decode(ids):
    return "".join(chr(token) for token in ids if token < 1000)


def rules(**changes):
    values = {
        "start_id": START,
        "end_id": END,
        "eos_ids": frozenset({EOS}),
        "max_thought_length": 4,
        "max_answer_tokens": 3,
        **changes,
    }
    return ThoughtRules(**values)


def row(script: Script, **changes) -> RowState:
    return RowState(
        rules=rules(**changes),
        script=script,
        decode=decode,
        piece=lambda token: decode([token]),
        uniforms=np.random.default_rng(0),
    )


def run(state: RowState, proposals) -> list[int]:
    fed = []
    for proposed in proposals:
        while state.forced:
            fed.append(state.advance(-1))
        if state.done:
            break
        token = state.advance(proposed)
        if token is not None:
            fed.append(token)
    return fed


def test_direct_answer_cannot_open_a_thought():
    state = row(direct_script([CUE]))
    assert state.bans_start and state.bans_end
    run(state, [ord("8"), EOS])
    assert (state.answer_text(), state.truncated, state.thought_tokens) == ("8", False, 0)


def test_elicited_thought_closed_by_the_model_is_followed_by_the_cue():
    state = row(elicited_script(rules(), [50], [CUE]))
    fed = run(state, [ord("a"), END, ord("8"), EOS])
    assert fed == [ord("a"), END, CUE, ord("8")]
    assert state.well_formed and state.thought_texts() == ("a",) and state.answer_text() == "8"


def test_thought_is_closed_at_its_cap_and_is_then_not_well_formed():
    state = row(elicited_script(rules(), [], [CUE]))
    fed = run(state, [97, 98, 97, 98, ord("8"), EOS])
    assert fed == [97, 98, 97, 98, END, CUE, ord("8")]
    assert not state.well_formed and state.thought_tokens == 4


def test_end_of_sequence_closes_an_elicited_thought_but_ends_a_free_row():
    elicited = row(elicited_script(rules(), [], []))
    assert run(elicited, [97, EOS]) == [97, END] and not elicited.done
    free = row(free_script([]))
    run(free, [START, 97, EOS])
    assert free.done and not free.well_formed and free.answer_text() == ""


def test_stop_text_closes_a_thought_and_is_dropped_from_it():
    state = row(elicited_script(rules(thought_stops=("\n",)), [], []), thought_stops=("\n",))
    assert run(state, [97, 10, ord("8"), EOS]) == [97, END, ord("8")]
    assert state.thought_texts() == ("a",) and state.well_formed


def test_answer_is_cut_off_at_its_cap_and_says_so():
    state = row(direct_script([]))
    run(state, [49, 50, 51, 52])
    assert state.truncated and state.answer_text() == "123"


def test_answer_stop_text_is_dropped():
    state = row(direct_script([]), answer_stops=("\nQ",), max_answer_tokens=9)
    run(state, [49, 10, ord("Q"), 50])
    assert state.done and state.answer_text() == "1" and not state.truncated


def test_free_row_counts_stray_and_nested_tokens_as_malformed():
    assert not_well_formed([START, 97, START, END, 49, EOS])
    assert not_well_formed([END, 49, EOS])
    assert not_well_formed([START, END, 49, EOS])
    assert not not_well_formed([START, 97, END, 49, EOS])


def not_well_formed(proposals) -> bool:
    state = row(free_script([]))
    run(state, proposals)
    return not state.well_formed


def test_endless_end_tokens_stop_at_the_answer_cap():
    state = row(free_script([]))
    run(state, [END] * 50)
    assert state.done and state.truncated


def test_free_row_opens_no_more_thoughts_than_allowed():
    state = row(free_script([]), max_thoughts=1)
    run(state, [START, 97, END])
    assert state.bans_start


def test_pause_and_swapped_rows_only_answer():
    pause = row(pause_script(rules(), 46, 3, [CUE]))
    assert pause.script.prefix_ids == (START, 46, 46, 46, END, CUE) and pause.thought_tokens == 3
    swapped = row(swapped_script(rules(), [97], [CUE]))
    assert swapped.script.prefix_ids == (START, 97, END) and swapped.bans_start


@pytest.mark.parametrize(("probability", "thoughts"), [(0.0, 1), (1.0, 2)])
def test_sentence_placement_thinks_at_breaks_with_its_probability(probability, thoughts):
    changes = {
        "placement": "sentence",
        "probability": probability,
        "max_thoughts": 2,
        "max_answer_tokens": 9,
        "max_thought_length": 9,
    }
    state = row(elicited_script(rules(**changes), [], []), **changes)
    run(state, [97, END, ord("x"), ord("."), ord(" "), *([98, END] if thoughts == 2 else []), ord(" "), ord("y"), EOS])
    assert len(state.thoughts) == thoughts
    expected = "SaEx.SbE y" if thoughts == 2 else "SaEx.  y"
    assert state.transcript("S", "E", "") == expected


@pytest.mark.parametrize(
    ("before", "piece", "expected"),
    [
        ("It is 3.", "1", False),
        ("It is 3.", " So", True),
        ("It is 3", " so", True),
        ("It is 3", " some", False),
        ("It is\n", "x", True),
        ("", " so", False),
        ('He said "no."', " Then", True),
    ],
)
def test_breaks(before, piece, expected):
    assert is_break(before, piece) is expected
