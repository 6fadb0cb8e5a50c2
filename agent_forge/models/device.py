"""Where a model runs and in which arithmetic: device, dtype, attention backend and placement over several GPUs.

Each choice is a function from what the user asked for and what is there to one answer, so that a run can report it.
"""

import importlib.util
import re
from collections.abc import Mapping
from typing import Literal

import torch

from agent_forge.errors import ConfigError

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
HALF = (torch.bfloat16, torch.float16)
ATTENTION_BACKENDS = ("eager", "sdpa", "flash_attention_2")

# Share of free memory that weights may take; activations and the key-value cache need the rest.
WEIGHT_SHARE = 0.85

DeviceMap = Literal["auto"] | dict[str, torch.device]


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device that is there.

    Args:
        name: `auto` is CUDA where there is a CUDA device, else the CPU. A `cuda` without an index leaves the choice
            among several GPUs to `place`.

    Raises:
        ConfigError: for another name, or a CUDA device that this machine or this PyTorch lacks.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ConfigError(f"device is {name!r}; expected auto, cpu, cuda or cuda:N")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        _check_cuda(name, device.index)
    return device


def resolve_dtype(name: str, checkpoint: torch.dtype, device: torch.device) -> torch.dtype:
    """Choose the arithmetic: `auto` is the checkpoint's own dtype on CUDA and float32 on a CPU.

    A checkpoint in any other dtype than the three of `DTYPES` runs in float32.

    Raises:
        ConfigError: for a name that is neither `auto` nor one of `DTYPES`.
    """
    if name == "auto":
        return checkpoint if device.type == "cuda" and checkpoint in DTYPES.values() else torch.float32
    if name not in DTYPES:
        raise ConfigError(f"dtype is {name!r}; expected auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def choose_attention(
    name: str, model_class: type, device: torch.device, dtype: torch.dtype, soft_cap: bool = False
) -> str:
    """Choose the attention backend of a model class.

    Args:
        name: `auto` is flash_attention_2 where it is installed, the device is CUDA and the dtype has 16 bits; else
            sdpa; else eager, each only where the class supports it.
        model_class: a transformers model class.
        device: where the model will run.
        dtype: its arithmetic.
        soft_cap: whether it bounds attention scores; sdpa cannot, and in some transformers 5 leaves the bound out.

    Raises:
        ConfigError: when a backend asked for by name cannot be used, saying why.
    """
    if name == "auto":
        return next(
            backend
            for backend in reversed(ATTENTION_BACKENDS)
            if _fault(backend, model_class, device, dtype, soft_cap) is None
        )
    if name not in ATTENTION_BACKENDS:
        raise ConfigError(f"attention is {name!r}; expected auto, {', '.join(ATTENTION_BACKENDS)}")
    if fault := _fault(name, model_class, device, dtype, soft_cap):
        raise ConfigError(f"attention is {name!r} but {fault}; use auto")
    return name


def place(device: torch.device, weight_bytes: int) -> DeviceMap | None:
    """Choose where the weights go while they are read, in the form transformers and accelerate take.

    Args:
        device: from `resolve_device`; with an index the model stays on that one GPU.
        weight_bytes: size of all weights in the arithmetic chosen.

    Returns:
        None on a CPU; one device for the whole model where it fits; `auto`, layers spread over all GPUs, otherwise.

    Raises:
        ConfigError: when the weights do not fit the GPUs together. Nothing is offloaded to main memory: decoding
            from there is slower than a CPU run.
    """
    if device.type != "cuda":
        return None
    if device.index is not None:
        return _one_or_refuse(device, weight_bytes, _free_bytes(device.index))
    free = [_free_bytes(index) for index in range(torch.cuda.device_count())]
    roomiest = max(range(len(free)), key=free.__getitem__)
    if len(free) == 1 or weight_bytes <= WEIGHT_SHARE * free[roomiest]:
        return _one_or_refuse(torch.device("cuda", roomiest), weight_bytes, free[roomiest])
    if weight_bytes > WEIGHT_SHARE * sum(free):
        raise _too_big(f"{len(free)} GPUs", weight_bytes, sum(free))
    return "auto"


def _one_or_refuse(device: torch.device, weight_bytes: int, free: int) -> dict[str, torch.device]:
    if weight_bytes > WEIGHT_SHARE * free:
        raise _too_big(str(device), weight_bytes, free)
    return {"": device}


def _too_big(where: str, weight_bytes: int, free: int) -> ConfigError:
    return ConfigError(
        f"the weights take {weight_bytes / 2**30:.1f} GiB and {where} has {free / 2**30:.1f} GiB free; "
        "use a smaller dtype, more GPUs or device cpu"
    )


def _free_bytes(index: int) -> int:
    return int(torch.cuda.mem_get_info(index)[0])


def _check_cuda(name: str, index: int | None) -> None:
    if not torch.cuda.is_available():
        build = "this PyTorch is built without CUDA" if torch.version.cuda is None else "PyTorch sees no CUDA device"
        raise ConfigError(f"device is {name!r} but {build}; use device cpu, or a CUDA build on a machine with a GPU")
    count = torch.cuda.device_count()
    if index is not None and index >= count:
        raise ConfigError(f"device is {name!r} but there are only cuda:0 to cuda:{count - 1}; use one of them or auto")


def _fault(backend: str, model_class: type, device: torch.device, dtype: torch.dtype, soft_cap: bool) -> str | None:
    """Return why a backend cannot be used, None when it can; attention in plain PyTorch (eager) always can."""
    if backend == "sdpa" and (soft_cap or not getattr(model_class, "_supports_sdpa", False)):
        return f"{model_class.__name__} does not support it"
    if backend == "flash_attention_2":
        if not getattr(model_class, "_supports_flash_attn", False):
            return f"{model_class.__name__} does not support it"
        if device.type != "cuda" or dtype not in HALF:
            return "it needs a CUDA device and bfloat16 or float16"
        if importlib.util.find_spec("flash_attn") is None:
            return "the package flash-attn is not installed"
    return None
