"""Configuration of an evolution: its own fields, and beside them those of the bake, which hold for both.

    base_models: [math, code, german]         evolution:
    model_references:                           gens: 20
      math: hf://someone/math-7b                population: 12
    eval_dataset: gsm8k                       questions:
    seed: 7                                     eval_dataset: gsm8k

One file serves `forge evo` and the bake after it: questions, prompting, sampling, seed and device are the bake's
fields. Values come from the same four sources as the bake's, and unknown fields are errors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from agent_forge.config import (
    Names,
    QuietSTaRConfig,
    build_config,
    check_known,
    environment_values,
    field_sections,
    field_stages,
    flat_values,
    parse_value,
    read_mapping,
    split_commas,
)
from agent_forge.errors import ConfigError
from agent_forge.records import first_problem

SECTION = "evolution"
Method = Literal["linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties"]
METHODS: tuple[Method, ...] = get_args(Method)
# Methods that merge differences from a base.
FROM_A_BASE = frozenset({"task_arithmetic", "ties", "dare_linear", "dare_ties"})
# The champion and its bake have their places below the evolution's own directory.
BEST_MODEL, BAKE = "best_model", "bake"
# Digests stand for models.
_WITHOUT_EFFECT = {"base_models", "base", "model_references", "processes"}
# What an evolution reads of the bake's fields: those of some stages and of the judgement, but for some.
_READ_STAGES = frozenset({"prepare-questions", "load-and-extend", "evaluate-round"})
_JUDGEMENT = frozenset({"alpha", "min_improvement", "non_inferiority_margin", "power"})
_ONLY_OF_THE_BAKE = {"model_path", "eval_samples", "verify_samples", "bake_samples", "pause_text"}


class EvolutionConfig(BaseModel):
    """What to merge and how to search; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_models: Names = Field(
        ...,
        description="What is merged: directories, references such as hf://owner/name, or names of model_references; "
        "by commas.",
        min_length=2,
        max_length=16,
    )
    model_references: dict[str, str] = Field({}, description="Names for models: name to directory or reference.")
    base: str | None = Field(
        None,
        description="What base_models were fine-tuned from; methods that merge differences from it need it.",
        min_length=1,
    )
    gens: int = Field(10, description="Generations.", ge=1, le=10_000)
    population: int = Field(8, description="Merges per generation.", ge=4, le=1000)
    methods: Annotated[tuple[Method, ...], BeforeValidator(split_commas)] = Field(
        (), description=f"Methods to choose among, of {', '.join(METHODS)}; default: all that fit the models."
    )
    layer_groups: int = Field(
        1,
        description="1: one set of values for all tensors; more: one for each of as many groups of consecutive "
        "layers, and one for what is outside of layers.",
        ge=1,
        le=64,
    )
    speaker: int | Literal["base"] | None = Field(
        None, description="Number of the base model, or base, whose tokenizer and chat template merges have."
    )
    fitness_arm: Literal["baseline", "thought"] = Field(
        "baseline", description="What is scored: direct answers, or those after an elicited thought."
    )
    fitness_aggregate: Literal["mean", "worst"] = Field(
        "mean", description="What the accuracies of several tasks are put together by."
    )
    processes: int = Field(
        1,
        description="Merges that are scored side by side, each in a process of its own with its own GPU where there "
        "are several; changes no result but for the rounding of sums.",
        ge=1,
        le=64,
    )
    elites: int = Field(4, description="Merges that are compared with the base models in the end.", ge=1, le=100)
    evolve_samples: int = Field(100, description="Questions per task that score every merge.", ge=2)
    select_samples: int = Field(100, description="Questions per task that the champion is chosen on.", ge=2)
    confirm_samples: int = Field(200, description="Questions per task that the champion is measured on.", ge=2)

    @model_validator(mode="after")
    def _consistent(self) -> "EvolutionConfig":
        if twice := next((name for name in self.base_models if self.base_models.count(name) > 1), None):
            raise ValueError(f"{twice} is in base_models twice; give each model once")
        needing = [method for method in self.methods if method in FROM_A_BASE]
        if needing and self.base is None:
            raise ValueError(f"method {needing[0]} needs base, the model that base_models were fine-tuned from")
        if isinstance(self.speaker, int) and not 0 <= self.speaker < len(self.base_models):
            raise ValueError(f"speaker is {self.speaker}; there are {len(self.base_models)} base models, from 0")
        if self.speaker == "base" and self.base is None:
            raise ValueError("speaker is base, but there is none")
        return self

    @property
    def chosen_methods(self) -> tuple[Method, ...]:
        """The methods to choose among."""
        return self.methods or tuple(m for m in METHODS if self.base is not None or m not in FROM_A_BASE)


