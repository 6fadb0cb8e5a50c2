"""One bake by several processes: what each of them does of a step, and how they agree.

    torchrun --nproc-per-node 2 -m agent_forge.cli stage bake --executor-input JSON

All processes plan the same steps and hold the same trained values. Of every forward pass each takes some of the rows;
losses and gradients are sums over supervised tokens, scaled by those of the whole step, so adding up what the processes
computed gives what one process would have, but for the order of sums. Then all take the same step. The first process
alone writes. A process alone (`ALONE`) takes all rows and adds up nothing: the same numbers, bit for bit, as ever.

`parts.py` keeps layers in parts, one per process.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from agent_forge.errors import ConfigError, EngineError
from agent_forge.models.memory import is_out_of_memory
from agent_forge.models.parts import is_part

T = TypeVar("T")

# Values that are added up in one message.
BUCKET = 2**24
# A process that is silent for so long is lost. What is done between messages is a pass, or the writing of a checkpoint.
PATIENCE = timedelta(minutes=30)
# How the libraries that carry the messages say that nobody answers.
_LOST = re.compile(r"gloo|nccl|connection|socket|broken pipe|timed? ?out|peer|rendezvous|store", re.IGNORECASE)


@dataclass(frozen=True)
class Ranks:
    """The processes of one bake, seen from one of them.

    Attributes:
        number: of this process, from 0.
        count: of all.
    """

    number: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.number == 0

    def share(self, rows: Sequence[T]) -> tuple[tuple[T, ...], bool]:
        """Return this process's rows of a pass, and whether they count.

        Where there are fewer rows than processes, the others compute the first row too, for nothing: with layers in
        parts, every process has to take part in every pass.
        """
        own = tuple(rows[self.number :: self.count])
        return (own, True) if own else (tuple(rows[:1]), False)

    def add_up(self, *values: float) -> tuple[float, ...]:
        """Return the sums of every process's values."""
        if self.count == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64, device=_messages_on())
        distributed.all_reduce(sums)
        return tuple(sums.tolist())

    def add_up_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the sums of the gradients; of what is in parts they are sums already."""
        if self.count == 1:
            return
        for bucket in _buckets(value for value in parameters if not is_part(value)):
            gradients = [value.grad if value.grad is not None else torch.zeros_like(value) for value in bucket]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            distributed.all_reduce(flat)
            for value, part in zip(bucket, torch.split(flat, [value.numel() for value in bucket]), strict=True):
                value.grad = part.view_as(value)

    def agree(self, make: Callable[[], T]) -> T:
        """Return what the first process makes, to all."""
        if self.count == 1:
            return make()
        said: list[Any] = [make() if self.first else None]
        distributed.broadcast_object_list(said, device=_messages_on())
        made: T = said[0]
        return made


ALONE = Ranks()


def torchrun_device(device: str) -> str:
    """Return the device of this process: under torchrun each takes its own GPU, unless it is told to use none."""
    local = os.environ.get("LOCAL_RANK")
    if local is None or int(os.environ.get("WORLD_SIZE", "1")) == 1 or device == "cpu":
        return device
    if not torch.cuda.is_available():
        return device
    if int(local) >= torch.cuda.device_count():
        raise ConfigError(
            f"process {local} of this machine has no GPU of its own: there are {torch.cuda.device_count()}; start as "
            "many processes as there are GPUs"
        )
    return f"cuda:{local}"


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the other processes that torchrun started; alone where it started none.

    Args:
        device: of this process.

    Raises:
        EngineError: when another process is gone or silent, now or while they work.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    on_gpu = torch.cuda.is_available() and device != "cpu"
    try:
        if on_gpu:
            torch.cuda.set_device(torch.device(device))
        distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    except RuntimeError as cause:
        if is_out_of_memory(cause) or not _LOST.search(str(cause)):
            raise
        # Gloo puts in front which line of its own source says so.
        said = re.sub(r"^\[[^\]]*\] ", "", str(cause).strip()).splitlines()[0]
        raise EngineError(
            f"another process of this bake is gone or silent ({said[:80]}); nothing was baked, start all of them "
            "again: the last checkpoint is continued"
        ) from cause
    # After a loss there is nobody to take leave of.
    distributed.destroy_process_group()


def _buckets(parameters: Iterable[nn.Parameter], most: int = BUCKET) -> Iterator[list[nn.Parameter]]:
    """Group parameters of one dtype, in order, so that a message is neither tiny nor huge."""
    bucket: list[nn.Parameter] = []
    for value in parameters:
        held = sum(other.numel() for other in bucket)
        if bucket and (value.dtype != bucket[0].dtype or held + value.numel() > most):
            yield bucket
            bucket = []
        bucket.append(value)
    if bucket:
        yield bucket


def _messages_on() -> torch.device:
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
