"""A lease on the hub: a file on a branch of its own, so that heartbeats do not fill the history of the models.

Every heartbeat is a commit, and the hub allows few of them in an hour: such a lease lasts long and beats slowly.
"""

from collections.abc import Sequence
from typing import Any

from agent_forge.errors import StoreError
from agent_forge.records import parse_record
from agent_forge.storage.hub import Branch, addition, api
from agent_forge.storage.hub_failures import talking_about
from agent_forge.storage.lease import Lease

LEASES = "forge-leases"


class HubLease:
    """A lease that is a file in a repository; swaps are commits onto the commit that was looked at.

    Args:
        repository: `owner/name`.
        path: of the file.
        seconds: silence after which a holder counts as dead.
    """

    def __init__(self, repository: str, path: str, seconds: float) -> None:
        self._branch, self._path, self.seconds = Branch(repository, LEASES), path, seconds

    def __str__(self) -> str:
        return f"{self._branch}/{self._path}"

    def read(self) -> tuple[Lease, str] | None:
        """Return the lease and its text, None when there is none."""
        from huggingface_hub.errors import RevisionNotFoundError

        with talking_about(self):
            try:
                text = self._text(self._branch.head())
            except RevisionNotFoundError:
                return None
        return None if text is None else (parse_record(Lease, text, str(self)), text)

    def swap(self, lease: Lease, seen: str | None) -> str | None:
        """Write where `seen` still lies; return the new text, None when it has changed."""
        text, overtaken = lease.model_dump_json(), False

        def look(head: str) -> Sequence[Any]:
            nonlocal overtaken
            found = self._text(head)
            overtaken = found not in (seen, text)
            return () if overtaken or found == text else (addition(self._path, text.encode()),)

        with talking_about(self):
            self._begin()
            self._branch.change(look, f"lease, term {lease.term}, beat {lease.beat}")
        return None if overtaken else text

    def _begin(self) -> None:
        """Make the branch when there is none."""
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            self._branch.head()
        except RevisionNotFoundError:
            api().create_branch(self._branch.repository, branch=LEASES, exist_ok=True)

    def _text(self, commit: str) -> str | None:
        found = self._branch.read(self._path, commit)
        if found is None:
            return None
        try:
            return found.decode()
        except UnicodeDecodeError as cause:
            raise StoreError(f"{self} is no lease; remove it and run again") from cause
