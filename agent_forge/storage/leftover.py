"""One thing that interrupted work left at a publication root or in the cache; see `leftovers`."""

from typing import Literal

from agent_forge.records import Record

HOUR = 3600.0


class Leftover(Record):
    """What it is, where, its bytes where known, hours since it was last written.

    Attributes:
        tag: what its store knows this very thing by: an upload's id in a bucket, git's name of a file on the hub.
    """

    kind: Literal["upload", "no manifest", "prepared", "lease", "download"]
    place: str
    size: int
    hours: float
    tag: str = ""
