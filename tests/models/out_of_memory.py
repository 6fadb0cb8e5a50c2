"""The errors that lack of memory shows by, on a GPU, of PyTorch in main memory, and of Python."""

import pytest
import torch

ERRORS = {
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 4000000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "python": MemoryError(),
}
every_kind = pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
