"""The model card: what the hub reads of it, and that nothing of a manifest breaks out of it or leaks through it."""

import pytest
from huggingface_hub import ModelCard
from report.sample_run import published

from agent_forge.records import ChampionCard
from agent_forge.report.model_card import model_card

MANIFEST = published().manifest
assert MANIFEST is not None


def of_champion(**changes):
    return MANIFEST.model_copy(update={"champion": MANIFEST.champion.model_copy(update=changes)})


def read(manifest):
    return ModelCard(model_card(manifest), ignore_metadata_errors=False)


def test_the_hub_reads_the_measured_figures():
    data = read(MANIFEST).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-generation")
    results = {result.dataset_name: result for result in data.eval_results}
    for task in MANIFEST.verification.per_task:
        assert results[task.task].metric_type == "accuracy"
        assert results[task.task].metric_value == pytest.approx(task.thought_accuracy, abs=1e-6)


def test_licence_and_base_model_are_the_champions():
    card = ChampionCard(license="other", license_name="llama3", license_link="LICENSE", base_model=("a/b",))
    data = read(of_champion(uri="file:///models/x", card=card)).data
    assert (data.license, data.license_name, data.license_link) == ("other", "llama3", "LICENSE")
    assert data.base_model == "a/b"
    assert read(of_champion(uri=f"hf://org/name@{'0' * 40}", card=card)).data.base_model == "org/name"
    assert read(MANIFEST).data.license is None and "names no licence" in model_card(MANIFEST)


def test_the_same_run_makes_the_same_card_whenever_and_wherever():
    later = MANIFEST.model_copy(update={"created_at": "2030-01-01T00:00:00Z", "hardware": {}, "files": ()})
    assert model_card(later) == model_card(MANIFEST)
    assert "/models/" not in model_card(of_champion(uri="file:///models/secret-place"))


def test_text_of_a_run_is_neither_markup_nor_code_nor_a_secret():
    hostile = 'x`"""\n---\n```\n<script>alert(1)</script> | $after ${bake} hf_AbCdEfGhIjKlMnOpQrSt'
    config = {**MANIFEST.config, "prompt_template": f"{{prompt}} {hostile}", "answer_cue": hostile}
    checked = MANIFEST.verification.model_copy(update={"warnings": (hostile,)})
    text = model_card(MANIFEST.model_copy(update={"config": config, "verification": checked}))
    assert "hf_AbC" not in text
    assert text.count("\n---\n") == 1 and text.count("\n```") == 2
    prose = text.replace("`", "")
    assert "$after" in prose and "\\<script\\>" in prose
    read(MANIFEST.model_copy(update={"config": config, "verification": checked}))


@pytest.mark.parametrize("template", ["auto", "Q: {prompt}\n", 'say "{prompt}" `now`\n'])
def test_the_shown_code_is_python_and_hides_the_thought(template):
    config = {**MANIFEST.config, "prompt_template": template}
    code = model_card(MANIFEST.model_copy(update={"config": config})).split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    head, _, tail = code.partition("text = tokenizer.decode")
    names = {"re": __import__("re"), "tokenizer": type("T", (), {"eos_token": "</s>"})}
    for said in ("<|startofthought|>3+4=7<|endofthought|> 7</s>", " 7<|startofthought|>never closed"):
        start = next(line for line in head.splitlines() if line.startswith("START"))
        names["text"] = said
        exec("\n".join([start, *tail.splitlines()[1:]]), names)
        assert names["answer"] == "7"
