"""Saving a model whole or not at all, in the dtype of the checkpoint it came from."""

import shutil
from pathlib import Path
from typing import Any

import torch

from agent_forge.errors import OutputError
from agent_forge.models.load import LoadedModel, quiet
from agent_forge.storage.files import move_into_place, unwritable, writing_to

_GENERATION = "generation_config.json"
# What must be passed on with a model.
_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt", "USE_POLICY.md")


def save_model(loaded: LoadedModel, directory: Path, max_shard_size: str = "5GB") -> None:
    """Save a model and its tokenizer as safetensors, replacing what is at `directory`.

    Weights get the dtype they have in the checkpoint; the model in memory keeps the arithmetic it runs in. The
    champion's generation_config.json is copied as it is, and so are its licence files.

    Raises:
        OutputError: when the place cannot be written to; then nothing is left behind.
    """
    prepared = directory.with_name(f".{directory.name}.preparing")
    with writing_to(directory):
        shutil.rmtree(prepared, ignore_errors=True)
        try:
            with quiet():
                _write(loaded, prepared, max_shard_size)
            move_into_place(prepared, directory)
        except Exception as cause:
            if not isinstance(cause, OSError) and (advice := unwritable(cause)) is not None:
                raise OutputError(f"cannot write to {directory}: {advice}") from cause
            raise
        finally:
            shutil.rmtree(prepared, ignore_errors=True)


def _write(loaded: LoadedModel, directory: Path, max_shard_size: str) -> None:
    model, config = loaded.model, loaded.model.config
    running = config.dtype
    original = loaded.path / _GENERATION
    # Saving validates generation settings, and published ones are often inconsistent; they are kept as they are.
    generation = model.generation_config
    if original.is_file():
        model.generation_config = type(generation)()
    try:
        model.save_pretrained(directory, state_dict=_stored_state(loaded), max_shard_size=max_shard_size)
        _set_dtype(config, loaded.checkpoint_dtype)
        config.save_pretrained(directory)
    finally:
        _set_dtype(config, running)
        model.generation_config = generation
    if original.is_file():
        shutil.copyfile(original, directory / _GENERATION)
    loaded.tokenizer.save_pretrained(directory)
    for name in _LICENCES:
        if (loaded.path / name).is_file():
            shutil.copyfile(loaded.path / name, directory / name)


def _stored_state(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    """Return the weights in the checkpoint's dtypes; tensors that share storage keep sharing it."""
    parameters = {id(parameter): name for name, parameter in loaded.model.named_parameters()}
    state = loaded.model.state_dict(keep_vars=True)
    cast: dict[int, torch.Tensor] = {}
    for tensor in state.values():
        if id(tensor) not in cast:
            stored = loaded.stored_dtype(parameters[id(tensor)]) if id(tensor) in parameters else tensor.dtype
            cast[id(tensor)] = tensor.detach().to(stored)
    return {name: cast[id(tensor)] for name, tensor in state.items()}


def _set_dtype(config: Any, dtype: torch.dtype) -> None:
    config.dtype = dtype
    text = config.get_text_config()
    if text is not config:
        text.dtype = dtype
