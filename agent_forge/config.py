"""Configuration: every field with its default, its section, and the stages whose outcome it changes.

Values come from arguments, then a JSON or YAML file, then the environment (`FORGE_<FIELD>`), then the defaults.
A file may be flat or grouped by section:

    model_path: ./champion            gate:
    eval_samples: 200                   alpha: 0.05

`stages` of a field is what `--resume` goes by: changing the field re-runs exactly those stages and whatever their
output feeds. Fields without stages change where or how fast the work is done, never its result.
"""

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from agent_forge.errors import ConfigError
from agent_forge.records import first_problem

ENVIRONMENT_PREFIX = "FORGE_"
# Set by images and schedulers for other purposes than configuration.
RESERVED_ENVIRONMENT = frozenset(
    {"FORGE_IMAGE", "FORGE_COMMIT", "FORGE_HOME", "FORGE_LOG", "FORGE_TERMINATION_LOG", "FORGE_TRAIN_JOB"}
)

# What the command line calls the fields that have no default.
_REQUIRED_OPTIONS = {"model_path": "--model", "output_path": "--out"}

Section = Literal[
    "model", "questions", "prompting", "thoughts", "evaluation", "gate", "bake", "verify", "publish", "tracking"
]
StageName = Literal[
    "resolve-champion",
    "prepare-questions",
    "load-and-extend",
    "evaluate-round",
    "significance-gate",
    "collect-traces",
    "bake",
    "verify",
    "push-artifact",
    "keep-champion",
]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)

# These describe or record the whole configuration.
WHOLE = frozenset({"resolve-champion", "push-artifact", "keep-champion"})
# More tasks than this in one fan-out help nobody and strain an orchestrator.
MOST_CELLS = 1000
# More looks than this save next to nothing.
MOST_LOOKS = 20
# Normal boundaries stand for an exact test: a few questions more are no look worth taking.
FEWEST_BETWEEN_LOOKS = 10

FEW_SHOT = frozenset({"few_shot", "few_shot_file", "few_shot_style"})

SAMPLING: tuple[StageName, ...] = ("evaluate-round", "collect-traces", "verify")
JUDGING: tuple[StageName, ...] = ("significance-gate", "verify")
COMPUTE: tuple[StageName, ...] = ("load-and-extend", "evaluate-round", "collect-traces", "bake", "verify")