class EvolutionSettings(BaseModel):
    """An evolution's own fields and those of the bake."""

    model_config = ConfigDict(frozen=True)

    evolution: EvolutionConfig
    bake: QuietSTaRConfig

    @property
    def directory(self) -> Path:
        """Where the evolution runs."""
        return Path(self.bake.output_path).expanduser()

    @property
    def then_bake(self) -> QuietSTaRConfig:
        """The configuration of the champion's bake."""
        root = self.directory
        return self.bake.model_copy(update={"model_path": str(root / BEST_MODEL), "output_path": str(root / BAKE)})

    def values(self) -> dict[str, object]:
        """Return every field that can change the champion or what is said of it, as JSON values.

        Names of models are left out: their digests stand for them.
        """
        own = self.evolution.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
        return {**own, **self._of_the_bake(_READ_STAGES, _JUDGEMENT)}

    def answering(self) -> dict[str, object]:
        """Return the fields that can change how a model answers a question, as JSON values."""
        own = self.evolution.model_dump(mode="json", include={"fitness_arm"})
        return {**own, **self._of_the_bake(frozenset({"load-and-extend", "evaluate-round"}))}

    def _of_the_bake(self, stages: frozenset[str], names: frozenset[str] = frozenset()) -> dict[str, object]:
        values = self.bake.model_dump(mode="json")
        read = {name for name, where in field_stages().items() if where & stages or name in names}
        return {name: values[name] for name in sorted(read - _ONLY_OF_THE_BAKE)}


def load_settings(
    arguments: Mapping[str, object], file: Path | None = None, environment: Mapping[str, str] | None = None
) -> EvolutionSettings:
    """Build the settings from arguments, then a file, then the environment, then the defaults.

    Args:
        arguments: given on the command line or in code; None counts as not given.
        file: JSON or YAML, flat or grouped by section.
        environment: variables `FORGE_<FIELD>`.

    Raises:
        ConfigError: for an unknown field (with the nearest valid name), a bad value or a contradiction.
    """
    values = environment_values(environment or {}, _check_name)
    if file is not None:
        sections = {**field_sections(), **dict.fromkeys(EvolutionConfig.model_fields, SECTION)}
        values.update(flat_values(read_mapping(file), str(file), sections, _check_name))
    values.update({name: value for name, value in arguments.items() if value is not None})
    for name in values:
        _check_name(name, "argument" if name in arguments else "configuration")
    return _build(values)


def parse_setting(text: str) -> tuple[str, object]:
    """Parse `field=value` as given to `--set`.

    Raises:
        ConfigError: when there is no `=`, no such field, or the value is no YAML.
    """
    name, separator, raw = text.partition("=")
    if not separator:
        raise ConfigError(f"--set {text}: expected FIELD=VALUE")
    name = name.strip().replace("-", "_")
    _check_name(name, "argument")
    field = {**QuietSTaRConfig.model_fields, **EvolutionConfig.model_fields}[name]
    return name, raw if field.annotation is str else parse_value(text, raw)


def _build(values: Mapping[str, object]) -> EvolutionSettings:
    if "model_path" in values:
        raise ConfigError("model_path is what the evolution makes: DIR/best_model; give base_models instead")
    if "output_path" not in values:
        raise ConfigError("output_path is required and was not given; give --out, or output_path in a file")
    own = {name: value for name, value in values.items() if name in EvolutionConfig.model_fields}
    baked = {name: value for name, value in values.items() if name not in own}
    try:
        evolution = EvolutionConfig.model_validate(own)
    except ValidationError as cause:
        raise ConfigError(_explain(cause)) from cause
    bake = build_config({**baked, "model_path": BEST_MODEL})
    return EvolutionSettings(evolution=evolution, bake=bake)


def _check_name(name: str, source: str) -> None:
    known = [*EvolutionConfig.model_fields, *QuietSTaRConfig.model_fields]
    check_known(name, source, known, "see docs/evolution.md and docs/configuration.md")


def _explain(error: ValidationError) -> str:
    problem = error.errors()[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{name} is required and was not given; give --base-models, or {name} in a configuration file"
    if not name:
        return first_problem(error)
    return f"{name} is {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"
