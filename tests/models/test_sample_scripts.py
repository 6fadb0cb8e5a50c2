"""Scripts on a real model: what is forced, what is sampled, what counts, and what of it is the completion."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_extended import END, START
from tiny_sampling import (
    CUE_IDS,
    ELICIT_IDS,
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

from agent_forge.errors import ConfigError
from agent_forge.models.sample import Sampled

SCRIPTS = tuple(scripts())
# What a model may want next: thought tokens, the end, text.
WISHES = st.lists(st.sampled_from([START_ID, END_ID, EOS_ID, *ids("7. so\n")]), min_size=1, max_size=30)


def steer(script: str, wishes, **changes) -> tuple[Sampled, list[int]]:
    """Sample one row of a model that wants `wishes`; return it and what the model was fed after the prompt."""
    with steered(extended().model, wishes) as fed:
        (row,) = sampler(**changes).sample([request(scripts(**changes)[script])], 1)
    assert tuple(fed[: len(PROMPT_IDS)]) == PROMPT_IDS
    return row, fed[len(PROMPT_IDS) :]


def wishes_of(script: str, thought: str, answer: str) -> list[int]:
    """Return what a model wants that thinks and answers as told; a forced token overrides the wish of its step."""
    said = [*ids(answer), EOS_ID]
    return {
        "elicited": [*ids(thought), END_ID, *[EOS_ID] * len(CUE_IDS), *said],
        "free": [START_ID, *ids(thought), END_ID, *CUE_IDS, *said],
        "swapped": [*CUE_IDS, *said],
    }.get(script, said)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_forces_its_text_and_only_what_the_model_says_is_sampled(script):
    row, fed = steer(script, wishes_of(script, " 3", " 7"))
    thought, answer, cue = ids(" 3"), ids(" 7"), prompting().cue
    opened = (START_ID, *thought, END_ID)
    assert (
        tuple(fed)
        == {
            "direct": (*CUE_IDS, *answer),
            "elicited": (START_ID, *ELICIT_IDS, *thought, END_ID, *CUE_IDS, *answer),
            "pause": (START_ID, *ids(".") * 5, END_ID, *CUE_IDS, *answer),
            "free": (*opened, *CUE_IDS, *answer),
            "swapped": (START_ID, *ids("3 + 4"), END_ID, *CUE_IDS, *answer),
        }[script]
    )
    thinks = script in ("elicited", "free")
    written = {"elicited": (*thought, END_ID), "free": (*opened, *CUE_IDS), "swapped": CUE_IDS}.get(script, ())
    inside = {"elicited": ELICIT_IDS + thought, "pause": ids(".") * 5, "free": thought, "swapped": ids("3 + 4")}
    assert row == Sampled(
        completion=" 7",
        thought=" 3" if thinks else "",
        text=f"{START} 3{END}{cue} 7" if thinks else f"{cue} 7" if script == "swapped" else " 7",
        tokens=len([*written, *answer, EOS_ID]),
        thought_tokens=len(inside.get(script, ())),
        truncated=False,
        well_formed=True,
    )


@settings(max_examples=60, deadline=None)
@given(script=st.sampled_from(SCRIPTS), wishes=WISHES)
def test_whatever_the_model_wants_a_row_ends_within_its_caps_and_shows_no_thought_token(script, wishes):
    row, fed = steer(script, wishes)
    assert START not in row.completion and END not in row.completion
    assert START_ID not in fed[1:] or script == "free"
    assert row.text.count(START) == row.text.count(END) <= (script in ("elicited", "free"))
    assert row.thought_tokens <= len(ELICIT_IDS) + rules().max_thought_length
    assert row.tokens <= rules().max_thought_length + rules().max_answer_tokens + len(CUE_IDS) + 2


@pytest.mark.parametrize("decoding", [GREEDY, RANDOM])
@pytest.mark.parametrize("script", ["direct", "elicited", "pause", "swapped"])
def test_a_banned_token_is_not_sampled_however_much_the_model_wants_it(script, decoding):
    fed = []

    def want_thoughts(input_ids, _, logits):
        fed.extend(input_ids[0].tolist())
        logits[0, -1, [START_ID, END_ID]] += 1e4

    with hooked(extended().model, want_thoughts):
        (row,) = sampler(decoding=decoding).sample([request(scripts()[script])], 1)
    assert [token for token in fed if token in (START_ID, END_ID)] == ([] if script == "direct" else [START_ID, END_ID])
    assert row.completion and not row.thought


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("spoken", [7, 8, 9])
def test_every_arm_answers_with_the_same_cap_and_says_when_it_was_reached(script, spoken):
    row, _ = steer(script, wishes_of(script, "3", "9" * spoken))
    assert len(ids("9" * spoken)) == spoken
    assert (row.completion, row.truncated) == ("9" * min(spoken, 8), spoken >= 8)


@pytest.mark.parametrize("script", ["elicited", "free"])
@pytest.mark.parametrize("spoken", [5, 6, 7])
def test_a_thought_is_closed_at_its_cap_and_is_then_malformed(script, spoken):
    opening, elicited = ([START_ID], ()) if script == "free" else ([], ELICIT_IDS)
    row, fed = steer(script, [*opening, *ids("9" * spoken), END_ID, EOS_ID])
    inside = (*elicited, *ids("9" * min(spoken, 6)))
    assert tuple(fed[: len(inside) + 2]) == (START_ID, *inside, END_ID)
    assert (row.thought, row.thought_tokens) == ("9" * min(spoken, 6), len(inside))
    assert row.well_formed == (spoken < 6)


def test_an_elicited_thought_ends_at_a_stop_text_or_the_end_of_the_sequence_as_well():
    for ending, changes in [(EOS_ID, {}), (ids("\n")[0], {"thought_stops": ("\n",)})]:
        row, fed = steer("elicited", [*ids("3"), ending, *[EOS_ID] * len(CUE_IDS), *ids("7"), EOS_ID], **changes)
        assert tuple(fed) == (START_ID, *ELICIT_IDS, *ids("3"), END_ID, *CUE_IDS, *ids("7"))
        assert (row.thought, row.completion, row.well_formed) == ("3", "7", True)


def test_a_free_row_that_does_not_think_or_never_stops_thinking():
    row, _ = steer("free", [*CUE_IDS, *ids("7"), EOS_ID])
    assert (row.completion, row.thought, row.well_formed) == ("7", "", True)
    row, _ = steer("free", [START_ID, *ids("7"), EOS_ID])
    assert (row.completion, row.thought, row.well_formed) == ("", "7", False)


def test_sentence_placement_thinks_again_at_a_break_in_place_of_what_was_said_there():
    changes = {"placement": "sentence", "probability": 1.0, "max_thoughts": 2}
    first, second = [*ids("3"), END_ID, *[EOS_ID] * len(CUE_IDS)], [*[EOS_ID] * len(ELICIT_IDS), *ids("4"), END_ID]
    row, fed = steer("elicited", [*first, *ids("a."), *ids(" "), EOS_ID, *second[1:], *ids(" 7"), EOS_ID], **changes)
    assert row.text == f"{START}3{END}Answer:a.{START}4{END} 7"
    assert row.thought == "3\n4" and row.thought_tokens == 2 * len(ELICIT_IDS) + 2
    assert fed.count(START_ID) == fed.count(END_ID) == 2


@settings(max_examples=60, deadline=None)
@given(
    said=st.text("a. \né。🙂", min_size=1, max_size=10),
    stop=st.one_of(st.text("a. \né。🙂", min_size=1, max_size=3), st.sampled_from(["\n", "。"])),
)
def test_an_answer_ends_before_its_first_stop_text(said, stop):
    wishes = [*ids(said), EOS_ID]
    row, _ = steer("direct", wishes, answer_stops=("never", stop), max_answer_tokens=50)
    assert row.completion == said.partition(stop)[0]
    assert not row.truncated


def test_an_empty_stop_text_is_refused():
    for field in ("answer_stops", "thought_stops"):
        with pytest.raises(ConfigError, match="empty"):
            rules(**{field: ("\n", "")})


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_end_of_sequence_token_ends_an_answer(script):
    other = ids("!")[0]
    for last in (EOS_ID, other):
        row, _ = steer(script, [*wishes_of(script, "3", "7")[:-1], last], eos_ids=frozenset({EOS_ID, other}))
        assert (row.completion, row.truncated) == ("7", False)


# Whole tokens, tokens that a stop text is split over, and characters of several tokens each.
STOPS = ("\n", "\nQuestion:", "###", "。", "🙂", "é!")


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_stop_text_inside_a_thought_ends_neither_the_thought_nor_the_answer(script, stop):
    thought = f"3{stop}4{stop}"
    caps = {"max_thought_length": 30, "max_answer_tokens": 30, "answer_stops": (stop,)}
    row, _ = steer(script, wishes_of(script, thought, f" 7{stop}8"), **caps)
    assert (row.completion, row.truncated, row.well_formed) == (" 7", False, True)
    assert row.thought == (thought if script in ("elicited", "free") else "")


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_an_answer_that_begins_with_a_stop_text_is_empty_and_not_cut_off(script, stop):
    caps = {"max_answer_tokens": 60, "answer_stops": ("never", stop)}
    row, _ = steer(script, wishes_of(script, "3", f"{stop}7"), **caps)
    assert (row.completion, row.truncated) == ("", False)


@pytest.mark.parametrize("stop", [stop for stop in STOPS if len(stop) > 1])
def test_a_stop_text_that_begins_in_a_thought_does_not_end_in_the_answer(stop):
    caps = {"max_thought_length": 30, "max_answer_tokens": 30, "answer_stops": (stop,)}
    row, _ = steer("elicited", wishes_of("elicited", f"3{stop[:1]}", f"{stop[1:]}7"), **caps)
    assert (row.completion, row.truncated, row.well_formed) == (f"{stop[1:]}7", False, True)


@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_text_is_found_wherever_its_tokens_are_split(stop):
    for letters in (ids(f"7{stop}8"), [token for letter in f"7{stop}8" for token in ids(letter)]):
        row, _ = steer("direct", [*letters, EOS_ID], max_answer_tokens=60, answer_stops=(stop,))
        assert row.completion == "7"


def test_a_stop_text_that_the_last_token_allowed_completes_is_an_end_and_not_a_cut():
    for allowed, truncated in ((8, False), (7, True)):
        row, _ = steer("direct", [*ids("7777777\n"), EOS_ID], max_answer_tokens=allowed, answer_stops=("\n",))
        assert (row.completion, row.truncated) == ("7777777", truncated)


def test_each_of_several_ending_tokens_closes_a_thought_that_was_elicited_and_spoils_one_that_was_not():
    other = ids("!")[0]
    for last in (EOS_ID, other):
        several = {"eos_ids": frozenset({EOS_ID, other})}
        row, _ = steer("elicited", [*ids("3"), last, *[EOS_ID] * len(CUE_IDS), *ids("7"), last], **several)
        assert (row.thought, row.completion, row.well_formed) == ("3", "7", True)
        row, _ = steer("free", [START_ID, *ids("3"), last, *ids("7")], **several)
        assert (row.thought, row.completion, row.well_formed, row.truncated) == ("3", "", False, False)