def split_commas(value: object) -> object:
    """Let lists be given as `a,b` on the command line and in the environment."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(split_commas)]


def _field(default: Any, section: Section, *stages: StageName, description: str, **limits: Any) -> Any:
    extra: dict[str, Any] = {"section": section, "stages": list(stages)}
    return Field(default, description=description, json_schema_extra=extra, **limits)


class QuietSTaRConfig(BaseModel):
    """What to judge and bake, and how; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_path: str = _field(
        ..., "model", "resolve-champion", description="Champion: a directory, a .gguf file or a hub name.", min_length=1
    )
    output_path: str = _field(
        ..., "publish", description="Run directory; the model is published in it, or to publish_to.", min_length=1
    )
    publish_to: str | None = _field(
        None,
        "publish",
        description="Where to publish instead: a directory, s3://bucket/prefix, hf://owner/name or "
        "wandb://entity/project/name that runs share; each bake is made once there.",
        min_length=1,
    )
    signing_key_file: str | None = _field(
        None, "publish", description="File of the secret key that the manifest is signed with; see docs/lineage.md."
    )
    device: str = _field("auto", "model", description="auto, cpu, cuda or cuda:N.", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = _field(
        "auto",
        "model",
        *COMPUTE,
        description="Arithmetic while running; auto: the checkpoint's own on CUDA, float32 on a CPU.",
    )
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = _field(
        "auto", "model", description="Attention backend; auto: the best one installed that the model supports."
    )
    pad_vocabulary_to: int = _field(
        1, "model", "load-and-extend", description="Round the vocabulary up to a multiple of this.", ge=1, le=65536
    )

    eval_dataset: Names = _field(
        ("gsm8k",),
        "questions",
        "prepare-questions",
        description="Target tasks: arithmetic, gsm8k, math, code, reasoning, another of docs/datasets.md or a file of "
        "questions; several by commas.",
        min_length=1,
    )
    guard_datasets: Names = _field(
        (), "questions", "prepare-questions", description="Tasks that must not get worse; named like eval_dataset."
    )
    dataset_path: str | None = _field(
        None, "questions", "prepare-questions", description="Local directory that holds the named data sets' files."
    )
    eval_samples: int = _field(
        100,
        "questions",
        "prepare-questions",
        "significance-gate",
        description="Questions per task that the gate judges on, at most where gate_looks is above 1.",
        ge=2,
    )
    verify_samples: int | None = _field(
        None, "questions", "prepare-questions", description="Questions per task kept for verify; as eval_samples.", ge=2
    )
    bake_samples: int | None = _field(
        None,
        "questions",
        "prepare-questions",
        description="Questions per target task to bake from; default: all.",
        ge=2,
    )
    allow_code_execution: bool = _field(
        False, "questions", description="Judge answers of kind code by running them in a sandbox; without it, refused."
    )
    also_exclude: Names = _field(
        (),
        "questions",
        "prepare-questions",
        description="Files or directories of text that no question may stand in: JSON lines, parquet or plain text.",
    )
    seed: int = _field(
        0, "evaluation", *SAMPLING, "bake", "load-and-extend", description="Root of every random choice.", ge=0
    )

    prompt_template: str = _field(
        "auto",
        "prompting",
        *SAMPLING,
        "bake",
        description="Text around {prompt}; auto: the model's chat template, else 'Question: {prompt}\\n'.",
    )
    answer_cue: str = _field(
        "auto",
        "prompting",
        *SAMPLING,
        "bake",
        description="Text right before the answer in every arm; auto: 'Answer:' after the plain template, else none.",
    )
    stop_strings: tuple[str, ...] = _field(
        (), "prompting", *SAMPLING, description="Texts that end an answer, besides the end-of-sequence token."
    )

    few_shot: int = _field(
        0,
        "prompting",
        "prepare-questions",
        description="Exemplars shown before every question, per task; drawn from what could be baked from.",
        ge=0,
        le=32,
    )
    few_shot_file: str | None = _field(
        None,
        "prompting",
        "prepare-questions",
        description="Exemplars of your own: JSON lines of questions, each with its `answer`.",
    )
    few_shot_style: Literal["worked", "reference"] = _field(
        "worked",
        "prompting",
        "prepare-questions",
        description="What exemplars answer: their worked answer where there is one, or the bare reference.",
    )

    start_thought_token: str = _field(
        "<|startofthought|>", "thoughts", *COMPUTE, description="Opens a thought.", min_length=1
    )
    end_thought_token: str = _field(
        "<|endofthought|>", "thoughts", *COMPUTE, description="Closes a thought.", min_length=1
    )
    thought_token_init: str = _field(
        "\n",
        "thoughts",
        "load-and-extend",
        description="Text whose embedding the new tokens start from; empty: the mean of all rows.",
    )
    thought_placement: Literal["start", "sentence"] = _field(
        "start",
        "thoughts",
        *SAMPLING,
        description="start: before the answer; sentence: at sentence ends and breaks too.",
    )
    thought_probability: float = _field(
        0.5, "thoughts", *SAMPLING, description="Chance of a thought at each sentence end or logical break.", ge=0, le=1
    )
    max_thought_length: int = _field(
        64, "thoughts", *SAMPLING, description="Tokens after which a thought is closed.", ge=1
    )
    max_thoughts: int = _field(8, "thoughts", *SAMPLING, description="Thoughts per answer at most.", ge=1)
    thought_prompt: str = _field(
        "Let me think step by step.",
        "thoughts",
        "evaluate-round",
        "collect-traces",
        "verify",
        description="Text inside the thought that elicits it in the champion; never graded nor baked.",
    )
    thought_stop: tuple[str, ...] = _field(
        (), "thoughts", *SAMPLING, description="Texts at which an elicited thought is closed; dropped from it."
    )
    pause_text: str = _field(
        ".",
        "thoughts",
        "evaluate-round",
        description="Filler of the pause arm; its first token is repeated.",
        min_length=1,
    )

    ab_test_rounds: int = _field(
        3,
        "evaluation",
        "prepare-questions",
        "verify",
        description="Independent rounds.",
        ge=1,
        le=1000,
    )
    max_answer_tokens: int = _field(
        256, "evaluation", *SAMPLING, description="Cap on answer tokens, the same in every arm.", ge=1
    )
    temperature: float = _field(
        0.7, "evaluation", *SAMPLING, description="Sampling temperature; 0 is greedy decoding.", ge=0, le=10
    )
    top_p: float = _field(1.0, "evaluation", *SAMPLING, description="Nucleus of the sampling distribution.", gt=0, le=1)
    top_k: int = _field(0, "evaluation", *SAMPLING, description="Sample among the k likeliest tokens; 0: all.", ge=0)
    engine: Literal["sharing", "reference", "vllm"] = _field(
        "sharing",
        "evaluation",
        *SAMPLING,
        description="How rows are sampled: with what prompts share computed once, in plain batches, or by vLLM.",
    )
    batch_size: int = _field(
        16,
        "evaluation",
        description="Rows decoded together, more where most are shorter than the longest; halved when memory runs out.",
        ge=1,
    )
    shards: int = _field(
        1,
        "evaluation",
        description="Shards of questions per round; rounds x shards cells are evaluated.",
        ge=1,
        le=1000,
    )

    alpha: float = _field(0.05, "gate", *JUDGING, description="Rate of false bakes accepted.", gt=0, lt=0.5)
    gate_looks: int = _field(
        1,
        "gate",
        "prepare-questions",
        "evaluate-round",
        "significance-gate",
        description="Planned looks at the gate questions: evaluation ends at the first that decides, alpha as before; "
        "1: all questions are asked, then judged. Not in the pipeline.",
        ge=1,
        le=MOST_LOOKS,
    )
    power: float = _field(
        0.8,
        "gate",
        "significance-gate",
        description="Power behind questions_needed and the detectable effect.",
        gt=0,
        lt=1,
    )
    min_improvement: float = _field(
        0.02, "gate", *JUDGING, description="Smallest gain in accuracy worth baking for.", ge=0, lt=1
    )
    non_inferiority_margin: float = _field(
        0.05, "gate", *JUDGING, description="Loss in accuracy that a guard task may not exceed.", gt=0, lt=1
    )

    trace_samples: int = _field(
        4, "bake", "collect-traces", description="Thoughts sampled per bake question.", ge=1, le=1024
    )
    traces_per_question: int = _field(2, "bake", "collect-traces", description="Traces kept per question.", ge=1)
    trace_temperature: float = _field(
        1.0, "bake", "collect-traces", description="Temperature while collecting traces.", gt=0, le=10
    )
    min_traces: int = _field(
        20, "bake", "bake", description="Fewer traces than this cannot be baked from: the run stops.", ge=1
    )
    bake_method: Literal["lora", "full"] = _field("lora", "bake", "bake", description="LoRA adapters or all weights.")
    lora_rank: int = _field(16, "bake", "bake", description="Rank of the adapters.", ge=1)
    lora_alpha: float = _field(32.0, "bake", "bake", description="Scale of the adapters.", gt=0)
    lora_dropout: float = _field(0.0, "bake", "bake", description="Dropout before the adapters.", ge=0, lt=1)
    learning_rate: float = _field(1e-5, "bake", "bake", description="Peak learning rate.", gt=0, le=1)
    num_epochs: int = _field(3, "bake", "bake", description="Passes over the traces.", ge=1, le=1000)
    pack_length: int = _field(1024, "bake", "bake", description="Tokens per packed row.", ge=8)
    train_batch_size: int = _field(4, "bake", "bake", description="Packed rows per forward pass.", ge=1)
    gradient_accumulation: int = _field(1, "bake", "bake", description="Forward passes per optimizer step.", ge=1)
    warmup_fraction: float = _field(0.05, "bake", "bake", description="Share of the steps that warm up.", ge=0, lt=1)
    weight_decay: float = _field(0.0, "bake", "bake", description="AdamW weight decay.", ge=0, lt=1)
    max_grad_norm: float = _field(1.0, "bake", "bake", description="Gradients are clipped to this norm.", gt=0)
    replay_fraction: float = _field(
        0.2, "bake", "collect-traces", "bake", description="Replayed direct answers per trace.", ge=0, le=10
    )
    heldout_fraction: float = _field(
        0.1, "bake", "bake", description="Share of trace questions held out for early stopping.", gt=0, lt=0.9
    )
    early_stop_patience: int = _field(
        3, "bake", "bake", description="Held-out evaluations without a gain before the bake stops.", ge=1
    )
    evaluate_every: int = _field(25, "bake", "bake", description="Steps between held-out evaluations.", ge=1)
    checkpoint_every: int = _field(50, "bake", description="Steps between checkpoints.", ge=1)
    gradient_checkpointing: bool = _field(False, "bake", description="Trade time for memory in the bake.")
    bake_sharded: bool = _field(
        False,
        "bake",
        description="Keep the weights of layers in parts, one for each of several processes that bake together.",
    )

    min_well_formed_rate: float = _field(
        0.9, "verify", "verify", description="Share of baked answers that must open and close a thought.", ge=0, le=1
    )

    tracking: Literal["none", "wandb", "mlflow"] = _field(
        "none",
        "tracking",
        description="Where figures are sent besides the report; credentials and addresses come from the environment.",
    )
    tracking_project: str = _field(
        "quietstar", "tracking", description="Project at W&B, experiment at MLflow.", min_length=1
    )
    tracking_timeout: float = _field(
        30.0, "tracking", description="Seconds that the end of a run waits for figures to arrive.", ge=0, le=86400
    )
    tracking_upload_model: bool = _field(
        False, "tracking", description="Send a published model's files too, not only where they are."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "QuietSTaRConfig":
        if self.start_thought_token == self.end_thought_token:
            raise ValueError("start_thought_token and end_thought_token are the same; give two different tokens")
        if "" in self.stop_strings:
            raise ValueError("stop_strings has an empty text, which would end every answer at once; remove it")
        if self.prompt_template != "auto" and self.prompt_template.count("{prompt}") != 1:
            raise ValueError(f"prompt_template {self.prompt_template!r} must contain {{prompt}} exactly once")
        if both := sorted(set(self.eval_dataset) & set(self.guard_datasets)):
            raise ValueError(f"{both[0]} is in eval_dataset and in guard_datasets; a task is either target or guard")
        if self.few_shot_file is not None and not self.few_shot:
            raise ValueError(
                f"few_shot_file {self.few_shot_file} is given but few_shot is 0; say how many of its exemplars to show"
            )
        if self.eval_samples < FEWEST_BETWEEN_LOOKS * self.gate_looks and self.gate_looks > 1:
            raise ValueError(
                f"gate_looks {self.gate_looks} at eval_samples {self.eval_samples} leave fewer than "
                f"{FEWEST_BETWEEN_LOOKS} questions between looks; look less often or ask more"
            )
        if (cells := self.ab_test_rounds * self.shards * self.gate_looks) > MOST_CELLS:
            times = f" times gate_looks {self.gate_looks}" if self.gate_looks > 1 else ""
            raise ValueError(
                f"ab_test_rounds {self.ab_test_rounds} times shards {self.shards}{times} make {cells:,} cells; "
                f"at most {MOST_CELLS:,} are allowed: lower one of them"
            )
        for name in (self.start_thought_token, self.end_thought_token):
            if name in self.thought_prompt or name in self.answer_cue or name in self.prompt_template:
                raise ValueError(f"{name} must not appear in thought_prompt, answer_cue or prompt_template")
        return self


def field_stages() -> dict[str, frozenset[str]]:
    """Return, for every field, the stages whose outcome it changes."""
    return {name: frozenset(_extra(name)["stages"]) for name in QuietSTaRConfig.model_fields}


def field_sections() -> dict[str, str]:
    """Return the section of every field."""
    return {name: str(_extra(name)["section"]) for name in QuietSTaRConfig.model_fields}


def stage_values(config: QuietSTaRConfig, stage: str) -> dict[str, object]:
    """Return the fields that change the outcome of one stage, as JSON values in a stable order."""
    values = config.model_dump(mode="json")
    return {name: values[name] for name, stages in sorted(field_stages().items()) if stage in stages}


def narrowed(config: QuietSTaRConfig, stage: str) -> QuietSTaRConfig:
    """Return the configuration that one stage is run with: fields that do not feed it are at their defaults.

    So a stage cannot depend on a field that is not declared for it, and what a pipeline caches by is what counts.
    Stages in `WHOLE` get everything. Fields that change no result, such as `device`, are kept everywhere, but for
    those about tracking: only stages in `WHOLE` are tracked from their containers, and nothing else should run again
    because of them.
    """
    if stage in WHOLE:
        return config
    sections = field_sections()
    unread = [
        name
        for name, stages in field_stages().items()
        if (stages and stage not in stages) or sections[name] == "tracking"
    ]
    defaults = {name: QuietSTaRConfig.model_fields[name].default for name in unread if name != "model_path"}
    return config.model_copy(update=defaults)


def result_values(config: QuietSTaRConfig) -> dict[str, object]:
    """Return the fields that change results, the part of the configuration a bake id covers.

    `model_path` is left out: the champion's digest stands for it. So are the fields about exemplars where there are
    none.
    """
    values = config.model_dump(mode="json")
    left_out = {"model_path"} | (set() if config.few_shot else FEW_SHOT)
    return {name: values[name] for name, stages in sorted(field_stages().items()) if stages and name not in left_out}


def load_config(
    arguments: Mapping[str, object],
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> QuietSTaRConfig:
    """Build the configuration from its three sources.

    Args:
        arguments: given on the command line or in code; they win. None values count as not given.
        file: JSON or YAML, flat or grouped by section; wins over the environment.
        environment: variables `FORGE_<FIELD>`; others are ignored.

    Raises:
        ConfigError: for an unknown field (with the nearest valid name), a bad value or a contradiction.
    """
    values: dict[str, object] = {}
    values.update(environment_values(environment or {}, _check_name))
    if file is not None:
        values.update(read_config_file(file))
    values.update({name: value for name, value in arguments.items() if value is not None})
    for name in values:
        _check_name(name, "argument" if name in arguments else "configuration")
    return build_config(values)


def build_config(values: Mapping[str, object]) -> QuietSTaRConfig:
    """Validate flat values, turning pydantic's errors into one clear line.

    Raises:
        ConfigError: naming the field, what was found and what is expected.
    """
    try:
        return QuietSTaRConfig.model_validate(dict(values))
    except ValidationError as cause:
        raise ConfigError(_explain(cause)) from cause


def read_config_file(path: Path) -> dict[str, object]:
    """Read a JSON or YAML file of fields, flat or grouped by section, into flat values.

    Raises:
        ConfigError: when it cannot be read, parsed, or names an unknown field or section.
    """
    return flat_values(read_mapping(path), str(path), field_sections(), _check_name)


def read_mapping(path: Path) -> Mapping[object, object]:
    """Read a JSON or YAML file that holds a mapping; an empty file holds an empty one.

    Raises:
        ConfigError: when it cannot be read or parsed, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigError(f"cannot read configuration {path}: {cause}") from cause
    try:
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as cause:
        summary = " ".join(str(cause).split())
        raise ConfigError(f"configuration {path} is not valid {_format_name(path)}: {summary}") from cause
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"configuration {path} holds a {type(content).__name__}; a mapping of fields is expected")
    return content


def parse_assignment(text: str) -> tuple[str, object]:
    """Parse `field=value` as given to `--set`; the value is read as YAML, so `null`, `3` and `[a, b]` work.

    Raises:
        ConfigError: when there is no `=` or the value is no YAML.
    """
    name, separator, raw = text.partition("=")
    if not separator:
        raise ConfigError(f"--set {text}: expected FIELD=VALUE")
    name = name.strip().replace("-", "_")
    _check_name(name, "argument")
    if QuietSTaRConfig.model_fields[name].annotation is str:
        return name, raw
    return name, parse_value(text, raw)


def parse_value(text: str, raw: str) -> object:
    """Read the value of an assignment as YAML.

    Args:
        text: the whole assignment, named in errors.
        raw: its right side.

    Raises:
        ConfigError: when it is no YAML.
    """
    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError as cause:
        raise ConfigError(f"--set {text}: the value is not valid: {' '.join(str(cause).split())}") from cause


def grouped(config: QuietSTaRConfig) -> dict[str, dict[str, object]]:
    """Return the configuration by section, the form `forge config --show` prints and files may use."""
    sections: dict[str, dict[str, object]] = {section: {} for section in get_args(Section)}
    values = config.model_dump(mode="json")
    for name, section in field_sections().items():
        sections[section][name] = values[name]
    return sections


def _extra(name: str) -> dict[str, Any]:
    extra = QuietSTaRConfig.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return extra


def _format_name(path: Path) -> str:
    return "JSON" if path.suffix == ".json" else "YAML"


def environment_values(environment: Mapping[str, str], check: Callable[[str, str], None]) -> dict[str, object]:
    """Return the fields that variables `FORGE_<FIELD>` give; `check` is asked about each name and its source."""
    values: dict[str, object] = {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in RESERVED_ENVIRONMENT:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        check(name, f"environment variable {variable}")
        values[name] = text
    return values


def flat_values(
    content: Mapping[object, object], source: str, sections: Mapping[str, str], check: Callable[[str, str], None]
) -> dict[str, object]:
    """Return the fields of a file, flat or grouped by section, as flat values.

    Args:
        content: of the file.
        source: what to call it.
        sections: the section of every field.
        check: is asked about each name and its source.

    Raises:
        ConfigError: for a field in another section than its own, or one that is given twice.
    """
    values: dict[str, object] = {}
    for key, value in content.items():
        name = str(key)
        is_section = name in sections.values() and isinstance(value, dict)
        members = value.items() if is_section and isinstance(value, dict) else [(name, value)]
        for member, member_value in members:
            check(str(member), source)
            if is_section and sections[str(member)] != name:
                raise ConfigError(f"{source}: {member} belongs to section {sections[str(member)]}, not {name}")
            if str(member) in values:
                raise ConfigError(f"{source}: {member} is given twice")
            values[str(member)] = member_value
    return values


def check_known(name: str, source: str, known: Sequence[str], otherwise: str) -> None:
    """Refuse a field that does not exist.

    Args:
        name: of the field.
        source: where it stands.
        known: every field.
        otherwise: the hint when none of them is similar.

    Raises:
        ConfigError: with the nearest name, if there is one.
    """
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ConfigError(f"{source}: unknown field {name}; {f'did you mean {near[0]}?' if near else otherwise}")


def _check_name(name: str, source: str) -> None:
    check_known(name, source, list(QuietSTaRConfig.model_fields), "see `forge config --schema`")


def _explain(error: ValidationError) -> str:
    # A misspelt field says more than the one that is missing for it.
    problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        option = _REQUIRED_OPTIONS.get(name, f"--set {name}=...")
        return f"{name} is required and was not given; give {option}, or {name} in a configuration file"
    if problem["type"] == "extra_forbidden":
        try:
            _check_name(name, "configuration")
        except ConfigError as unknown:
            return str(unknown)
    if not name:
        return first_problem(error)
    return f"{name} is {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"
