"""Rows: a question too long for the model is refused by name, and an answer that was cut off is never right."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.config import QuietSTaRConfig, build_config
from agent_forge.errors import QuestionError
from agent_forge.gate import judge
from agent_forge.models.engine import STRETCH
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import Request, TransformersSampler
from agent_forge.records import Exemplar, Question, ResultRow, rows_text
from agent_forge.report.facts import RunFacts
from agent_forge.report.page import render
from agent_forge.stages.bench import Bench
from agent_forge.stages.context import StageContext
from agent_forge.stages.rows import Asked, OneByOne, require_fit, result_row, sample_rows
from agent_forge.thoughts import direct_script, elicited_script, free_script

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from tiny_extended import in_memory
from tiny_sampling import CONTEXT, CUE_IDS, EOS_ID, GREEDY, extended, ids, request, rules, sampler, steered

EXEMPLAR = Exemplar(id="e", prompt="1?", reference="1", kind="number", task="t", answer="1")
LIMITS = {"alpha": 0.05, "min_improvement": 0.02, "non_inferiority_margin": 0.05, "power": 0.8}


def question(prompt: str, name: str = "q", reference: str = "7") -> Question:
    return Question(id=name, prompt=prompt, reference=reference, kind="number", task="t")


def bench(*exemplars: Exemplar, **changes) -> Bench:
    config = build_config({"model_path": "m", "output_path": "o", "thought_prompt": "Think:"})
    used = Prompting.of(config, extended().tokenizer, exemplars)
    loaded = in_memory(context=CONTEXT)
    return Bench(loaded, used, rules(), TransformersSampler(loaded.model, used, rules(), GREEDY, CONTEXT))


PLAIN, SHOWING = bench(), bench(EXEMPLAR)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, CONTEXT), st.sampled_from([PLAIN, SHOWING]))
def test_a_question_is_refused_before_sampling_if_any_arm_would_have_no_room_for_it(length, used):
    asked = question("9" * length)
    prompt, elicit = used.prompting.prompt_ids(asked), used.prompting.elicit_ids
    scripts = [direct_script(CUE_IDS), elicited_script(used.rules, elicit, CUE_IDS), free_script(CUE_IDS)]
    needs = [used.sampler.room_for(Request(prompt, script, 0)) for script in scripts]
    if max(needs) <= CONTEXT:
        require_fit(used, [asked])
        used.sampler.check_fits([Request(prompt, script, 0) for script in scripts])
        return
    with pytest.raises(QuestionError) as refused:
        require_fit(used, [question("1"), asked])
    line = str(refused.value)
    assert f"question q of task t has a prompt of {len(prompt)} tokens" in line
    assert f"comes to {max(needs)}" in line and f"takes {CONTEXT}" in line and "max_answer_tokens" in line
    assert "\n" not in line
    assert (f"{len(used.prompting.opening('t').ids)} of them exemplars" in line) == (used is SHOWING)


def test_of_several_the_longest_is_named_and_a_model_without_a_limit_takes_all():
    with pytest.raises(QuestionError, match=r"question b of .*\(2 more are too long\)"):
        require_fit(PLAIN, [question("9" * n, name) for n, name in ((200, "a"), (300, "b"), (250, "c"), (1, "d"))])
    unlimited = in_memory(context=CONTEXT)
    object.__setattr__(unlimited, "context_length", None)
    require_fit(Bench(unlimited, PLAIN.prompting, PLAIN.rules, PLAIN.sampler), [question("9" * 300)])


def answer_row(name: str, arm: str, said: str):
    """Return the graded row of a model that says `said` in one of two arms; answers are cut at eight tokens."""
    asked = question(f"{name} 3 + 4?", name)
    script = direct_script(CUE_IDS) if arm == "baseline" else elicited_script(rules(), (), CUE_IDS)
    thought = [] if arm == "baseline" else [*ids("3"), rules().end_id, *[EOS_ID] * len(CUE_IDS)]
    with steered(extended().model, [*thought, *ids(said), EOS_ID]):
        (sampled,) = sampler().sample([request(script)], 1)
    return result_row(Asked(asked, 0, arm, script), 0, sampled)


def test_a_right_looking_answer_that_was_cut_off_is_wrong_and_reported_as_cut_off():
    whole, cut = " 7", " 7. So 7 it is"
    assert len(ids(whole)) < 8 < len(ids(cut))
    rows = [answer_row(f"q{k}", arm, cut if (arm, k) == ("thought", 1) else whole) for k in range(3) for arm in ARMS]
    truncated = [row for row in rows if row.truncated]
    (row,) = truncated
    assert (row.question_id, row.arm, row.extracted, row.correct) == ("q1", "thought", "7", False)
    assert all(other.correct for other in rows if not other.truncated)
    gate = judge(rows, **LIMITS)
    assert gate.truncation == {"baseline": 0.0, "thought": pytest.approx(1 / 3)}
    assert (gate.baseline_accuracy, gate.thought_accuracy) == (1.0, pytest.approx(2 / 3))
    (warning,) = [text for text in gate.warnings if "cut off" in text]
    page = render(RunFacts(title="m", gate=gate, gate_rows=tuple(rows)))
    assert warning.split(":")[0] in page and "cut off at the limit" in page and "33.3%" in page


ARMS = ("baseline", "thought")


def test_sampling_goes_on_where_it_ended_and_holds_one_stretch_of_rows(tmp_path):
    """The rows are those that one call for all of them gives, in the order asked, whatever was done before."""
    handed: list[int] = []

    def make(number: int) -> Asked:
        return Asked(question("3 + 4? " * (number % 3 // 2 + 1), f"q{number}"), 0, "baseline", direct_script(CUE_IDS))

    class Counting(TransformersSampler):
        def batches(self, requests, batch_size):
            handed.append(len(requests))
            yield from super().batches(requests, batch_size)

    config = QuietSTaRConfig(model_path="m", output_path="o", batch_size=2)
    context = StageContext(config, {}, {}, {}, tmp_path)
    own = Counting(extended().model, PLAIN.prompting, rules(), GREEDY, CONTEXT)
    counting = Bench(PLAIN.loaded, PLAIN.prompting, PLAIN.rules, own)
    asked = OneByOne(2 * STRETCH + 3, make)
    once = sample_rows(context, counting, asked, tmp_path / "a", ResultRow, result_row)
    assert handed == [2 * STRETCH, 3] and len(once) == 2 * STRETCH + 3
    assert [row.question_id for row in once] == [f"q{number}" for number in range(len(asked))]
    assert "".join(once.lines()) == rows_text(once)
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[: len(whole) * 2 // 3])
    again = sample_rows(context, counting, asked, tmp_path / "a", ResultRow, result_row)
    assert list(again) == list(once) and (tmp_path / "a").read_bytes() == whole
