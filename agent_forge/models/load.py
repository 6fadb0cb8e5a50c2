"""Loading a champion: a Hugging Face directory with safetensors, or a GGUF file. Nothing pickled is ever executed."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from agent_forge.errors import ChampionError
from agent_forge.models.device import resolve_attention, resolve_device, resolve_dtype
from agent_forge.storage.files import unwritable

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class LoadedModel:
    """A model in eval mode with its tokenizer and what is worth knowing about both."""

    model: Any
    tokenizer: Any
    checkpoint_dtype: torch.dtype
    dtype: torch.dtype
    attention: str
    context_length: int | None
    warnings: tuple[str, ...] = ()


def load_champion(path: str, device: str = "auto", dtype: str = "auto", attention: str = "auto") -> LoadedModel:
    """Load a causal language model for inference.

    Args:
        path: directory, or a .gguf file.
        device: auto, cpu, cuda or cuda:N.
        dtype: auto, float32, bfloat16 or float16; see `resolve_dtype`.
        attention: auto, eager, sdpa or flash_attention_2.

    Raises:
        ChampionError: when it is not a whole, safe, causal language model with a tokenizer that has an end token.
        ConfigError: for a device that is not there.
    """
    place = Path(path)
    where = resolve_device(device)
    arguments, directory = _arguments(place)
    with _quiet(), _explained(place):
        config = transformers.AutoConfig.from_pretrained(directory, trust_remote_code=False, **arguments)
        checkpoint = _checkpoint_dtype(config)
        compute = resolve_dtype(dtype, checkpoint, where)
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=compute,
            attn_implementation=resolve_attention(attention, compute, where),
            trust_remote_code=False,
            output_loading_info=True,
            **arguments,
            **({} if arguments else {"use_safetensors": True}),
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, trust_remote_code=False, **arguments)
    _check_whole(place, model, report)
    if tokenizer.eos_token_id is None:
        raise ChampionError(f"{place}: its tokenizer has no end-of-sequence token; set eos_token in tokenizer_config")
    if arguments:
        _forget_quantisation(model)
    return LoadedModel(
        model=model.to(where).eval(),
        tokenizer=tokenizer,
        checkpoint_dtype=checkpoint,
        dtype=compute,
        attention=str(getattr(model.config, "_attn_implementation", "unknown")),
        context_length=_context_length(model.config),
    )


def download(name: str) -> Path:
    """Fetch a model from the hub into its cache; return the local directory.

    Raises:
        ChampionError: when there is no such model, or no network.
    """
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, ignore_patterns=list(_PICKLES)))
    except Exception as cause:
        summary = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise ChampionError(f"champion {name}: no such directory, and the hub says: {summary}") from cause


def _arguments(place: Path) -> tuple[dict[str, str], Path]:
    """Return the loading arguments and directory of a champion, after looking at its files."""
    if not place.exists():
        raise ChampionError(f"{place} does not exist; give a model directory, a .gguf file or a hub name")
    if place.is_file():
        if place.suffix != ".gguf":
            raise ChampionError(f"{place} is not a model directory or a .gguf file; convert it with save_pretrained")
        return {"gguf_file": place.name}, place.parent
    if not (place / "config.json").is_file():
        raise ChampionError(f"{place} has no config.json, so it is not a model directory")
    if not list(place.glob("*.safetensors")):
        pickled = any(list(place.glob(pattern)) for pattern in _PICKLES)
        advice = "only pickled ones; load it once in a trusted place and save_pretrained it" if pickled else "none"
        raise ChampionError(f"{place}: safetensors weights are expected, found {advice}")
    for file in place.glob("*.safetensors"):
        _check_safetensors(file)
    return {}, place


def _check_safetensors(path: Path) -> None:
    """Compare a file's size with what its header announces."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > size:
                raise ValueError("the header is longer than the file")
            header = json.loads(stream.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError) as cause:
        raise ChampionError(f"{path} is not a safetensors file ({cause}); download it again") from cause
    if 8 + length + end != size:
        raise ChampionError(f"{path} has {size} bytes but its header announces {8 + length + end}; download it again")


def _check_whole(place: Path, model: Any, report: dict[str, Any]) -> None:
    missing = sorted(report.get("missing_keys") or ())
    if missing:
        raise ChampionError(
            f"{place} lacks {len(missing)} weights, among them {missing[0]}; the checkpoint is not whole"
        )
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise ChampionError(f"{place}: {name} holds values that are not finite; the checkpoint is damaged")


def _checkpoint_dtype(config: Any) -> torch.dtype:
    dtype = getattr(config, "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def _context_length(config: Any) -> int | None:
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def _forget_quantisation(model: Any) -> None:
    """A GGUF file is dequantised while it is read; saving must not claim that it still is quantised."""
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and advice out of the user's terminal."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    """Turn whatever transformers raises about a checkpoint into one line."""
    try:
        yield
    except Exception as cause:
        if unwritable(cause) is not None:
            raise
        summary = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise ChampionError(f"{place} cannot be loaded as a causal language model: {summary}") from cause
