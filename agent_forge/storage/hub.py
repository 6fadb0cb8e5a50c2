"""Talking to the Hugging Face hub: places, branches, commits that replace exactly what their writer saw.

    hf://owner/name                      the main branch
    hf://owner/name@revision             a branch, tag or commit; a slash in its name is written %2F
    hf://owner/name@revision/folder      a folder in it

A commit names its parent, and the hub refuses it when the branch has moved on: a compare-and-swap of the whole branch,
in which every file changes or none. The token is found where huggingface_hub finds it: HF_TOKEN, or its login.
"""

import hashlib
import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from agent_forge.errors import InputError, StoreError
from agent_forge.records import FileRecord
from agent_forge.storage.files import file_sha256
from agent_forge.storage.hub_failures import FAILURES, status_of, wait_or_raise, without_queries
from agent_forge.storage.manifest import LARGEST_MANIFEST

SCHEME = "hf://"
_FORM = re.compile(r"((?:[\w.-]+/)?[\w.-]+)(?:@(refs/(?:pr|convert)/[\w.-]+|[\w.%-]+))?((?:/[\w.-]+)*)")
# How often a change is tried when others commit meanwhile.
_TRIES = 50
_CONFLICTS = {409, 412}
# What names addresses in logs: the library, and what it makes requests with, now and in older releases.
_LOGGERS = ("huggingface_hub.utils._http", "httpx2", "httpx")
# The library waits for ever by default; a large commit takes minutes.
_SECONDS = 300.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class HubPlace:
    """A repository at a revision, or a folder in it; printed as `hf://owner/name@revision/folder`."""

    name: str
    revision: str | None = None
    folder: str = ""

    @classmethod
    def parse(cls, uri: str) -> "HubPlace":
        """Read `hf://owner/name[@revision][/folder]`, or the same without its scheme.

        Raises:
            InputError: when it is no such thing.
        """
        found = _FORM.fullmatch(uri.removeprefix(SCHEME).rstrip("/"))
        if found is None or ".." in unquote(uri):
            raise InputError(f"{uri}: that is no name on the hub; give hf://owner/name or owner/name@revision")
        return cls(found[1], unquote(found[2]) if found[2] else None, found[3].strip("/"))

    def __truediv__(self, name: str) -> "HubPlace":
        return replace(self, folder=self.within(name))

    def within(self, name: str) -> str:
        """Return the path in the repository of what lies at a path in this folder."""
        return f"{self.folder}/{name}" if self.folder else name

    def __str__(self) -> str:
        special = self.revision is not None and self.revision.startswith("refs/")
        revision = f"@{quote(self.revision, safe='/' if special else '')}" if self.revision else ""
        return f"{SCHEME}{self.name}{revision}" + (f"/{self.folder}" if self.folder else "")


def on_the_hub(uri: str) -> bool:
    """Whether a reference names a place on the hub by its scheme."""
    return uri.startswith(SCHEME)


