"""Where a model runs, in which arithmetic and with which attention."""

import importlib.util

import torch

from agent_forge.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: when CUDA is asked for where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {name} but {torch.cuda.device_count()} CUDA devices are visible; use --device cpu or auto"
        )
    return device


def resolve_dtype(name: str, checkpoint: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the arithmetic: as named, or the checkpoint's own on CUDA and float32 on a CPU."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    return checkpoint if device.type == "cuda" else torch.float32


def resolve_attention(name: str, dtype: torch.dtype, device: torch.device) -> str | None:
    """Return the attention backend; None leaves the choice between sdpa and eager to transformers."""
    if name != "auto":
        return name
    flash = importlib.util.find_spec("flash_attn") is not None
    half = dtype in (torch.bfloat16, torch.float16)
    return "flash_attention_2" if flash and half and device.type == "cuda" else None
