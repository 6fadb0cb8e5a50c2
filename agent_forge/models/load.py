"""Loading a champion: a Hugging Face directory or a GGUF file, checked before and after its weights are read.

    loaded = load_champion("./champion", device="auto")
    loaded.model, loaded.tokenizer, loaded.warnings

Nothing that comes with a model is ever executed: no custom code, and pickles only as far as they are tensors. A
weight that the checkpoint lacks is an error: transformers would fill it with random numbers and a log line.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging as transformers_logging

from agent_forge.errors import ChampionError, ConfigError
from agent_forge.models.checks import Checkpoint, inspect_checkpoint
from agent_forge.models.device import choose_attention, place, resolve_device, resolve_dtype
from agent_forge.models.memory import is_out_of_memory
from agent_forge.storage.files import unwritable
from agent_forge.storage.references.hub import HubReference

# Configuration fields that limit the number of positions, as the architectures call them.
_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length")
# Above this a context length means "no limit" in somebody's configuration.
_UNLIMITED = 10**9


@dataclass(frozen=True)
class LoadedModel:
    """A model in eval mode with its tokenizer and what is worth knowing about both.

    Attributes:
        model: a transformers causal language model.
        tokenizer: its tokenizer, as the checkpoint has it; it may lack a padding token.
        checkpoint_dtype: what most weights are stored in.
        dtype: the arithmetic they run in.
        attention: name of the attention backend.
        context_length: most tokens the model has positions for; None when there is no limit.
        warnings: what the user should know, one line each.
        path: the directory or .gguf file it came from.
        stored_dtypes: parameters stored in another dtype than `checkpoint_dtype`, by name.
    """

    model: Any
    tokenizer: Any
    checkpoint_dtype: torch.dtype
    dtype: torch.dtype
    attention: str
    context_length: int | None
    warnings: tuple[str, ...] = ()
    path: Path = Path()
    stored_dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)

    def stored_dtype(self, name: str) -> torch.dtype:
        """Return the dtype that a parameter has on disk."""
        return self.stored_dtypes.get(name, self.checkpoint_dtype)


def load_champion(path: str, device: str = "auto", dtype: str = "auto", attention: str = "auto") -> LoadedModel:
    """Load a causal language model for inference.

    Args:
        path: directory, .gguf file or, where there is neither, a name on the Hugging Face hub.
        device: auto, cpu, cuda or cuda:N.
        dtype: auto, float32, bfloat16 or float16, see `resolve_dtype`; `exact` is the smallest that the device runs
            well and that holds every weight of the checkpoint without rounding.
        attention: auto, eager, sdpa or flash_attention_2.

    Raises:
        ChampionError: when it is not a whole, safe causal language model with a tokenizer that has an end token.
        ConfigError: for a device, dtype or attention that is not there, or weights that do not fit the device.
    """
    where = resolve_device(device)
    source = _local(path)
    checkpoint = inspect_checkpoint(source)
    compute = _compute_dtype(dtype, checkpoint, where)
    with quiet(), _explained(source):
        tokenizer = _read_tokenizer(checkpoint)
        config = transformers.AutoConfig.from_pretrained(checkpoint.directory, **_source_arguments(checkpoint))
        soft_cap = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
        backend = choose_attention(attention, _model_class(config), where, compute, soft_cap)
        model, report = _read_model(checkpoint, config, compute, backend, where)
    warnings = [*_check_complete(source, report), *_check_tokenizer(source, model, tokenizer)]
    _check_finite(source, model)
    return LoadedModel(
        model=model.eval(),
        tokenizer=tokenizer,
        checkpoint_dtype=checkpoint.dtype,
        dtype=compute,
        attention=backend,
        context_length=context_length(model.config),
        warnings=tuple(warnings),
        path=source,
        stored_dtypes=_stored_dtypes(checkpoint, model),
    )


def outline(path: Path) -> int | None:
    """Check everything about a champion that can be known without its weights; return its context length in tokens.

    A GGUF file keeps its tokenizer among its weights, so of such a champion only the file itself is checked.

    Raises:
        ChampionError: when it is not a whole, safe causal language model with a tokenizer that has an end token.
    """
    checkpoint = inspect_checkpoint(path)
    if checkpoint.format == "gguf":
        return None
    with quiet(), _explained(path):
        tokenizer = _read_tokenizer(checkpoint)
        config = transformers.AutoConfig.from_pretrained(checkpoint.directory, **_source_arguments(checkpoint))
        _model_class(config)
    _check_end_token(path, tokenizer)
    return context_length(config)


def load_outline(path: Path, device: str = "auto", dtype: str = "auto") -> LoadedModel:
    """Load everything about a model but its weights, which another program is going to hold.

    Args:
        path: directory.
        device: as of `load_champion`.
        dtype: as of `load_champion`.

    Returns:
        A model whose weights have shapes and no values, on the device `meta`.

    Raises:
        ChampionError: when it is not a whole, safe causal language model with a tokenizer that has an end token.
        ConfigError: for a device or dtype that is not there.
    """
    where = resolve_device(device)
    checkpoint = inspect_checkpoint(path)
    compute = _compute_dtype(dtype, checkpoint, where)
    with quiet(), _explained(path):
        tokenizer = _read_tokenizer(checkpoint)
        config = transformers.AutoConfig.from_pretrained(checkpoint.directory, **_source_arguments(checkpoint))
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=compute)
        if (checkpoint.directory / transformers.utils.GENERATION_CONFIG_NAME).exists():
            model.generation_config = transformers.GenerationConfig.from_pretrained(checkpoint.directory)
    return LoadedModel(
        model=model.eval(),
        tokenizer=tokenizer,
        checkpoint_dtype=checkpoint.dtype,
        dtype=compute,
        attention="none",
        context_length=context_length(config),
        warnings=tuple(_check_tokenizer(path, model, tokenizer)),
        path=path,
    )


def context_length(config: Any) -> int | None:
    """Return the most tokens a model has positions for, None when it has no limit (recurrent models, ALiBi)."""
    text = config.get_text_config()
    if getattr(text, "alibi", False) or text.model_type in {"bloom", "mpt"}:
        return None
    for name in _CONTEXT_FIELDS:
        value = getattr(text, name, None)
        if isinstance(value, int) and 0 < value < _UNLIMITED:
            return value
    return None


def _local(path: str) -> Path:
    """Return the path, downloading what is no path but may be a name on the hub (`owner/name`)."""
    local = Path(path).expanduser()
    plain = path.count("/") == 1 and not path.startswith((".", "/", "~")) and not local.parent.exists()
    return HubReference(path).path() if plain and not local.exists() else local


def _compute_dtype(name: str, checkpoint: Checkpoint, device: torch.device) -> torch.dtype:
    if name == "exact":
        name = "float32" if checkpoint.mixed else "auto"
    return resolve_dtype(name, checkpoint.dtype, device)


def _source_arguments(checkpoint: Checkpoint) -> dict[str, Any]:
    arguments: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    return arguments | ({"gguf_file": checkpoint.files[0].name} if checkpoint.format == "gguf" else {})


def _read_tokenizer(checkpoint: Checkpoint) -> Any:
    return transformers.AutoTokenizer.from_pretrained(checkpoint.directory, **_source_arguments(checkpoint))


def _model_class(config: Any) -> type:
    model_class: type = transformers.AutoModelForCausalLM._model_mapping[type(config)]
    return model_class[0] if isinstance(model_class, tuple) else model_class


def _read_model(
    checkpoint: Checkpoint, config: Any, dtype: torch.dtype, attention: str, device: torch.device
) -> tuple[Any, dict[str, Any]]:
    arguments = _source_arguments(checkpoint)
    if checkpoint.format == "safetensors":
        arguments["use_safetensors"] = True
    if placement := place(device, checkpoint.weight_bytes(dtype)):
        arguments["device_map"] = placement
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoint.directory,
        config=config,
        dtype=dtype,
        attn_implementation=attention,
        output_loading_info=True,
        **arguments,
    )
    if checkpoint.format == "gguf":
        _forget_quantisation(model)
    return model, report


def _forget_quantisation(model: Any) -> None:
    """A GGUF file is dequantised while it is read; saving must not claim that it still is quantised."""
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _check_complete(source: Path, report: Mapping[str, Any]) -> list[str]:
    if missing := sorted(report.get("missing_keys") or ()):
        raise ChampionError(
            f"{source} lacks {len(missing)} weights, among them {missing[0]}; download it again or use the whole model"
        )
    unexpected = sorted(report.get("unexpected_keys") or ())
    return [f"{len(unexpected)} weights are not part of the architecture: {unexpected[0]}"] if unexpected else []


def _check_finite(source: Path, model: Any) -> None:
    for name, weight in model.named_parameters():
        # The extremes carry NaN and infinity without a mask as large as the weight.
        if weight.numel() and not all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(weight.detach())):
            raise ChampionError(f"{source}: {name} holds NaN or infinity; the checkpoint is damaged, use another")


def _check_tokenizer(source: Path, model: Any, tokenizer: Any) -> list[str]:
    _check_end_token(source, tokenizer)
    rows = model.get_input_embeddings().weight.shape[0]
    beyond = sorted(token for token, index in tokenizer.get_vocab().items() if index >= rows)
    if not beyond:
        return []
    if set(beyond) - set(tokenizer.get_added_vocab()) or tokenizer.eos_token_id >= rows:
        raise ChampionError(
            f"{source}: its tokenizer knows {len(tokenizer)} tokens but its embedding has {rows} rows; "
            "the tokenizer of this very model is expected"
        )
    return [f"{len(beyond)} added tokens have no embedding row: {beyond[0]}"]


def _check_end_token(source: Path, tokenizer: Any) -> None:
    if tokenizer.eos_token_id is None:
        raise ChampionError(f"{source}: its tokenizer has no end-of-sequence token; set eos_token in tokenizer_config")


def _stored_dtypes(checkpoint: Checkpoint, model: Any) -> dict[str, torch.dtype]:
    """Return the parameters of a mixed checkpoint that are not stored in its main dtype.

    Names in files can differ from those in the model, so a parameter of unknown name keeps its full width where the
    main dtype would round it.
    """
    if not checkpoint.mixed:
        return {}
    found = {}
    for name, parameter in model.named_parameters():
        stored = checkpoint.dtypes.get(name)
        if stored is None:
            exact = torch.equal(parameter.to(checkpoint.dtype).to(parameter.dtype), parameter)
            stored = checkpoint.dtype if exact else parameter.dtype
        if stored != checkpoint.dtype:
            found[name] = stored
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and advice out of the user's terminal; errors still raise."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def _explained(source: Path) -> Iterator[None]:
    """Turn whatever transformers raises about a checkpoint into one line."""
    try:
        yield
    except (ChampionError, ConfigError):
        raise
    except ImportError as cause:
        raise ChampionError(f"{source} needs a package that is missing: {_first_line(cause)}") from cause
    except Exception as cause:
        if is_out_of_memory(cause):
            raise ConfigError(f"{source} does not fit in memory; use a smaller dtype or another device") from cause
        if unwritable(cause) is not None:
            raise
        raise ChampionError(
            f"{source} cannot be loaded as a causal language model: {_first_line(cause)}; use a whole, unmodified copy"
        ) from cause


def _first_line(cause: BaseException) -> str:
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")
