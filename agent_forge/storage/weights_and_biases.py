"""Reaching Weights & Biases: its library, and what it raises in one clear line."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any

from agent_forge.errors import ForgeError, InputError, OutputError, StoreError
from agent_forge.storage.files import unwritable

SCHEME = "wandb://"
# Settings of a run that says and collects nothing but what it is given.
QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
_MINE_TO_CORRECT = {"AuthenticationError", "UsageError", "UnsupportedError"}


def at_weights_and_biases(uri: str) -> bool:
    """Whether a reference names something at Weights & Biases."""
    return uri.startswith(SCHEME)


def library(place: str) -> Any:
    """Return the package wandb.

    Raises:
        InputError: when it is not installed.
    """
    try:
        return importlib.import_module("wandb")
    except ImportError as cause:
        raise InputError(f"{place} needs the package wandb; install agent-forge[wandb]") from cause


def line_of(cause: BaseException) -> str:
    """Return what the library says in one line, without the key."""
    line = " ".join(str(cause).split()) or type(cause).__name__
    key = os.environ.get("WANDB_API_KEY")
    return line.replace(key, "[key]") if key else line


@contextlib.contextmanager
def talking_about(place: str) -> Iterator[None]:
    """Turn what the library raises into one clear line about a place.

    Raises:
        InputError: without a key, or with one that the service does not take.
        OutputError: when files that are on their way cannot be kept here.
        StoreError: when the service does not answer, or not with what it should.
    """
    try:
        yield
    except ForgeError:
        raise
    except Exception as cause:
        if (advice := unwritable(cause)) is not None:
            raise OutputError(f"{place}: cannot write what is to be sent, or was fetched: {advice}") from cause
        line = f"{place}: Weights & Biases says: {line_of(cause)}"
        if type(cause).__name__ in _MINE_TO_CORRECT:
            raise InputError(f"{line}; set WANDB_API_KEY, or log in with `wandb login`") from cause
        raise StoreError(f"{line}; check the name and WANDB_API_KEY, run again to continue") from cause
