"""What can be known about a checkpoint before its weights are read: that it is whole, safe and of a kind that loads.

    directory with config.json and  model.safetensors                   safetensors
                                    model.safetensors.index.json        safetensors, sharded
                                    pytorch_model.bin (.index.json)     pickle: tensors only, nothing is executed
    FILE.gguf, or a directory with one .gguf and no config.json         gguf

A safetensors file is eight bytes of header length, a JSON header, then tensor data up to the last offset that the
header names (https://github.com/huggingface/safetensors#format): so a truncated file shows in its size alone.
"""

import json
import pickle
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch

from agent_forge.errors import ChampionError

# Tensor types of safetensors headers; other names (8-bit floats and packed integers) belong to quantised checkpoints.
SAFETENSORS_DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_CONVERT = "load it where you trust it and save it as safetensors: model.save_pretrained(DIRECTORY)"
_AGAIN = "download or copy it again"


@dataclass(frozen=True)
class Checkpoint:
    """The files of a champion.

    Attributes:
        directory: where they are.
        format: how the weights are stored.
        files: of the weights, in order.
        dtypes: type of every tensor by its name in the files; empty for GGUF.
        elements: how many numbers the tensors hold by type; empty for GGUF.
    """

    directory: Path
    format: Literal["safetensors", "pickle", "gguf"]
    files: tuple[Path, ...]
    dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)
    elements: Mapping[torch.dtype, int] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """The floating type that most numbers are stored in; float32 for GGUF, which is dequantised."""
        floating = {dtype: count for dtype, count in self.elements.items() if dtype.is_floating_point}
        return max(floating, key=floating.__getitem__, default=torch.float32)

    @property
    def mixed(self) -> bool:
        """Whether tensors have different floating types, as where norms are kept in float32."""
        return len({dtype for dtype in self.dtypes.values() if dtype.is_floating_point}) > 1

    def weight_bytes(self, dtype: torch.dtype) -> int:
        """Return the size of all weights in memory in a dtype; an upper bound for GGUF (four bits a weight)."""
        if self.format == "gguf":
            return sum(file.stat().st_size for file in self.files) * 2 * dtype.itemsize
        return sum(self.elements.values()) * dtype.itemsize


def inspect_checkpoint(path: Path) -> Checkpoint:
    """Find and check a champion's files without reading its weights.

    Args:
        path: a directory or a .gguf file.

    Raises:
        ChampionError: when there is no whole, safe checkpoint of a known form, saying what to do.
    """
    if not path.exists():
        raise ChampionError(f"{path} does not exist; give a model directory, a .gguf file or a hub name")
    if path.is_file():
        return _gguf(path) if path.suffix == ".gguf" else _refuse_file(path)
    if not (path / "config.json").is_file():
        return _gguf(_only_gguf(path))
    if (path / "adapter_config.json").exists():
        raise ChampionError(f"{path} is an adapter, not a whole model; merge it into its base model first")
    _check_config(path / "config.json")
    if not any((path / name).is_file() for name in _TOKENIZER_FILES):
        raise ChampionError(f"{path} has no tokenizer; one of {', '.join(_TOKENIZER_FILES)} is expected beside it")
    return _weights(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a checkpoint.

    Raises:
        ChampionError: when it is not one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise ChampionError(f"{path} is not valid JSON ({cause}); {_AGAIN}") from cause
    if not isinstance(content, dict):
        raise ChampionError(f"{path} holds a {type(content).__name__}; a JSON object is expected")
    return content


def _check_config(path: Path) -> None:
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    config = read_json(path)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        if config.get("auto_map"):
            raise ChampionError(f"{path}: model_type {kind!r} needs the model's own code, which is never executed here")
        raise ChampionError(
            f"{path}: model_type is {kind!r}, which this transformers does not know; upgrade or convert"
        )
    wanted = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    names = [name for name in config.get("architectures") or [] if isinstance(name, str)]
    causal = [name for name in names if "CausalLM" in name or "LMHead" in name or name == wanted]
    if wanted is None or (names and not causal):
        found = names[0] if names else kind
        raise ChampionError(f"{path}: {found} is not a causal language model; a model that generates text is expected")
    if quantised := config.get("quantization_config"):
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else "unknown"
        raise ChampionError(f"{path}: weights are quantised ({method}) and cannot be trained; give the model before it")
    if "transformers_weights" in config:
        raise ChampionError(f"{path}: transformers_weights is not supported; name the weights model.safetensors")


def _weights(directory: Path) -> Checkpoint:
    for name, format_, check in (
        ("model.safetensors", "safetensors", _safetensors_header),
        ("pytorch_model.bin", "pickle", _pickle_header),
    ):
        files = _weight_files(directory, name)
        if not files:
            continue
        headers = {file: check(file) for file in files}
        _check_index(directory / f"{name}.index.json", headers)
        tensors = {key: value for header in headers.values() for key, value in header.items()}
        elements: Counter[torch.dtype] = Counter()
        for dtype, count in tensors.values():
            elements[dtype] += count
        dtypes = {key: dtype for key, (dtype, _) in tensors.items()}
        return Checkpoint(directory, format_, files, dtypes, dict(elements))  # type: ignore[arg-type]
    return _refuse_weightless(directory)


def _weight_files(directory: Path, name: str) -> tuple[Path, ...]:
    if (directory / name).is_file():
        return (directory / name,)
    index = directory / f"{name}.index.json"
    if not index.is_file():
        return ()
    shards = sorted(set(_weight_map(index).values()))
    for shard in shards:
        if Path(shard).name != shard:
            raise ChampionError(f"{index} names {shard!r}; a file in the same directory is expected")
        if not (directory / shard).is_file():
            raise ChampionError(f"{index} names {shard}, which is missing; {_AGAIN}")
    return tuple(directory / shard for shard in shards)


def _weight_map(index: Path) -> dict[str, str]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(shard, str) for shard in names.values()):
        raise ChampionError(f"{index} has no weight_map of tensor names to files; {_AGAIN}")
    return names


