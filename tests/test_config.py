"""Configuration: precedence of its sources, what is refused and with which advice, and what a field feeds."""

import json
import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_bake import DEMO

from agent_forge.config import (
    FEW_SHOT,
    STAGE_NAMES,
    WHOLE,
    QuietSTaRConfig,
    build_config,
    field_sections,
    field_stages,
    grouped,
    load_config,
    narrowed,
    parse_assignment,
    read_config_file,
    result_values,
    stage_values,
)
from agent_forge.errors import ConfigError

NEEDED = {"model_path": "m", "output_path": "o"}
# Another valid value for every field.
OTHER = {
    "model_path": "other",
    "output_path": "other",
    "publish_to": "elsewhere",
    "signing_key_file": "key",
    "device": "cpu",
    "dtype": "float32",
    "attention": "eager",
    "eval_dataset": ("math",),
    "guard_datasets": ("math",),
    "dataset_path": "there",
    "also_exclude": ("corpus.txt",),
    "verify_samples": 7,
    "bake_samples": 7,
    "prompt_template": "{prompt}?",
    "answer_cue": "A:",
    "few_shot_file": "exemplars.jsonl",
    "few_shot_style": "reference",
    "stop_strings": ("x",),
    "start_thought_token": "<|t|>",
    "end_thought_token": "<|/t|>",
    "thought_token_init": "x",
    "thought_placement": "sentence",
    "thought_prompt": "Hm.",
    "thought_stop": ("x",),
    "pause_text": ",",
    "bake_method": "full",
    "tracking": "mlflow",
    "tracking_project": "other",
    "gradient_checkpointing": True,
    "engine": "reference",
    "top_p": 0.5,
    "learning_rate": 0.5,
}


def other(name: str) -> object:
    if name in OTHER:
        return OTHER[name]
    default = QuietSTaRConfig.model_fields[name].default
    return default + (1 if isinstance(default, int) else 0.01)


def test_names_and_defaults_that_users_rely_on():
    config = build_config(NEEDED)
    assert config.start_thought_token == "<|startofthought|>" and config.end_thought_token == "<|endofthought|>"
    assert (config.max_thought_length, config.thought_probability) == (64, 0.5)
    assert (config.eval_dataset, config.eval_samples, config.ab_test_rounds) == (("gsm8k",), 100, 3)
    assert (config.learning_rate, config.num_epochs) == (1e-5, 3)


def test_arguments_win_over_the_file_and_the_file_over_the_environment(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(NEEDED | {"eval_samples": 20, "num_epochs": 20}))
    environment = {"FORGE_EVAL_SAMPLES": "10", "FORGE_NUM_EPOCHS": "10", "FORGE_SEED": "10", "PATH": "x"}
    config = load_config({"num_epochs": 30, "seed": None}, file, environment)
    assert (config.seed, config.eval_samples, config.num_epochs) == (10, 20, 30)


def test_json_yaml_flat_and_by_section_say_the_same(tmp_path):
    config = build_config(NEEDED | {"eval_dataset": "gsm8k,math", "alpha": 0.01})
    forms = {
        "flat.json": json.dumps(config.model_dump(mode="json")),
        "sections.json": json.dumps(grouped(config)),
        "flat.yaml": yaml.safe_dump(config.model_dump(mode="json")),
        "sections.yml": yaml.safe_dump(grouped(config)),
    }
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        assert build_config(read_config_file(tmp_path / name)) == config


@pytest.mark.parametrize("name", ["bake.yaml", "baseline_wins.yaml"])
def test_shipped_configurations_are_valid(name):
    load_config(NEEDED, DEMO / name)


@pytest.mark.parametrize("name", QuietSTaRConfig.model_fields)
def test_a_misspelt_field_is_refused_with_the_nearest_name(name):
    misspelt = name[:-1]
    with pytest.raises(ConfigError, match=f"unknown field {misspelt}; did you mean"):
        load_config(NEEDED | {misspelt: 1})