class Branch:
    """A branch of a repository on the hub.

    Args:
        repository: `owner/name`.
        name: of the branch.
    """

    def __init__(self, repository: str, name: str = "main") -> None:
        self.repository, self.name = repository, name

    def __str__(self) -> str:
        return str(HubPlace(self.repository, None if self.name == "main" else self.name))

    def head(self) -> str:
        """Return the commit that the branch points to now."""
        return str(api().repo_info(self.repository, revision=self.name).sha)

    def files(self, folder: str, commit: str) -> dict[str, Any]:
        """Return what the hub says about every file below a folder, by path in that folder; empty without one."""
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        try:
            found = list(api().list_repo_tree(self.repository, folder or None, recursive=True, revision=commit))
        except EntryNotFoundError:
            return {}
        start = f"{folder}/" if folder else ""
        return {item.path.removeprefix(start): item for item in found if isinstance(item, RepoFile)}

    def read(self, path: str, commit: str) -> bytes | None:
        """Return a small file at a commit, at most one byte more than a manifest may have; None when there is none."""
        from huggingface_hub.errors import EntryNotFoundError

        content = b""
        try:
            for chunk in self._stream(path, commit):
                content += chunk
                if len(content) > LARGEST_MANIFEST:
                    break
        except EntryNotFoundError:
            return None
        return content[: LARGEST_MANIFEST + 1]

    def sha256(self, path: str, commit: str) -> str:
        """Return the sha256 (hex) of a file's bytes as they are read back."""
        for attempt in range(FAILURES + 1):
            digest = hashlib.sha256()
            try:
                for chunk in self._stream(path, commit):
                    digest.update(chunk)
                return digest.hexdigest()
            except Exception as cause:
                wait_or_raise(cause, attempt)
        raise AssertionError("the last failure is raised")

    def change(self, look: Callable[[str], Sequence[Any]], message: str) -> str:
        """Commit what a look at the head asks for, each commit onto the very head that was looked at.

        Whether a commit whose answer was lost took place shows at the next look, so nothing is done twice.

        Args:
            look: is given the head; returns the operations that are to be committed onto it, none when all is done.
            message: of the commits.

        Returns:
            The head at which the look asked for nothing.

        Raises:
            StoreError: when the hub does not keep what it was given, or others commit all the time.
        """
        failures, made = 0, ""
        for _ in range(_TRIES):
            head = self.head()
            if not (operations := look(head)):
                return head
            if head == made:
                names = ", ".join(operation.path_in_repo for operation in operations[:3])
                raise StoreError(
                    f"{self}: {names} is not what was committed a moment ago; it may have changed here meanwhile, or "
                    "be excluded by a .gitignore of the repository; correct that and run again"
                )
            try:
                made = (
                    api()
                    .create_commit(
                        self.repository, operations, commit_message=message, revision=self.name, parent_commit=head
                    )
                    .oid
                )
            except Exception as cause:
                if status_of(cause) in _CONFLICTS:
                    time.sleep(random.uniform(0.05, 0.5))
                    continue
                wait_or_raise(cause, failures)
                failures += 1
        raise StoreError(f"{self}: others commit there all the time; run again")

    def _stream(self, path: str, commit: str) -> Iterator[bytes]:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

        # Small files would come compressed, at a length that nobody states.
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        url = hf_hub_url(self.repository, path, revision=commit)
        api()
        with http_stream_backoff("GET", url, headers=headers) as answer:
            hf_raise_for_status(answer)
            yield from answer.iter_bytes(_CHUNK)


def api() -> Any:
    """Return the library's client: it waits, but not for ever, logs no signed addresses and draws no bars into logs."""
    import huggingface_hub
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, get_session

    if not are_progress_bars_disabled():
        disable_progress_bars()
    get_session().timeout = _SECONDS
    for name in _LOGGERS:
        # Filters are kept once, however often they are added.
        logging.getLogger(name).addFilter(without_queries)
    return huggingface_hub.HfApi()


def addition(path: str, content: Path | bytes) -> Any:
    """Return the operation that puts a file at a path in a repository."""
    from huggingface_hub import CommitOperationAdd

    return CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))


def deletion(path: str) -> Any:
    """Return the operation that removes a file."""
    from huggingface_hub import CommitOperationDelete

    return CommitOperationDelete(path, is_folder=False)


def says(entry: Any, file: FileRecord, path: Path) -> bool:
    """Whether the hub states the digest of the file that is described: its sha256, or git's of a small one.

    Args:
        entry: from `Branch.files`, None when there is none.
        file: what a manifest says.
        path: of the file here.
    """
    if entry is None or entry.size != file.size:
        return False
    if entry.lfs is not None:
        return bool(entry.lfs.sha256 == file.sha256)
    return bool(entry.blob_id == git_sha1(path)) and file_sha256(path) == file.sha256


def git_sha1(path: Path) -> str:
    """Return the sha1 that git knows a file's content by: over `blob <size>`, a zero byte and the content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
