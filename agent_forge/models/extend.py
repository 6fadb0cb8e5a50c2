"""Adding the two thought tokens to a champion without moving what it says.

    extended = extend(load_champion("./champion", dtype="exact"), "<|startofthought|>", "<|endofthought|>")
    save_extended(extended, Path("./extended"))

New input rows start from the embedding of a text (a line break by default), new output rows of untied models from the
mean of the old ones (Hewitt 2021, https://nlp.stanford.edu/~johnhew/vocab-expansion.html), so that an untrained token
neither derails the model nor is likely to be sampled.

Many checkpoints have more embedding rows than their tokenizer has tokens. The first of those spare rows are then
taken for the thought tokens, and only the logits at those two ids, which stood for nothing before, change.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from agent_forge.errors import ChampionError
from agent_forge.models.load import LoadedModel
from agent_forge.models.save import save_model
from agent_forge.models.vocabulary import ThoughtIds, add_thought_tokens, ending_ids

# Logits of the old vocabulary may move by less than this, in float32.
LARGEST_LOGIT_CHANGE = 1e-5
# ... or by the rounding of sums that another matrix shape may order differently, for models with large logits.
_ROUNDING = 8 * torch.finfo(torch.float32).eps
_PROBE_TOKENS = 32


@dataclass(frozen=True)
class Extended:
    """The extended model and what was done to it.

    Attributes:
        loaded: the extended model and its tokenizer, with what is known of the checkpoint.
        ids: of the start and the end token.
        old_vocabulary: embedding rows of the champion.
        new_vocabulary: embedding rows now.
        tied: whether input and output embeddings are one tensor.
        recognised: whether the champion had both tokens already.
        largest_logit_change: over the old vocabulary on a fixed probe, measured with the output layer in float32.
    """

    loaded: LoadedModel
    ids: ThoughtIds
    old_vocabulary: int
    new_vocabulary: int
    tied: bool
    recognised: bool
    largest_logit_change: float

    @property
    def model(self) -> Any:
        """The extended model."""
        return self.loaded.model

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self.loaded.tokenizer


def extend(
    loaded: LoadedModel, start_token: str, end_token: str, init_text: str = "\n", pad_to_multiple: int = 1
) -> Extended:
    """Add the thought tokens to a loaded model.

    The model in memory is extended in place; the tokenizer is copied; the champion's files are not touched. Tokens
    that the tokenizer has already keep their ids and rows.

    Args:
        loaded: the champion, in an arithmetic that holds its weights exactly (`load_champion(dtype="exact")`).
        start_token: opens a thought.
        end_token: closes a thought.
        init_text: text whose mean embedding the new rows start from; empty: the mean of all rows.
        pad_to_multiple: round the number of rows up to a multiple of this; rows are never taken away.

    Raises:
        ConfigError: when a token could occur in ordinary text.
        ChampionError: when a token cannot be one id of its own, or ends the champion's texts, or the logits of the old
            vocabulary would move.
    """
    _check_exact(loaded)
    model = loaded.model
    known = [index for index in loaded.tokenizer.get_vocab().values() if index < _rows(model)]
    tokenizer, ids, added = add_thought_tokens(loaded.tokenizer, start_token, end_token)
    _check_goes_on(model, (start_token, end_token), ids)
    old_rows = _rows(model)
    fresh = sorted({index for index in ids if index in added or index >= old_rows})
    probe_T = _probe(known, loaded.context_length)
    before_TV = _logits(model, probe_T)
    init_ids = [index for index in _encode(loaded.tokenizer, init_text) if index in set(known)]

    rows = max(old_rows, max(tokenizer.get_vocab().values()) + 1)
    _grow(model, -(-rows // pad_to_multiple) * pad_to_multiple)
    _start_rows(loaded, [*fresh, *(row for row in range(old_rows, _rows(model)) if row not in fresh)], init_ids, known)
    change = _check_unmoved(before_TV, _logits(model, probe_T), fresh)
    _check_runs(model, ids)
    return Extended(
        loaded=replace(loaded, model=model, tokenizer=tokenizer),
        ids=ids,
        old_vocabulary=old_rows,
        new_vocabulary=_rows(model),
        tied=_tied(model),
        recognised=not added,
        largest_logit_change=change,
    )


def save_extended(extended: Extended, directory: Path, max_shard_size: str = "5GB") -> None:
    """Save an extended model, whole or not at all; see `save_model`."""
    save_model(extended.loaded, directory, max_shard_size)


def _check_exact(loaded: LoadedModel) -> None:
    for stored in {loaded.checkpoint_dtype, *loaded.stored_dtypes.values()}:
        if torch.promote_types(stored, torch.float32) != torch.float32:
            raise ChampionError(
                f"the champion stores {stored}, which no arithmetic here holds exactly; convert it to float32 first"
            )
        if torch.promote_types(stored, loaded.dtype) != loaded.dtype:
            raise ChampionError(
                f"the champion is loaded in {loaded.dtype} but stores {stored}; load it in float32 to extend it, "
                "or saving would round weights that were not touched"
            )


def _check_goes_on(model: Any, tokens: tuple[str, str], ids: ThoughtIds) -> None:
    """Refuse a thought token at which generation would stop, beside the end token that the tokenizer names."""
    ends = ending_ids(model)
    for token, index in zip(tokens, ids, strict=True):
        if index in ends:
            raise ChampionError(
                f"{token} has id {index}, which ends a text by the champion's generation settings (eos_token_id); "
                "choose another token, or correct them if no token had that id"
            )


def _rows(model: Any) -> int:
    return int(model.get_input_embeddings().weight.shape[0])


def _output(model: Any) -> Any:
    output = model.get_output_embeddings()
    if output is None or output.weight.shape[0] != _rows(model):
        raise ChampionError(f"{type(model).__name__} has no output layer with one row per token; use another model")
    return output


def _tied(model: Any) -> bool:
    return _output(model).weight is model.get_input_embeddings().weight


def _encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False) if text else []
    return [index for index in ids if index != tokenizer.unk_token_id]


def _probe(known: Sequence[int], context: int | None) -> list[int]:
    """Return token ids spread evenly over the old vocabulary."""
    ordered = sorted(known)
    count = min(_PROBE_TOKENS, len(ordered), context or _PROBE_TOKENS)
    return [ordered[position * len(ordered) // count] for position in range(count)]


def _grow(model: Any, rows: int) -> None:
    if rows == _rows(model):
        return
    # The library draws the new rows at random before `_start_rows` sets them: the global generator must not notice.
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        model.resize_token_embeddings(rows, mean_resizing=False)


@torch.no_grad()
def _start_rows(loaded: LoadedModel, new: list[int], init_ids: list[int], known: list[int]) -> None:
    """Set new rows, rounded to what the checkpoint stores so that saving and loading changes nothing."""
    model = loaded.model
    if not new:
        return
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    def fill(weight: torch.Tensor, source: Sequence[int]) -> None:
        mean = weight[list(source)].double().mean(dim=0)
        weight[new] = mean.to(loaded.stored_dtype(names[id(weight)])).to(weight.dtype)

    fill(model.get_input_embeddings().weight, init_ids or known)
    output = _output(model)
    if not _tied(model):
        fill(output.weight, known)
    if getattr(output, "bias", None) is not None:
        fill(output.bias, known)


def _check_unmoved(before_TV: torch.Tensor, after_TV: torch.Tensor, fresh: list[int]) -> float:
    kept_V = torch.ones(before_TV.shape[-1], dtype=torch.bool, device=before_TV.device)
    kept_V[[index for index in fresh if index < len(kept_V)]] = False
    old_TV = before_TV[:, kept_V]
    change = float((after_TV[:, : len(kept_V)][:, kept_V] - old_TV).abs().max())
    limit = max(LARGEST_LOGIT_CHANGE, _ROUNDING * float(old_TV.abs().max()))
    # Written so that a NaN is refused too.
    if not change < limit:
        raise ChampionError(
            f"adding the thought tokens moves the champion's logits by {change:.1e}, expected less than "
            f"{limit:.1e}; its architecture cannot be extended this way"
        )
    return change


def _check_runs(model: Any, ids: ThoughtIds) -> None:
    """Run the new tokens through the model: some architectures have further tables with one row per token."""
    try:
        finite = bool(torch.isfinite(_logits(model, list(ids))).all())
    except (IndexError, RuntimeError) as cause:
        raise ChampionError(f"{type(model).__name__} has tables that the new tokens do not fit: {cause}") from cause
    if not finite:
        raise ChampionError(f"{type(model).__name__} does not give finite logits for the new tokens; use another model")


@torch.no_grad()
def _logits(model: Any, ids: list[int]) -> torch.Tensor:
    """Return logits (T, V) of one text, the output layer computed in float32."""
    with _float_output(_output(model)):
        logits_TV: torch.Tensor = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0]
    return logits_TV.float()


@contextmanager
def _float_output(output: Any) -> Iterator[None]:
    """Let an output layer of 16 bits answer in float32, where a change of shape alone moves nothing."""
    if output.weight.dtype == torch.float32:
        yield
        return

    def widen(module: Any, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> torch.Tensor:
        bias = module.bias.float() if getattr(module, "bias", None) is not None else None
        return torch.nn.functional.linear(inputs[0].float(), module.weight.float(), bias)

    handle = output.register_forward_hook(widen)
    try:
        yield
    finally:
        handle.remove()
