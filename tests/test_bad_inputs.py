"""Bad input is one line on standard error, exit code 2, and nothing half-written."""

import json
from pathlib import Path

import pytest
import torch
from refusals import mentions, nothing_half_written, run_arguments, the_line
from safetensors.torch import load_file, save_file
from small_bake import SmallBake, forge

from agent_forge.run_directory import RunDirectory
from agent_forge.storage.files import path_digest
from agent_forge.storage.minisign import generate, write_pair

QUESTION = {"prompt": "1+1", "reference": "2", "kind": "number"}


def set_json(path: Path, **changes: object) -> None:
    """Change a JSON file's fields; None removes one."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def as_pickle(champion: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), champion / "model.pt")
    (champion / "model.safetensors").unlink()


def change_weights(champion: Path, change) -> None:
    weights = load_file(champion / "model.safetensors")
    change(weights)
    save_file(weights, champion / "model.safetensors", {"format": "pt"})


def spoil(weights) -> None:
    next(iter(weights.values())).view(-1)[0] = float("nan")


# What is done to a copy of the bundled champion, and what the line must name.
DAMAGE = {
    "truncated safetensors": (lambda c: cut_in_half(c / "model.safetensors"), ["model.safetensors", "again"]),
    "no weights": (lambda c: (c / "model.safetensors").unlink(), ["no weights", "model.safetensors"]),
    "not a model": (lambda c: (c / "config.json").unlink(), ["config.json"]),
    "corrupt model configuration": (lambda c: cut_in_half(c / "config.json"), ["config.json"]),
    "unknown architecture": (lambda c: set_json(c / "config.json", model_type="nonesuch"), ["champion", "nonesuch"]),
    "corrupt tokenizer": (lambda c: cut_in_half(c / "tokenizer.json"), ["champion"]),
    "no tokenizer": (lambda c: (c / "tokenizer.json").unlink(), ["tokenizer"]),
    "tokenizer without end of sequence": (
        lambda c: set_json(c / "tokenizer_config.json", eos_token=None),
        ["end-of-sequence", "eos_token"],
    ),
    "pickle only": (as_pickle, ["model.pt", "pickle", "safetensors"]),
}
# Damage that only reading the weights shows: the run has begun by then.
DEEP_DAMAGE = {
    "a weight is missing": (lambda weights: weights.popitem(), ["lacks 1 weights"]),
    "not a number": (spoil, ["NaN"]),
}
# Fields of an otherwise good run, and what the line must name.
FIELDS = {
    "unknown field": ({"eval_sample": 40}, ["eval_sample", "did you mean eval_samples?"]),
    "unknown field of no likeness": ({"zzz": 1}, ["zzz", "forge config --schema"]),
    "field in the wrong section": ({"gate": {"learning_rate": 0.1}}, ["learning_rate", "bake", "gate"]),
    "field given twice": ({"gate": {"alpha": 0.1}, "alpha": 0.1}, ["alpha", "twice"]),
    "out of range": ({"alpha": 0.7}, ["alpha", "0.7", "0.5"]),
    "wrong type": ({"num_epochs": "many"}, ["num_epochs", "'many'"]),
    "equal thought tokens": (
        {"start_thought_token": "<t>", "end_thought_token": "<t>"},
        ["start_thought_token", "end_thought_token"],
    ),
    "target and guard at once": ({"guard_datasets": ["arithmetic"]}, ["arithmetic", "guard_datasets"]),
    "template without a prompt": ({"prompt_template": "Q:"}, ["prompt_template", "{prompt}"]),
    "thought token in the cue": ({"answer_cue": "<|endofthought|>"}, ["<|endofthought|>", "answer_cue"]),
    "unknown data set": ({"eval_dataset": "arithmetics"}, ["arithmetics", "did you mean arithmetic?"]),
    "unknown task of a family": ({"eval_dataset": "bbh/hyperbatn"}, ["did you mean bbh/hyperbaton?"]),
    "a place that is not there": ({"guard_datasets": "gsm8k:none.parquet"}, ["none.parquet", "owner/name"]),
    "missing question file": ({"eval_dataset": "none.jsonl"}, ["none.jsonl"]),
    "missing guard data set": ({"guard_datasets": "guard.jsonl"}, ["guard.jsonl"]),
    "missing excluded corpus": ({"also_exclude": "none.txt"}, ["none.txt", "corpus"]),
    "missing local copy": ({"eval_dataset": "gsm8k", "dataset_path": "nowhere"}, ["nowhere"]),
    "fewer questions than a split needs": ({"eval_samples": 5000}, ["5000", "eval_samples"]),
    "unknown device": ({"device": "tpu"}, ["device", "tpu", "cuda"]),
    "thoughts longer than the context": ({"max_thought_length": 10_000}, ["max_thought_length 10000", "context"]),
    "exemplars of a file, but none wanted": ({"few_shot_file": "own.jsonl"}, ["own.jsonl", "few_shot is 0"]),
    "missing file of exemplars": ({"few_shot": 2, "few_shot_file": "none.jsonl"}, ["none.jsonl"]),
    "more exemplars than fit": ({"few_shot": 100}, ["few_shot", "100", "32"]),
    "a stop string that exemplars hold": ({"few_shot": 2, "stop_strings": ["5", "3"]}, ["stop_strings", "exemplar"]),
    "another reader's reference": ({"model_path": "ftp://host/model"}, ["ftp://"]),
}
# The lines of a question file, and what the line must name.
QUESTION_FILES = {
    "empty": ("", ["no questions"]),
    "corrupt line": (json.dumps(QUESTION) + '\n{"prompt": "2+', [":2", "not JSON"]),
    "a list": ("[1, 2]\n", [":1", "JSON object"]),
    "no reference": ('{"prompt": "1+1", "kind": "number"}\n', [":1", "reference"]),
    "unknown kind": (json.dumps(QUESTION | {"kind": "poem"}) + "\n", [":1", "kind"]),
    "duplicate ids": (2 * (json.dumps(QUESTION | {"id": "a"}) + "\n"), [":2", "a occurs twice"]),
    "too few": (json.dumps(QUESTION) + "\n", ["questions", "needed"]),
    "bytes that are no text": ("\udcff", ["questions.jsonl"]),
}
# Files of published data sets, and what the line must name.
PUBLISHED_FILES = {
    "cut parquet": ("gsm8k/test.parquet", "PAR1 and no more", ["test.parquet", "parquet file"]),
    "another set's rows": ("gsm8k/test.jsonl", '{"problem": "1+1", "answer": "2"}', ["test.jsonl:1", "question"]),
    "a JSON list cut off": ("gsm8k/test.json", '[{"question": "1+1"},', ["test.json", "not JSON"]),
    "only questions to judge on": (
        "gsm8k/test.jsonl",
        '{"question": "1+1", "answer": "#### 2"}',
        ["only published test"],
    ),
}
CONFIGURATIONS = {
    "corrupt JSON": ("config.json", '{"alpha": 0.05', ["config.json", "JSON"]),
    "corrupt YAML": ("config.yaml", "alpha: [0.05", ["config.yaml", "YAML"]),
    "no mapping": ("config.yaml", "- alpha", ["config.yaml", "mapping"]),
    "bytes that are no text": ("config.json", "\udcff", ["config.json"]),
}
# Arguments besides the model and the output, and what the line must name.
ARGUMENTS = {
    "--set without a value": (["--set", "alpha"], ["--set alpha", "FIELD=VALUE"]),
    "--set of an unknown field": (["--set", "alfa=0.1"], ["alfa", "did you mean alpha?"]),
    "--set that is no YAML": (["--set", "stop_strings=[a"], ["--set stop_strings=[a"]),
    "unknown option": (["--nonsense"], ["--nonsense"]),
    "not a number": (["--eval-samples", "many"], ["--eval-samples", "integer"]),
    "missing configuration": (["--config", "none.yaml"], ["none.yaml"]),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_champion(tmp_path, out, champion_copy, refusal, case):
    damage, words = DAMAGE[case]
    damage(champion_copy)
    mentions(refusal(*run_arguments(tmp_path), "--model", str(champion_copy), quiet=False), words)
    assert not out.exists()


@pytest.mark.parametrize("case", DEEP_DAMAGE)
def test_champion_damaged_inside(tmp_path, out, champion_copy, refusal, case):
    damage, words = DEEP_DAMAGE[case]
    change_weights(champion_copy, damage)
    mentions(refusal(*run_arguments(tmp_path), "--model", str(champion_copy)), words)
    nothing_half_written(out)


@pytest.mark.parametrize("case", FIELDS)
def test_bad_fields(tmp_path, out, refusal, case):
    changes, words = FIELDS[case]
    arguments = run_arguments(tmp_path, **changes)
    if "model_path" in changes:
        arguments = [a for a in arguments if a not in ("--model", str(SmallBake.CHAMPION))]
    mentions(refusal(*arguments, quiet=False), words)
    assert not out.exists()


def test_prompts_too_long_for_the_model_are_refused_by_name_before_anything_is_sampled(tmp_path, out, refusal):
    line = refusal(*run_arguments(tmp_path, few_shot=32, eval_samples=4, bake_samples=4))
    mentions(line, ["question ", "of task arithmetic", "of them exemplars", "takes 512", "few_shot"])
    assert not list(out.rglob("*-0.jsonl")) and not list(out.rglob("results.jsonl"))
    nothing_half_written(out)


@pytest.mark.parametrize("case", QUESTION_FILES)
@pytest.mark.parametrize("field", ["eval_dataset", "guard_datasets"])
def test_bad_question_file(tmp_path, out, refusal, field, case):
    text, words = QUESTION_FILES[case]
    file = tmp_path / "questions.jsonl"
    file.write_text(text, errors="surrogateescape")
    mentions(refusal(*run_arguments(tmp_path, **{field: str(file)}), quiet=False), words)
    assert not out.exists()


@pytest.mark.parametrize("case", PUBLISHED_FILES)
def test_bad_published_file(tmp_path, out, refusal, case):
    name, text, words = PUBLISHED_FILES[case]
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text)
    mentions(refusal(*run_arguments(tmp_path, eval_dataset="gsm8k", dataset_path=str(tmp_path)), quiet=False), words)
    assert not out.exists()


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_bad_configuration_file(tmp_path, out, refusal, case):
    name, text, words = CONFIGURATIONS[case]
    (tmp_path / name).write_text(text, errors="surrogateescape")
    arguments = ["bake-quietstar", "--model", str(SmallBake.CHAMPION), "--out", str(out)]
    mentions(refusal(*arguments, "--config", str(tmp_path / name), quiet=False), words)
    assert not out.exists()


@pytest.mark.parametrize("case", ARGUMENTS)
def test_bad_arguments(tmp_path, out, refusal, case):
    more, words = ARGUMENTS[case]
    mentions(refusal(*run_arguments(tmp_path), *more, quiet=False), words)
    assert not out.exists()


def test_unknown_variable(tmp_path, out, refusal, monkeypatch):
    monkeypatch.setenv("FORGE_ALFA", "0.1")
    mentions(refusal(*run_arguments(tmp_path), quiet=False), ["FORGE_ALFA", "did you mean alpha?"])
    assert not out.exists()


@pytest.mark.parametrize(("given", "missing"), [("--out", "--model"), ("--model", "--out")])
def test_required_options(out, refusal, given, missing):
    assert missing in refusal("bake-quietstar", given, str(out), quiet=False)
    assert not out.exists()


def test_missing_model(tmp_path, out, refusal):
    missing = tmp_path / "no" / "model"
    mentions(refusal(*run_arguments(tmp_path), "--model", str(missing), quiet=False), [str(missing), "does not exist"])
    assert not out.exists()


@pytest.mark.parametrize("name", ["README.md", "model.safetensors"])
def test_file_that_is_no_model(tmp_path, out, refusal, name):
    file = SmallBake.CHAMPION / name
    mentions(refusal(*run_arguments(tmp_path), "--model", str(file), quiet=False), [str(file), "directory"])
    assert not out.exists()


def test_cuda_where_there_is_none(tmp_path, out, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = forge(*run_arguments(tmp_path), "--device", "cuda")
    mentions(the_line(done.returncode, done.stderr), ["'cuda'", "cpu"])
    assert not out.exists()


def test_question_longer_than_the_context(tmp_path, out, refusal):
    file = tmp_path / "long.jsonl"
    rows = [QUESTION | {"prompt": "+".join(str(1000 * n + k) for k in range(99))} for n in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = refusal(*run_arguments(tmp_path, eval_dataset=str(file), eval_samples=2, verify_samples=2, bake_samples=2))
    mentions(line, ["tokens", "max_thought_length"])
    nothing_half_written(out)


def test_run_inside_the_champion(tmp_path, champion_copy, refusal):
    before = path_digest(champion_copy)
    inside = ["--model", str(champion_copy), "--out", str(champion_copy / "run")]
    mentions(refusal(*run_arguments(tmp_path), *inside, quiet=False), ["inside the champion", "another"])
    assert path_digest(champion_copy) == before


def test_a_signature_where_none_can_stand(tmp_path, out, refusal):
    key = write_pair(generate(), tmp_path / "key").with_suffix("")
    given = {"publish_to": "wandb://team/project/name", "signing_key_file": str(key)}
    mentions(refusal(*run_arguments(tmp_path, **given), quiet=False), ["signing_key_file", "Weights & Biases"])
    assert not out.exists()


def test_used_run_directory(tmp_path, out, refusal):
    RunDirectory(out).begin("evaluate-round/0-0", "key")
    before = path_digest(out)
    mentions(refusal(*run_arguments(tmp_path), quiet=False), [str(out), "--resume"])
    assert path_digest(out) == before


def test_run_directory_of_another_process(tmp_path, out):
    with RunDirectory(out).locked():
        done = forge(*run_arguments(tmp_path), "--resume")
    mentions(the_line(done.returncode, done.stderr), [str(out), "another run"])
    assert [path.name for path in out.iterdir()] == [".lock"]
