"""What a sandboxed process may use."""

import resource
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one process; the wall clock is kept by whoever started it.

    Attributes:
        cpu_seconds: processor time, whole seconds.
        wall_seconds: from the start of judging to the verdict.
        memory_bytes: address space.
        file_bytes: size of one file, and of all of them together.
        open_files: file descriptors.
    """

    cpu_seconds: int = 8
    wall_seconds: float = 20.0
    memory_bytes: int = 2**30
    file_bytes: int = 16 * 2**20
    open_files: int = 64

    def apply(self) -> None:
        """Bind this process to the limits, for good: hard limits cannot be raised again."""
        # One second after the signal that says so, the kernel kills without asking.
        resource.setrlimit(resource.RLIMIT_CPU, (self.cpu_seconds, self.cpu_seconds + 1))
        for kind, most in (
            (resource.RLIMIT_AS, self.memory_bytes),
            (resource.RLIMIT_FSIZE, self.file_bytes),
            (resource.RLIMIT_NOFILE, self.open_files),
            # The kernel does not hold root to this one; the filter refuses new processes to everybody.
            (resource.RLIMIT_NPROC, 1),
            # At 1 no core is written and, unlike at 0, no program of the host's that collects them is started.
            (resource.RLIMIT_CORE, 1),
        ):
            # A lower limit that was there already stays.
            already = resource.getrlimit(kind)[1]
            bound = most if already == resource.RLIM_INFINITY else min(most, already)
            resource.setrlimit(kind, (bound, bound))
