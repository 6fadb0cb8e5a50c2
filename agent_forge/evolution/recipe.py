"""A recipe: everything that decides what comes out of a merge.

method: ties                    linear slerp task_arithmetic ties dare_linear dare_ties stack
base: models/base               what the parents were fine-tuned from; not for linear, slerp and stack
parents: [models/a, models/b]   directories or references; or {model: ..., sha256: digest that it must have}
weights: [0.6, 0.4]             one for each parent; all 1 where left out
densities: [0.5, 0.5]           ties and dare: fraction of each task vector that is kept
groups:                         other values for some tensors; the first group that fits a tensor counts
  - layers: [0, 12]             layers 0 to 11
    containing: self_attn       tensors with this in their name
    weights: [0.9, 0.1]
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from agent_forge.errors import ConfigError
from agent_forge.records import Record, first_problem

Method = Literal["linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties", "stack"]
Number = Annotated[float, Field(allow_inf_nan=False)]
Density = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
LayerRange = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]]

_TASK = frozenset({"base", "weights", "normalize", "scale", "groups"})
# Fields that a method reads, beside those that all read; any other is refused rather than ignored.
_READ: Mapping[str, frozenset[str]] = {
    "linear": frozenset({"weights", "normalize", "groups"}),
    "slerp": frozenset({"t", "groups"}),
    "task_arithmetic": _TASK,
    "ties": _TASK | {"densities"},
    "dare_linear": _TASK | {"densities", "rescale", "seed"},
    "dare_ties": _TASK | {"densities", "rescale", "seed"},
    "stack": frozenset({"slices"}),
}
_BY_METHOD = frozenset().union(*_READ.values())
# What `normalize` is where a recipe does not say: as in the papers and in mergekit.
_NORMALIZED = frozenset({"linear", "ties"})


class Parent(Record):
    """A model to merge: its directory or reference and, where it must be exactly this one, the digest of its files."""

    model: str = Field(min_length=1)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @property
    def elsewhere(self) -> bool:
        """Whether it is named by a reference with a scheme: s3://, hf://, wandb://, bundled:// and so on."""
        return "://" in self.model

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"model": value} if isinstance(value, str) else value


class Group(Record):
    """Values for the tensors of some layers, or with some text in their name, or both.

    Attributes:
        layers: first layer and the one after the last; None for every tensor, also those outside layers.
        containing: what the name must contain.
        weights: as in the recipe; None for the recipe's own.
        densities: likewise.
        t: likewise.
    """

    layers: LayerRange | None = None
    containing: str | None = Field(default=None, min_length=1)
    weights: tuple[Number, ...] | None = None
    densities: tuple[Density, ...] | None = None
    t: Fraction | None = None

    def fits(self, name: str, layer: int | None) -> bool:
        """Return whether a tensor belongs to the group."""
        inside = self.layers is None or (layer is not None and self.layers[0] <= layer < self.layers[1])
        return inside and (self.containing is None or self.containing in name)

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if self.layers is None and self.containing is None:
            raise ValueError("needs layers or containing; values for all tensors stand in the recipe itself")
        if self.layers is not None:
            _check_range(self.layers)
        return self


class Slice(Record):
    """Consecutive layers of one parent, for method stack."""

    parent: int = Field(ge=0)
    layers: LayerRange

    @field_validator("layers")
    @classmethod
    def _ordered(cls, layers: LayerRange) -> LayerRange:
        return _check_range(layers)


class Values(Record):
    """What one tensor is merged with."""

    weights: tuple[float, ...]
    densities: tuple[float, ...]
    t: float


