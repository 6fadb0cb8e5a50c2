"""Whether models can be merged: one architecture, the same tensors, one dtype. Errors name the first difference."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent_forge.errors import ChampionError
from agent_forge.evolution.layers import COUNT_FIELDS, has_vocabulary_rows, layer_of
from agent_forge.evolution.recipe import Recipe
from agent_forge.evolution.source import Source

# What says nothing about the function that weights are used in: training, generation, bookkeeping. The vocabulary's
# size is compared with the tokenizers.
_NO_MATTER = re.compile(
    r"transformers_version|architectures|_name_or_path|dtype|torch_dtype|vocab_size|\w+_token_id|use_cache|return_dict"
    r"|output_\w+|id2label|label2id|problem_type|initializer_range|\w*(dropout|pdrop)\w*|pretraining_tp"
    r"|chunk_size_feed_forward|task_specific_params|router_aux_loss_coef|_attn_implementation\w*"
)


def check_agreement(sources: Sequence[Source], recipe: Recipe) -> None:
    """Refuse models that differ in more than their weights, vocabularies and, for stack, number of layers.

    Raises:
        ChampionError: naming both models and the configuration field or tensor in which they differ.
    """
    first = sources[0]
    for other in sources[1:]:
        _check_configuration(first, other, stacked=recipe.method == "stack")
        _check_tensors(first, other, stacked=recipe.method == "stack")
        if recipe.dtype is None and other.dtype != first.dtype:
            raise ChampionError(
                f"{first.label} is stored as {_short(first.dtype)} and {other.label} as {_short(other.dtype)}; "
                "set dtype in the recipe"
            )


def _check_configuration(first: Source, other: Source, stacked: bool) -> None:
    one, two = dict(_flat(first.architecture)), dict(_flat(other.architecture))
    # The kind first: of two kinds nearly every field differs.
    for field in sorted(one.keys() | two.keys(), key=lambda field: (field != "model_type", field)):
        name = field.rpartition(".")[2]
        if _NO_MATTER.fullmatch(name) or (stacked and _counts_layers(name, one.get(field))):
            continue
        if one.get(field) != two.get(field):
            raise ChampionError(
                f"cannot merge {first.label} and {other.label}: {field} of their config.json is {one.get(field)!r} and "
                f"{two.get(field)!r}; models of one architecture are expected"
            )


def _counts_layers(name: str, value: object) -> bool:
    """Return whether a field is the number of layers, or a list with one entry for each."""
    return name in COUNT_FIELDS or ("layer" in name and isinstance(value, list))


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and name not in ("id2label", "label2id"):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _check_tensors(first: Source, other: Source, stacked: bool) -> None:
    for name in sorted(first.places.keys() | other.places.keys()):
        if name not in first.places or name not in other.places:
            if stacked and layer_of(name) is not None:
                continue
            has, lacks = (first, other) if name in first.places else (other, first)
            raise ChampionError(f"cannot merge: {has.label} has tensor {name}, {lacks.label} has not")
        one, two = first.places[name], other.places[name]
        skipped = 1 if has_vocabulary_rows(name) else 0
        if len(one.shape) != len(two.shape) or one.shape[skipped:] != two.shape[skipped:]:
            raise ChampionError(
                f"cannot merge: tensor {name} has shape {list(one.shape)} in {first.label} and {list(two.shape)} in "
                f"{other.label}"
            )
        if one.dtype != two.dtype and not (one.dtype.is_floating_point and two.dtype.is_floating_point):
            raise ChampionError(
                f"cannot merge: tensor {name} is {_short(one.dtype)} in {first.label} and {_short(two.dtype)} in "
                f"{other.label}"
            )


def _short(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
