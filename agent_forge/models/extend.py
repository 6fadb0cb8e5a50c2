"""Adding the two thought tokens to a champion without moving what it says.

New input rows start from the embedding of a text (a line break by default), new output rows of untied models from the
mean of the old ones (Hewitt 2021), so that an untrained token neither derails the model nor is likely to be sampled.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agent_forge.errors import ChampionError
from agent_forge.models.load import LoadedModel
from agent_forge.storage.files import move_into_place, unwritable, writing_to

# Logits of the old vocabulary may move by less than this, in float32.
LARGEST_LOGIT_CHANGE = 1e-5
_PROBE_TOKENS = 32


@dataclass(frozen=True)
class Extended:
    """The extended model and what was done to it; sizes are rows of the input embedding."""

    model: Any
    tokenizer: Any
    ids: tuple[int, int]
    old_vocabulary: int
    new_vocabulary: int
    tied: bool
    recognised: bool
    largest_logit_change: float


def extend(
    loaded: LoadedModel, start_token: str, end_token: str, init_text: str = "\n", pad_to_multiple: int = 1
) -> Extended:
    """Add the thought tokens to a loaded model, in place.

    Args:
        loaded: the champion.
        start_token: opens a thought.
        end_token: closes a thought.
        init_text: text whose mean embedding the new rows start from; empty: the mean of all rows.
        pad_to_multiple: round the number of rows up to a multiple of this.

    Raises:
        ChampionError: when a token cannot be one id, or the logits of the old vocabulary would move.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    old_rows = model.get_input_embeddings().num_embeddings
    known = len(tokenizer)
    probe = torch.arange(min(_PROBE_TOKENS, known), device=model.device)[None]
    before_V = _last_logits(model, probe)
    init_ids = tokenizer(init_text, add_special_tokens=False)["input_ids"] if init_text else []
    added = tokenizer.add_special_tokens(
        {"additional_special_tokens": [start_token, end_token]}, replace_extra_special_tokens=False
    )
    ids = _single_ids(tokenizer, start_token, end_token)
    if added:
        _make_rows(model, max(old_rows, len(tokenizer)), pad_to_multiple)
        _start_rows(model, [token for token in ids if token >= known], init_ids, known)
    change = float((_last_logits(model, probe)[:known] - before_V[:known]).abs().max())
    if change >= LARGEST_LOGIT_CHANGE:
        raise ChampionError(f"adding the thought tokens moves the champion's logits by {change:.1e}; it must not")
    return Extended(
        model=model,
        tokenizer=tokenizer,
        ids=ids,
        old_vocabulary=old_rows,
        new_vocabulary=model.get_input_embeddings().num_embeddings,
        tied=_tied(model),
        recognised=added == 0,
        largest_logit_change=change,
    )


def save_extended(extended: Extended, directory: Path, dtype: torch.dtype, max_shard_size: str = "5GB") -> None:
    """Save an extended model in the checkpoint's own dtype; see `save_model`."""
    save_model(extended.model, extended.tokenizer, directory, dtype, max_shard_size)


def save_model(model: Any, tokenizer: Any, directory: Path, dtype: torch.dtype, max_shard_size: str = "5GB") -> None:
    """Save a model and its tokenizer as safetensors, whole or not at all.

    The model itself stays in the arithmetic it runs in.

    Raises:
        OutputError: when the place cannot be written to.
    """
    prepared = directory.with_name(f".{directory.name}.preparing")
    running = next(model.parameters()).dtype
    with writing_to(directory):
        shutil.rmtree(prepared, ignore_errors=True)
        try:
            model.to(dtype).save_pretrained(prepared, safe_serialization=True, max_shard_size=max_shard_size)
            tokenizer.save_pretrained(prepared)
        except Exception as cause:
            shutil.rmtree(prepared, ignore_errors=True)
            if not isinstance(cause, OSError) and (advice := unwritable(cause)) is not None:
                raise OSError(28, advice) from cause
            raise
        finally:
            model.to(running)
        move_into_place(prepared, directory)


def _make_rows(model: Any, rows: int, multiple: int) -> None:
    wanted = -(-rows // multiple) * multiple
    if wanted > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(wanted, mean_resizing=False)


@torch.no_grad()
def _start_rows(model: Any, new_ids: list[int], init_ids: list[int], known: int) -> None:
    embedding_VD = model.get_input_embeddings().weight
    chosen_ND = embedding_VD[init_ids] if init_ids else embedding_VD[:known]
    embedding_VD[new_ids] = chosen_ND.float().mean(dim=0).to(embedding_VD)
    output = model.get_output_embeddings()
    if output is None or _tied(model):
        return
    output.weight[new_ids] = output.weight[:known].float().mean(dim=0).to(output.weight)
    if getattr(output, "bias", None) is not None:
        output.bias[new_ids] = output.bias[:known].float().mean().to(output.bias)


def _tied(model: Any) -> bool:
    output = model.get_output_embeddings()
    return output is not None and output.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()


def _single_ids(tokenizer: Any, start_token: str, end_token: str) -> tuple[int, int]:
    found = []
    for token in (start_token, end_token):
        ids = tokenizer(token, add_special_tokens=False)["input_ids"]
        if len(ids) != 1 or tokenizer.decode(ids) != token:
            raise ChampionError(f"the tokenizer does not keep {token} as one token; choose another text for it")
        found.append(int(ids[0]))
    return found[0], found[1]


@torch.inference_mode()
def _last_logits(model: Any, probe_BT: torch.Tensor) -> torch.Tensor:
    logits_V: torch.Tensor = model(input_ids=probe_BT).logits[0, -1].float()
    return logits_V