class Recipe(Record):
    """How to make one model out of several of one architecture; the module's docstring shows one.

    Attributes:
        schema_version: of this record.
        method: how tensors are merged.
        parents: what is merged.
        base: what the parents were fine-tuned from.
        weights: of the parents.
        densities: fractions of task vectors that are kept.
        t: where on the arc from the first parent (0) to the second (1), for slerp.
        groups: other weights, densities or t for some tensors.
        slices: what stack puts on top of each other, from the input on.
        normalize: whether weights are divided by their sum; default: for linear and ties.
        scale: of the merged task vector.
        rescale: what makes up for the entries that dare drops, see `methods.dare`.
        seed: of dare's masks.
        dtype: of the merged weights; default: of the base, else of the first parent, tensor by tensor.
        speaker: number of the parent, or `base`, whose tokenizer, special tokens, chat template and configuration the
            merged model gets; default: the one with a chat template, else the base, else the first parent.
    """

    schema_version: Literal[1] = 1
    method: Method
    parents: tuple[Parent, ...] = Field(min_length=1)
    base: Parent | None = None
    weights: tuple[Number, ...] = ()
    densities: tuple[Density, ...] = ()
    t: Fraction | None = None
    groups: tuple[Group, ...] = ()
    slices: tuple[Slice, ...] = ()
    normalize: bool | None = None
    scale: Number = 1.0
    rescale: Literal["norm", "density", "none"] = "norm"
    seed: int = 0
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    speaker: Annotated[int, Field(ge=0)] | Literal["base"] | None = None

    @property
    def normalized(self) -> bool:
        """Whether weights are divided by their sum."""
        return self.method in _NORMALIZED if self.normalize is None else self.normalize

    @property
    def digest(self) -> str:
        """The sha256 of the recipe as canonical JSON (sorted keys, no spaces).

        A parent with a digest is known by that, wherever it lies; one without by its path.
        """
        content = self.model_dump(mode="json")
        for parent in [*content["parents"], *([content["base"]] if content["base"] else [])]:
            if parent["sha256"]:
                del parent["model"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def group_of(self, name: str, layer: int | None) -> int | None:
        """Return the number of the group that a tensor belongs to, None for none."""
        return next((number for number, group in enumerate(self.groups) if group.fits(name, layer)), None)

    def values_for(self, name: str, layer: int | None) -> Values:
        """Return what a tensor is merged with; `layer` is None outside layers."""
        number = self.group_of(name, layer)
        group = Group(containing="-") if number is None else self.groups[number]
        ones = (1.0,) * len(self.parents)
        return Values(
            weights=group.weights or self.weights or ones,
            densities=group.densities or self.densities or ones,
            t=next((t for t in (group.t, self.t) if t is not None), 0.0),
        )

    @model_validator(mode="after")
    def _fits_the_method(self) -> Self:
        read = _READ[self.method]
        given = {name for name, field in Recipe.model_fields.items() if getattr(self, name) != field.default}
        for name in sorted(given & _BY_METHOD - read):
            raise ValueError(f"method {self.method} reads no {name}; remove it or choose another method")
        if "base" in read and self.base is None:
            raise ValueError(f"method {self.method} needs base, the model that the parents were fine-tuned from")
        if self.method == "slerp" and len(self.parents) != 2:
            raise ValueError(f"method slerp merges 2 parents, {len(self.parents)} are given")
        return self

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.method == "stack" and not self.slices:
            raise ValueError("method stack needs slices")
        for piece in self.slices:
            if piece.parent >= len(self.parents):
                raise ValueError(f"a slice names parent {piece.parent}; there are {len(self.parents)}, counted from 0")
        if self.method == "slerp" and self.t is None:
            raise ValueError("method slerp needs t, from 0 (the first parent) to 1 (the second)")
        if self.speaker == "base" and self.base is None:
            raise ValueError("speaker is base, but the recipe has none")
        if isinstance(self.speaker, int) and self.speaker >= len(self.parents):
            raise ValueError(f"speaker is parent {self.speaker}; there are {len(self.parents)}, counted from 0")
        return self

    @model_validator(mode="after")
    def _one_value_for_each_parent(self) -> Self:
        self._check_values("", self)
        for number, group in enumerate(self.groups):
            self._check_values(f"groups.{number}.", group)
        return self

    def _check_values(self, where: str, holder: "Recipe | Group") -> None:
        for name in ("weights", "densities"):
            given = getattr(holder, name)
            if given and len(given) != len(self.parents):
                raise ValueError(f"{where}{name} has {len(given)} values for {len(self.parents)} parents")
        for name in sorted({"weights", "densities", "t"} - _READ[self.method]):
            if getattr(holder, name) not in (None, ()):
                raise ValueError(f"method {self.method} reads no {where}{name}")
        weights = holder.weights or ()
        if weights and self.method == "linear" and self.normalized and math.isclose(sum(weights), 0, abs_tol=1e-8):
            raise ValueError(f"{where}weights sum to 0 and cannot be normalized; set normalize to false")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from YAML or JSON; models named by relative paths are looked for beside the file.

    Raises:
        ConfigError: when it cannot be read or is no recipe.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise ConfigError(f"cannot read recipe {path}: {' '.join(str(cause).split())}") from cause
    if not isinstance(content, dict):
        raise ConfigError(f"recipe {path} holds a {type(content).__name__}; a mapping of fields is expected")
    recipe = parse_recipe(content, f"recipe {path}")
    return recipe.model_copy(
        update={
            "parents": tuple(_beside(path, parent) for parent in recipe.parents),
            "base": _beside(path, recipe.base) if recipe.base else None,
        }
    )


def parse_recipe(content: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Validate a recipe's fields.

    Raises:
        ConfigError: naming the field and what is wrong with it.
    """
    try:
        return Recipe.model_validate(dict(content))
    except ValidationError as cause:
        raise ConfigError(f"{source}: {first_problem(cause)}") from cause


def _beside(file: Path, parent: Parent) -> Parent:
    if parent.elsewhere:
        return parent
    return parent.model_copy(update={"model": str(file.parent / Path(parent.model).expanduser())})


def _check_range(layers: LayerRange) -> LayerRange:
    if layers[0] >= layers[1]:
        raise ValueError(
            f"layers {list(layers)} are none; the first is counted from 0, the second is one past the last"
        )
    return layers