def test_a_name_near_nothing_points_to_the_schema():
    with pytest.raises(ConfigError, match="forge config --schema"):
        load_config(NEEDED | {"zzz": 1})
    with pytest.raises(ConfigError, match="FORGE_ALFA"):
        load_config(NEEDED, environment={"FORGE_ALFA": "1"})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"start_thought_token": "<|x|>", "end_thought_token": "<|x|>"}, "the same"),
        ({"prompt_template": "no place"}, "{prompt}"),
        ({"eval_dataset": "gsm8k", "guard_datasets": "gsm8k"}, "either target or guard"),
        ({"answer_cue": "<|endofthought|>"}, "must not appear"),
        ({"alpha": 0.7}, "alpha is 0.7"),
        ({"device": "tpu"}, "device is 'tpu'"),
    ],
)
def test_contradictions_and_bad_values_are_one_line(values, said):
    with pytest.raises(ConfigError) as caught:
        build_config(NEEDED | values)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_section_holds_its_own_fields_once(tmp_path):
    (tmp_path / "c.yaml").write_text("gate: {eval_samples: 5}")
    with pytest.raises(ConfigError, match="belongs to section questions"):
        read_config_file(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("gate: {alpha: 0.01}\nalpha: 0.02")
    with pytest.raises(ConfigError, match="given twice"):
        read_config_file(tmp_path / "c.yaml")


@given(st.text(string.printable, max_size=30))
def test_an_assignment_of_text_is_taken_as_it_stands(text):
    assert parse_assignment(f"thought_prompt={text}") == ("thought_prompt", text)


@pytest.mark.parametrize(
    ("text", "value"), [("seed=3", 3), ("eval-dataset=[a, b]", ["a", "b"]), ("dataset_path=null", None)]
)
def test_other_assignments_are_read_as_yaml(text, value):
    assert parse_assignment(text)[1] == value


@pytest.mark.parametrize("name", QuietSTaRConfig.model_fields)
def test_a_field_changes_the_values_of_its_stages_and_no_others(name):
    # Without exemplars, fields about them change nothing.
    needed = NEEDED | ({"few_shot": 1} if name in FEW_SHOT - {"few_shot"} else {})
    before, after = build_config(needed), build_config(needed | {name: other(name)})
    assert before != after
    changed = {stage for stage in STAGE_NAMES if stage_values(before, stage) != stage_values(after, stage)}
    assert changed == field_stages()[name]
    assert (result_values(before) != result_values(after)) == (bool(changed) and name != "model_path")


def test_every_field_has_a_section_and_a_description():
    assert set(field_sections()) == set(QuietSTaRConfig.model_fields)
    assert all(field.description for field in QuietSTaRConfig.model_fields.values())
    assert set().union(*field_stages().values()) <= set(STAGE_NAMES)


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_a_stage_is_given_its_own_fields_and_no_others(stage):
    fields = field_stages()
    changed = build_config(NEEDED | {name: other(name) for name in ("alpha", "seed", "top_k", "lora_rank", "device")})
    given_to = narrowed(changed, stage)
    assert stage_values(given_to, stage) == stage_values(changed, stage)
    assert given_to.device == "cpu"
    for name in ("alpha", "seed", "top_k", "lora_rank"):
        expected = changed if stage in WHOLE or stage in fields[name] else build_config(NEEDED)
        assert getattr(given_to, name) == getattr(expected, name)


def test_a_fan_out_has_a_limit():
    with pytest.raises(ConfigError, match="10,000 cells"):
        build_config(NEEDED | {"ab_test_rounds": 100, "shards": 100})


def test_looks_count_as_cells_and_need_questions_between_them():
    with pytest.raises(ConfigError, match="times gate_looks 4 make 1,200 cells"):
        build_config(NEEDED | {"ab_test_rounds": 100, "shards": 3, "gate_looks": 4})
    with pytest.raises(ConfigError, match="fewer than 10 questions between looks"):
        build_config(NEEDED | {"eval_samples": 39, "gate_looks": 4})
    assert build_config(NEEDED | {"eval_samples": 5}).gate_looks == 1


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ConfigError, match="stop_strings has an empty text"):
        build_config({**NEEDED, "stop_strings": ["\n", ""]})
