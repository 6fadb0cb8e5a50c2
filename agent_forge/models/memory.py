"""What it looks like when a device's memory runs out, whichever device it is, and how to give memory back."""

import gc

import torch

# PyTorch has an error of its own for GPUs only; of main memory, and of other devices, the message alone tells.
_SAID = ("can't allocate memory", "not enough memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory, so that less at a time may do."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)


def give_back_memory() -> None:
    """Give back what is not used any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
