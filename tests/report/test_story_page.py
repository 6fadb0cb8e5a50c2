"""The page of a story: every gain that was measured, nothing that was not."""

import pytest
from report.sample_run import published

from agent_forge.evolution_records import Candidate, EvolutionReport, Gain, GenerationSummary, QuestionSet, Score
from agent_forge.records import Flips, RunResults
from agent_forge.report.story_page import ending, markdown, page, steps
from agent_forge.story_records import Story, Total

SCORE = Score(key="k", recipe_sha256="a" * 64, split="evolve", score=0.9)
CANDIDATE = Candidate(
    name="merge 1.2", generation=1, base_model=False, recipe={"method": "ties"}, recipe_sha256="a" * 64, evolve=SCORE
)
PARENT = CANDIDATE.model_copy(update={"name": "postfix", "generation": 0, "base_model": True})
GAIN = Gain(
    verdict="better",
    reason="The champion answers 80.0% right.",
    against="postfix",
    questions=200,
    rounds=3,
    effective_rounds=3,
    base_model_accuracy=0.34,
    champion_accuracy=0.8,
    difference=0.46,
    confidence_interval=(0.4, 0.52),
    confidence_level=0.95,
    p_value=1e-9,
    alpha=0.05,
    min_improvement=0.02,
    non_inferiority_margin=0.05,
    flips=Flips(gained=100, lost=2),
    beats_every_base_model=True,
    others={},
    per_task=(),
)
EVOLUTION = EvolutionReport(
    evolution_id="b" * 64,
    champion_digest="c" * 64,
    winner=CANDIDATE,
    base_models=(PARENT,),
    elites=(CANDIDATE,),
    best_base_model="postfix",
    gain=GAIN,
    fitness_arm="thought",
    fitness_aggregate="mean",
    generations=(GenerationSummary(number=0, best=0.4, mean=0.4, best_so_far=0.4, new=1),),
    questions={"confirm": QuestionSet(count=200, sha256="d" * 64)},
    model_path="runs/evo/best_model",
)


def told(bake: RunResults | None = None, **changes) -> Story:
    facts = published()
    total = Total(base_model="postfix", directly=GAIN, told_to_think=GAIN.model_copy(update={"difference": 0.31}))
    fields = {"evolution": EVOLUTION, "bake": bake or facts.results, "verification": facts.verification, "total": total}
    return Story(**{**fields, **changes})


def test_every_gain_is_on_the_page_and_in_the_text():
    story = told()
    names = [step.name for step in steps(story)]
    assert names == ["Evolution", "Bake", "Total", "Total, told to think"]
    for shown in (page(story), markdown(story)):
        for step in steps(story):
            assert all(cell.replace("<", "&lt;") in shown or cell in shown for cell in step.cells), step.name
        assert "The gains are no sum" in shown
    assert ending(story).word == "Evolved, baked and published" and "31.0 points" in ending(story).sentence
    assert page(story) == page(story)


def test_a_merge_that_is_not_shown_to_be_better_is_not_called_so():
    doubtful = EVOLUTION.model_copy(update={"gain": GAIN.model_copy(update={"verdict": "inconclusive"})})
    assert ending(told(evolution=doubtful)).kind == "undecided"
    assert "No merge was shown to be better" in markdown(told(evolution=doubtful))
    weak = Total(base_model="postfix", directly=GAIN, told_to_think=GAIN.model_copy(update={"verdict": "inconclusive"}))
    assert "not shown to beat the best base model" in ending(told(total=weak)).sentence


def test_without_a_bake_only_the_evolution_is_told():
    kept = published().results.model_copy(update={"published": False, "verdict": "no_bake", "verification": None})
    story = told(bake=kept, verification=None, total=None)
    assert [step.name for step in steps(story)] == ["Evolution"]
    assert ending(story).kind == "kept" and "no_bake" in ending(story).sentence
    bare = told(bake=kept, verification=None, total=None, evolution=EVOLUTION.model_copy(update={"gain": None}))
    assert steps(bare) == [] and "No gain was measured" in page(bare)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "hf_" + "a" * 34])
def test_what_comes_from_data_cannot_write_the_page(text):
    story = told(evolution=EVOLUTION.model_copy(update={"warnings": (text,)}))
    assert text not in page(story)
    assert text.startswith("<") or text not in markdown(story)
