"""Tiny champions before and after extending, for tests of what extending and saving change.

extended = extended_at(tiny_champion(tmp_path / "champion"))
logits(extended.model, extended.tokenizer.encode(TEXT))
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import KINDS, tiny_model, tiny_tokenizer
from transformers import PreTrainedTokenizerFast

from agent_forge.models.extend import Extended, extend
from agent_forge.models.load import LoadedModel, load_champion
from agent_forge.records import FileRecord
from agent_forge.storage.files import list_files

START, END = "<|startofthought|>", "<|endofthought|>"
TEXT = f"Question: what is 3 + 4?{START}3 + 4 = 7\n{END}Answer: 7"
OLD_IDS = tuple(tiny_tokenizer().encode("The quick brown fox\nAnswer: 7?"))
SIZE = len(tiny_tokenizer())
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
EVERY_ARCHITECTURE = pytest.mark.parametrize("kind", KINDS)
BOTH_TIES = pytest.mark.parametrize("tied", [True, False])


def exact(directory: Path) -> LoadedModel:
    """Load a champion in an arithmetic that holds its weights."""
    return load_champion(str(directory), dtype="exact")


def extended_at(directory: Path, **options: Any) -> Extended:
    """Load a champion and extend it."""
    return extend(exact(directory), START, END, **options)


def in_memory(kind: str = "llama", **changes: Any) -> LoadedModel:
    """Return a champion that no file stands behind; `changes` go to `tiny_model`."""
    model = tiny_model(kind, **changes)
    return LoadedModel(model, tiny_tokenizer(), model.dtype, model.dtype, "eager", changes.get("context"))


@torch.no_grad()
def logits(model: Any, ids: Sequence[int] = OLD_IDS) -> torch.Tensor:
    """Return logits (T, V) of one text."""
    return model(torch.tensor([list(ids)]), use_cache=False).logits[0].float()


def weights(model: Any) -> dict[str, torch.Tensor]:
    """Return copies of a model's weights."""
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def tokens_added(*tokens: str) -> PreTrainedTokenizerFast:
    """Return the tiny tokenizer with further special tokens."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(list(tokens), special_tokens=True)
    return tokenizer


def edit_json(path: Path, **changes: Any) -> None:
    """Set fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def as_mixed(directory: Path, *wider: str) -> Path:
    """Store the weights named in float32, with digits that a smaller dtype would round away."""
    state = load_file(directory / "model.safetensors")
    widened = {name: torch.rand(state[name].shape, generator=torch.Generator().manual_seed(1)) for name in wider}
    save_file(state | widened, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def all_entries(directory: Path) -> tuple[list[tuple[Path, int]], tuple[FileRecord, ...]]:
    """Return every entry below a directory with its time of change, hidden ones too, and the digests of its files."""
    return sorted((path, path.stat().st_mtime_ns) for path in directory.rglob("*")), list_files(directory)
