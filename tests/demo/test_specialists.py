"""The demo's specialists: other notations of the same sums, what each changes of the champion, and their merge."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent_forge.config import build_config
from agent_forge.demo import champion_path
from agent_forge.demo.corpus import evaluation_questions
from agent_forge.demo.measure import answers
from agent_forge.demo.notations import LETTERS, NOTATIONS, SIGNS, TASK, mixture, rewritten
from agent_forge.demo.specialists import EMBEDDING, PATCHES, ROWS, WEIGHTS, main, patch_path
from agent_forge.demo.train_specialists import COURSES, documents, train
from agent_forge.evolution.merge import merge
from agent_forge.evolution.recipe import Recipe
from agent_forge.evolution_config import load_settings
from agent_forge.questions.sources import load_task

ASKED = 45


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("specialists")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["specialists", "--out", str(directory)])
        assert main() == 0
    return directory


def accuracy(model: Path, questions) -> float:
    loaded = AutoModelForCausalLM.from_pretrained(model).eval()
    given = answers(loaded, AutoTokenizer.from_pretrained(model), questions, "worked", seed=0)
    return sum(text == question.reference for text, question in zip(given, questions, strict=True)) / len(questions)


def test_a_notation_writes_the_same_sum_and_can_be_read_back():
    asked = "3+4-2+9-1+5 mod 10"
    assert rewritten(asked, "letters") == "d+e-c+j-b+f mod 10"
    assert rewritten(asked, "signs") == "3p4m2p9m1p5 mod 10"
    assert rewritten(asked, "postfix") == "34+2-9+1-5+ mod 10"
    prompts = [question.prompt for question in evaluation_questions()[:500]]
    for notation in NOTATIONS:
        assert len({rewritten(prompt, notation) for prompt in prompts}) == len(prompts)


def test_the_mixture_is_one_task_of_held_out_sums_in_equal_parts(place):
    found = load_task(str(place / f"{TASK}.jsonl"))
    questions = found.parts["any"]
    assert found.task == TASK and list(questions) == mixture(len(questions), seed=0)
    assert len({question.id for question in questions}) == len(questions) == len(evaluation_questions())
    assert [q.reference for q in questions] == [q.reference for q in evaluation_questions()]


@pytest.mark.parametrize("notation", NOTATIONS)
def test_no_training_document_asks_what_is_judged_on(notation):
    held_out = {rewritten(question.prompt, notation) for question in evaluation_questions()}
    asked = {document.prompt for document in documents(notation, 2000, seed=0)}
    assert asked.isdisjoint(held_out | {question.prompt for question in evaluation_questions()})


def test_what_is_bundled_is_small_and_changes_what_its_course_trains(place):
    champion = load_file(champion_path() / WEIGHTS)
    tokenizer = AutoTokenizer.from_pretrained(champion_path())
    assert sum(path.stat().st_size for path in PATCHES.iterdir()) < 300_000
    for notation in NOTATIONS:
        specialist = load_file(place / notation / WEIGHTS)
        changed = {name for name in champion if not torch.equal(champion[name], specialist[name])}
        if symbols := COURSES[notation].symbols:
            rows = set((champion[EMBEDDING] != specialist[EMBEDDING]).any(1).nonzero().flatten().tolist())
            assert changed == {EMBEDDING} and rows == set(tokenizer.convert_tokens_to_ids(list(symbols)))
        else:
            assert changed and all("layers.0.self_attn" in name for name in changed)
        assert (place / notation / "tokenizer.json").read_bytes() == (champion_path() / "tokenizer.json").read_bytes()
    assert not set(LETTERS) & set(SIGNS)


def test_a_merge_of_the_specialists_beats_each_of_them(place, tmp_path):
    parents = [str(place / notation) for notation in NOTATIONS]
    recipe = {"method": "task_arithmetic", "base": str(champion_path()), "parents": parents, "weights": [1.0] * 3}
    merge(Recipe.model_validate(recipe), tmp_path / "merged")
    questions = mixture(ASKED, seed=0)
    merged = accuracy(tmp_path / "merged", questions)
    # Each reads a third of the questions; two standard errors of the difference are 0.2.
    assert all(merged > accuracy(place / notation, questions) + 0.2 for notation in NOTATIONS)


def test_training_leaves_everything_but_its_part_alone():
    trained = train("signs", seed=0, steps=1)
    assert set(trained) == {ROWS, EMBEDDING} and trained[EMBEDDING].shape[0] == len(SIGNS)
    shipped = load_file(patch_path("signs"))
    assert torch.equal(trained[ROWS], shipped[ROWS]) and not torch.equal(trained[EMBEDDING], shipped[EMBEDDING])


def test_the_demos_configuration_is_one_and_bakes_as_the_champions_demo_does(place):
    demo = champion_path().parent
    file = demo / "evolve.yaml"
    given = {
        "base_models": ",".join(NOTATIONS),
        "base": "bundled://champion",
        "output_path": "x",
        "eval_dataset": "a.b",
    }
    settings = load_settings(given, file)
    assert settings.evolution.fitness_arm == "thought"
    import yaml

    bake = build_config({**yaml.safe_load((demo / "bake.yaml").read_text()), "model_path": "m", "output_path": "x"})
    # What an evolution names for itself.
    own = {"model_path", "eval_dataset"}
    assert settings.bake.model_dump(exclude=own) == bake.model_dump(exclude=own)
