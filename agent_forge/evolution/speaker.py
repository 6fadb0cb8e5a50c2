"""The speaker: the model whose tokenizer, special tokens, chat template and configuration a merged model gets.

They belong together: a chat template that ends turns with a token that the configuration does not end at never stops.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent_forge.errors import ChampionError
from agent_forge.evolution.layers import COUNT_FIELDS, language_part
from agent_forge.evolution.recipe import Recipe
from agent_forge.evolution.source import Source
from agent_forge.evolution.vocabulary import Vocabulary, extend_tokenizer
from agent_forge.models.checks import read_json

_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"),
    "generation_config.json",
)
# Second copies of the vocabulary, for tokenizers without tokenizer.json; they would lack the added tokens.
_SLOW_FILES = (
    *("tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tekken.json", "added_tokens.json"),
)


def choose_speaker(recipe: Recipe, sources: Sequence[Source]) -> int:
    """Return the number of the model that speaks, see `Recipe.speaker`.

    Raises:
        ChampionError: when the recipe does not say and models have different chat templates.
    """
    base = len(recipe.parents)
    if recipe.speaker is not None:
        return base if recipe.speaker == "base" else recipe.speaker
    templates = {number: text for number, source in enumerate(sources) if (text := _chat_template(source.path))}
    chosen = next(iter(templates), base if recipe.base else 0)
    for number, text in templates.items():
        if text != templates[chosen]:
            raise ChampionError(
                f"{sources[chosen].label} and {sources[number].label} have different chat templates; set speaker to "
                "the one that the merged model is to use"
            )
    return chosen


def write_voice(
    speaker: Source, directory: Path, vocabulary: Vocabulary, dtype: str, layers: Sequence[tuple[Source, int]]
) -> None:
    """Write the merged model's configuration and tokenizer.

    Args:
        speaker: whose they are.
        directory: where.
        vocabulary: of the merged model.
        dtype: its name in the configuration.
        layers: for stack, which layer of which model every layer is; empty for the other methods.
    """
    for name in (*_FILES, *(() if vocabulary.added else _SLOW_FILES)):
        if (speaker.path / name).is_file():
            shutil.copyfile(speaker.path / name, directory / name)
    extend_tokenizer(directory, vocabulary)
    config: dict[str, Any] = json.loads(json.dumps(speaker.config))
    _set_dtype(config, dtype)
    text = language_part(config)
    text["vocab_size"] = vocabulary.rows
    if layers:
        _restack(text, language_part(speaker.architecture), layers)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _set_dtype(config: dict[str, Any], dtype: str) -> None:
    for part in (config, language_part(config)):
        part.pop("torch_dtype", None)
        part["dtype"] = dtype


def _restack(text: dict[str, Any], filled: Mapping[str, Any], layers: Sequence[tuple[Source, int]]) -> None:
    """Give a configuration as many layers, and every list with one entry a layer the entries of the stacked ones."""
    counted = [name for name in COUNT_FIELDS if isinstance(filled.get(name), int)]
    for name in counted:
        text[name] = len(layers)
    origins = [(language_part(source.architecture), layer) for source, layer in layers]
    lists = [name for name, value in filled.items() if "layer" in name and isinstance(value, list)]
    for name in lists:
        if len(filled[name]) != filled[counted[0]]:
            raise ChampionError(f"cannot stack: {name} of config.json has not one entry for each layer")
        text[name] = [part[name][layer] for part, layer in origins]


def _chat_template(path: Path) -> str | None:
    if (path / "chat_template.jinja").is_file():
        return (path / "chat_template.jinja").read_text(encoding="utf-8").strip() or None
    if not (path / "tokenizer_config.json").is_file():
        return None
    settings: Mapping[str, Any] = read_json(path / "tokenizer_config.json")
    template = settings.get("chat_template")
    return template.strip() if isinstance(template, str) else json.dumps(template) if template else None
