"""Which layer a tensor belongs to, by its name: model.layers.3.mlp.up_proj.weight, transformer.h.3.attn.c_attn.bias."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from agent_forge.errors import ChampionError

# Fields of a configuration that count layers, as the architectures call them.
COUNT_FIELDS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_LAYER = re.compile(r"^((?:.*?\.)?(?:layers|h|blocks|block)\.)(\d+)(\..+)$")
_VOCABULARY = re.compile(r"(?:^|\.)(embed_tokens|wte|embed_in|word_embeddings|lm_head|embed_out)\.(weight|bias)$")
_INPUT = re.compile(r"(?:^|\.)(embed_tokens|wte|wpe|embed_in|embed_positions|word_embeddings\w*)\.")
_HEAD = re.compile(r"(?:^|\.)(lm_head|embed_out)\.weight$")


def layer_of(name: str) -> int | None:
    """Return the number of a tensor's layer; None outside layers."""
    found = _LAYER.match(name)
    return int(found[2]) if found else None


def moved(name: str, layer: int) -> str:
    """Return a layer's tensor's name in another layer."""
    return _LAYER.sub(lambda found: f"{found[1]}{layer}{found[3]}", name)


def has_vocabulary_rows(name: str) -> bool:
    """Return whether a tensor has one row for each token."""
    return _VOCABULARY.search(name) is not None


def before_layers(name: str) -> bool:
    """Return whether a tensor outside layers acts before them: an embedding of tokens or positions."""
    return _INPUT.search(name) is not None


def is_head(name: str) -> bool:
    """Return whether a tensor is the output embedding."""
    return _HEAD.search(name) is not None


def language_part(config: Mapping[str, Any]) -> Any:
    """Return the part of a configuration that describes the language model."""
    return config.get("text_config") or config


def layer_count(label: str, config: Mapping[str, Any], names: Iterable[str]) -> int:
    """Return how many layers a model has by its configuration, after comparing with its tensors.

    Raises:
        ChampionError: when they disagree, or there is more than one stack of layers.
    """
    stacks: dict[str, set[int]] = {}
    for found in filter(None, map(_LAYER.match, names)):
        stacks.setdefault(found[1], set()).add(int(found[2]))
    if len(stacks) != 1:
        raise ChampionError(f"{label} has {len(stacks)} stacks of layers; recipes that name layers need exactly one")
    layers = next(iter(stacks.values()))
    text = language_part(config)
    count = next((text[field] for field in COUNT_FIELDS if isinstance(text.get(field), int)), None)
    if layers != set(range(count or 0)):
        raise ChampionError(f"{label} holds {len(layers)} layers but its config.json says {count}; use a whole model")
    return len(layers)
