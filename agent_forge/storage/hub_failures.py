"""What can go wrong between this program and the Hugging Face hub, in one clear line, without anybody's secrets."""

import contextlib
import logging
import random
import re
import time
from collections.abc import Iterator

from agent_forge.errors import ForgeError, InputError, StoreError

# How often a request is made again.
FAILURES = 5
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_REFUSALS = {
    400: "the hub refuses what was asked",
    401: "the token is unknown or has expired; get a new one and set HF_TOKEN",
    403: "access is denied; HF_TOKEN must be allowed to do that in this repository",
    404: "there is no such repository or branch, or this token may not see it; create it, or check name and HF_TOKEN",
    413: "the hub finds that too large",
}


@contextlib.contextmanager
def talking_about(place: object) -> Iterator[None]:
    """Turn what huggingface_hub raises into one clear line about a place.

    Raises:
        InputError: for tokens, repositories and permissions that are not right.
        StoreError: when the hub does not answer, or fails again and again.
    """
    try:
        yield
    except ForgeError:
        raise
    except Exception as cause:
        status = status_of(cause)
        if (advice := _REFUSALS.get(status or 0)) is not None:
            raise InputError(f"{place}: {advice} (the hub says: {line_of(cause)})") from cause
        if status is None and not _of_the_library(cause):
            raise
        raise StoreError(f"{place}: the hub says: {line_of(cause)}; run again to continue") from cause


def line_of(cause: BaseException) -> str:
    """Return the first line of what the library says, without the signatures that addresses carry."""
    told = str(getattr(cause, "server_message", None) or cause).strip() or type(cause).__name__
    line = _cut(told.splitlines()[0]).rstrip(".")
    # Of an upload that failed the library says which file, and behind that why.
    return f"{line}: {line_of(cause.__cause__)}" if isinstance(cause, RuntimeError) and cause.__cause__ else line


def passing(cause: BaseException) -> bool:
    """Whether a failure may be gone at the next try: no answer, or one that says that the hub is in trouble."""
    status = status_of(cause)
    return status in _PASSING if status is not None else _transport(cause)


def wait_or_raise(cause: Exception, failures: int) -> None:
    """Wait, longer each time, when a failure may pass; else, or after too many, raise it again."""
    if failures >= FAILURES or not passing(cause):
        raise cause
    time.sleep(min(16.0, 2.0**failures) * random.uniform(0.5, 1.0))


def status_of(cause: BaseException) -> int | None:
    """Return the HTTP status that a failure, or what it came from, stands for; None when there was no answer."""
    found: BaseException | None = cause
    while found is not None:
        status = getattr(getattr(found, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        found = found.__cause__
    return None


def _transport(cause: BaseException) -> bool:
    from huggingface_hub.errors import HTTPError

    found: BaseException | None = cause
    while found is not None:
        if isinstance(found, HTTPError):
            return True
        found = found.__cause__
    return False


def _of_the_library(cause: BaseException) -> bool:
    """Whether a failure is the library's own, or the network's, rather than this package's or the system's."""
    return (
        _transport(cause)
        or type(cause).__module__.startswith("huggingface_hub")
        or isinstance(cause, RuntimeError | ValueError)
    )


def without_queries(record: logging.LogRecord) -> bool:
    """Cut the signatures off addresses in what the library logs; a filter of its logger."""
    record.msg, record.args = _cut(record.getMessage()), ()
    return True


def _cut(text: str) -> str:
    """Cut the query off addresses: it holds the signature by which anybody could write there."""
    return re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]+", r"\1", text)