def _check_index(index: Path, headers: Mapping[Path, Mapping[str, object]]) -> None:
    if len(headers) == 1 and next(iter(headers)).name == index.name.removesuffix(".index.json"):
        return
    for tensor, shard in _weight_map(index).items():
        if tensor not in headers[index.parent / shard]:
            raise ChampionError(f"{index} says that {shard} holds {tensor}, but it does not; {_AGAIN}")


def _safetensors_header(path: Path) -> dict[str, tuple[torch.dtype, int]]:
    """Return type and number of elements of every tensor, after comparing the file's size with its header."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > size - 8:
                raise ValueError("its header ends after the file does")
            header = json.loads(stream.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        expected = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        found = {name: (str(entry["dtype"]), prod(entry["shape"])) for name, entry in tensors.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as cause:
        raise ChampionError(f"{path} is not a whole safetensors file ({cause}); {_AGAIN}") from cause
    if expected != size:
        raise ChampionError(f"{path} has {size} bytes but its header announces {expected}; {_AGAIN}")
    if strange := sorted({name for name, _ in found.values()} - set(SAFETENSORS_DTYPES)):
        raise ChampionError(f"{path} holds {strange[0]} tensors; expected {', '.join(SAFETENSORS_DTYPES)}")
    return {name: (SAFETENSORS_DTYPES[dtype], count) for name, (dtype, count) in found.items()}


def _pickle_header(path: Path) -> dict[str, tuple[torch.dtype, int]]:
    """Return type and number of elements of every tensor of a pickle; only tensors and plain containers load."""
    try:
        # On the meta device the unpickler runs in full but no weights are kept.
        content = torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as cause:
        raise ChampionError(f"{path} holds more than tensors, and nothing of it was executed; {_CONVERT}") from cause
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as cause:
        raise ChampionError(f"{path} is not a whole PyTorch checkpoint ({_first_line(cause)}); {_AGAIN}") from cause
    if not isinstance(content, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise ChampionError(f"{path} is not a mapping of names to tensors; {_CONVERT}")
    return {str(name): (tensor.dtype, tensor.numel()) for name, tensor in content.items()}


def _gguf(path: Path) -> Checkpoint:
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        raise ChampionError(f"{path} does not begin like a GGUF file; {_AGAIN}")
    if "-of-" in path.stem:
        raise ChampionError(f"{path} is one part of a split GGUF file; merge the parts with llama-gguf-split --merge")
    return Checkpoint(path.parent, "gguf", (path,))


def _only_gguf(directory: Path) -> Path:
    found = sorted(directory.glob("*.gguf"))
    if len(found) > 1:
        raise ChampionError(f"{directory} holds {len(found)} .gguf files; give the path of one, as {found[0].name}")
    if not found:
        raise ChampionError(f"{directory} is not a model directory: it has neither config.json nor a .gguf file")
    return found[0]


def _refuse_file(path: Path) -> Checkpoint:
    if path.suffix in {".pt", ".pth", ".ckpt", ".bin", ".pkl"}:
        raise ChampionError(f"{path} is a pickle without a configuration or tokenizer; {_CONVERT}")
    if path.suffix == ".safetensors":
        raise ChampionError(f"{path} is weights alone; give the directory with its config.json and tokenizer")
    raise ChampionError(f"{path} is not a model; give a model directory, a .gguf file or a hub name")


def _refuse_weightless(directory: Path) -> Checkpoint:
    expected = "model.safetensors, its index, or pytorch_model.bin"
    pickles = sorted(file.name for suffix in ("pt", "pth", "ckpt") for file in directory.glob(f"*.{suffix}"))
    if pickles:
        raise ChampionError(f"{directory}: {pickles[0]} is a pickle of unknown form; {_CONVERT}")
    other = sorted(
        file.name for suffix in ("safetensors", "bin", "h5", "msgpack") for file in directory.glob(f"*.{suffix}")
    )
    found = f"found {other[0]}" if other else "found none"
    raise ChampionError(f"{directory} has no weights under a name that loads: expected {expected}; {found}")


def _first_line(cause: BaseException) -> str:
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
