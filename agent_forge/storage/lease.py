"""A lease on one bake: whoever holds it does the work, everyone else waits for what becomes of it.

LeaseFile.read() and .swap() keep one small record, `swap` by comparing; everything else is decided here.

A holder writes its record anew all the time. It is dead when others have seen the same record for the whole duration
of the lease, by their own monotonic clock: clocks of two machines are never compared. Taking over raises `term`, the
fencing token: who comes back after that finds another term and stops before it writes (`Held.check`). What is written
at the end is conditional besides, so that even the moment between that look and the writing can break nothing.
"""

import contextlib
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Protocol

from agent_forge.errors import LeaseLost
from agent_forge.records import Record

# A holder whose record has not changed for this many seconds is dead.
LEASE_SECONDS = 60.0
_BEATS = 4


class Lease(Record):
    """Who works on a bake: a random name, one for people, how often the lease has changed hands, a heartbeat."""

    holder: str
    who: str = ""
    term: int
    beat: int = 0
    released: bool = False


class LeaseFile(Protocol):
    """The place that one lease is kept in.

    Attributes:
        seconds: silence after which a holder counts as dead, as the store suggests.
    """

    seconds: float

    def read(self) -> tuple[Lease, str] | None:
        """Return the lease and a tag of what is there, None when nothing is."""
        ...

    def swap(self, lease: Lease, seen: str | None) -> str | None:
        """Write where the tag `seen` still lies, nothing when it is None; return the new tag, None if it changed."""
        ...


class Held:
    """A lease that this process holds and keeps alive."""

    def __init__(self, file: LeaseFile, lease: Lease, tag: str, seconds: float) -> None:
        self._file, self._lease, self._tag, self._seconds = file, lease, tag, seconds
        self._ended, self._lost = threading.Event(), threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def check(self) -> None:
        """Refuse to go on after somebody else took over, by looking.

        Raises:
            LeaseLost: when that has happened.
        """
        self.check_heard()
        found = self._file.read()
        if found is None or (found[0].holder, found[0].term) != (self._lease.holder, self._lease.term):
            self._lost.set()
        self.check_heard()

    def check_heard(self) -> None:
        """Do the same without asking, by what the last heartbeat found."""
        if self._lost.is_set():
            raise LeaseLost(f"{self._file}: another process took over this bake; run again to see what became of it")

    def release(self) -> None:
        """Give the lease up, as far as the store can be reached; unanswered, it expires."""
        self._ended.set()
        self._keeper.join()
        with contextlib.suppress(Exception):
            self._write(self._lease.model_copy(update={"released": True}))

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / _BEATS):
            # A store that does not answer now may answer at the next beat.
            with contextlib.suppress(Exception):
                if not self._write(self._lease.model_copy(update={"beat": self._lease.beat + 1})):
                    self._lost.set()
                    return

    def _write(self, lease: Lease) -> bool:
        tag = _swap(self._file, lease, self._tag)
        if tag is None:
            return False
        self._lease, self._tag = lease, tag
        return True


@contextlib.contextmanager
def leased(
    file: LeaseFile,
    settled: Callable[[], bool],
    seconds: float | None = None,
    waiting: Callable[[str], None] = lambda _: None,
) -> Iterator[Held | None]:
    """Hold a lease, waiting for whoever holds it now; give None once there is nothing left to do.

    Args:
        file: where the lease is kept.
        settled: whether the work that the lease is about has been done.
        seconds: silence after which a holder counts as dead; by default what the file suggests.
        waiting: is told whom this process waits for, when that begins or changes.
    """
    held = _acquire(file, settled, file.seconds if seconds is None else seconds, waiting)
    try:
        yield held
    finally:
        if held is not None:
            held.release()


class Watch:
    """Tries for leases without waiting for anybody, and remembers for how long each holder has been silent.

    Args:
        seconds: silence after which a holder counts as dead; by default what the file suggests.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._seen: dict[str, tuple[str, float]] = {}

    def attempt(self, file: LeaseFile, living: Callable[[Lease], None] = lambda _: None) -> Held | None:
        """Hold a lease if nobody does, or nobody who is alive; else return None, and `living` is told who does."""
        seconds = file.seconds if self._seconds is None else self._seconds
        found = file.read()
        if found is not None and not found[0].released and self._silent(file, found[1]) <= seconds:
            living(found[0])
            return None
        return _take(file, found, seconds)

    def _silent(self, file: LeaseFile, tag: str) -> float:
        """Return for how many seconds this very record has been seen there."""
        if self._seen.get(str(file), ("", 0.0))[0] != tag:
            self._seen[str(file)] = tag, time.monotonic()
        return time.monotonic() - self._seen[str(file)][1]


def _acquire(
    file: LeaseFile, settled: Callable[[], bool], seconds: float, waiting: Callable[[str], None]
) -> Held | None:
    watch, told = Watch(seconds), ""
    pause = min(2.0, seconds / 20)

    def tell(holding: Lease) -> None:
        nonlocal told
        if holding.holder != told:
            told = holding.holder
            waiting(holding.who)

    while not settled():
        if (held := watch.attempt(file, tell)) is not None:
            # The one before may have finished between the two looks.
            if not settled():
                return held
            held.release()
            return None
        # Many that wait must not ask all at once, nor for hours as often as at first.
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(1.25 * pause, seconds / 6)
    return None


def _take(file: LeaseFile, found: tuple[Lease, str] | None, seconds: float) -> Held | None:
    who = f"process {os.getpid()} on {socket.gethostname()}"
    lease = Lease(holder=uuid.uuid4().hex, who=who, term=found[0].term + 1 if found else 1)
    tag = _swap(file, lease, found[1] if found else None)
    return None if tag is None else Held(file, lease, tag, seconds)


def _swap(file: LeaseFile, lease: Lease, seen: str | None) -> str | None:
    """Swap; a request whose answer was lost and that was repeated finds its own record there."""
    tag = file.swap(lease, seen)
    if tag is None and (there := file.read()) is not None and there[0] == lease:
        return there[1]
    return tag


def check_held(held: Held | None) -> None:
    """Refuse to go on when the lease of a run is lost; a run without one may always go on.

    Raises:
        LeaseLost: when another process took over.
    """
    if held is not None:
        held.check()
