"""What interrupted work left in a repository on the hub: files of a bake that nobody published, leases nobody holds.

Removing them takes them out of the branch. The repository's history keeps large files until its owner removes them
there (settings, or `super_squash_history`), which is nothing a program should do by itself.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from agent_forge.storage.hub import Branch, HubPlace, api, deletion
from agent_forge.storage.hub_failures import talking_about
from agent_forge.storage.hub_lease import LEASES
from agent_forge.storage.hub_publication import HubPublication
from agent_forge.storage.lease import leased
from agent_forge.storage.leftover import HOUR, Leftover


def find_on_the_hub(root: str, real: dict[str, str]) -> Iterator[Leftover]:
    """List what interrupted work left below a root.

    Args:
        root: `hf://owner/name`, with a branch and a folder where wanted.
        real: by folder below the root, the file that makes what lies in one of its folders real.
    """
    place = HubPlace.parse(root)
    with talking_about(root):
        now = _clock()
        leases = _entries(place / "leases", LEASES)
        live = {_bake(name) for name, entry in leases.items() if _hours(now, entry) < 1}
        for name, entry in leases.items():
            if _bake(name) not in live:
                yield _described("lease", HubPlace(place.name, LEASES, name), entry, _hours(now, entry))
        for folder, last in real.items():
            files = _entries(place / folder, place.revision or "main")
            of_bakes: dict[str, list[str]] = {}
            for name in files:
                of_bakes.setdefault(name.removeprefix(f"{place.within(folder)}/").partition("/")[0], []).append(name)
            for bake, names in of_bakes.items():
                whole = place.within(f"{folder}/{bake}/{last}") in files
                if whole or bake in live or place.within(f"{folder}/{bake}") in files:
                    continue
                newest = min(_hours(now, files[name]) for name in names)
                for name in names:
                    yield _described("no manifest", HubPlace(place.name, place.revision, name), files[name], newest)


def remove_from_the_hub(root: str, leftovers: Sequence[Leftover], real: dict[str, str]) -> None:
    """Remove what was found, unless it has changed; files of a bake only under its lease, and while it is not real."""
    place = HubPlace.parse(root)
    with talking_about(root):
        unreal = [left for left in leftovers if left.kind == "no manifest"]
        for folder, bake in sorted({_below(place, left) for left in unreal}):
            of_one = [left for left in unreal if _below(place, left) == (folder, bake)]
            _remove_unreal(root, bake, of_one, place.within(f"{folder}/{bake}/{real[folder]}"))
        if gone := [left for left in leftovers if left.kind == "lease"]:
            _remove(Branch(place.name, LEASES), gone)


def _remove_unreal(root: str, bake: str, leftovers: Sequence[Leftover], last: str) -> None:
    place = HubPlace.parse(root)
    branch = Branch(place.name, place.revision or "main")

    def settled() -> bool:
        return bool(api().get_paths_info(branch.repository, [last], revision=branch.name))

    with leased(HubPublication(root).lease(bake), settled) as held:
        if held is not None:
            _remove(branch, leftovers, last)


def _remove(branch: Branch, leftovers: Sequence[Leftover], last: str = "") -> None:
    """Remove files in one commit, those that are still what was found; none once what makes them real is there."""
    tags = {HubPlace.parse(left.place).folder: left.tag for left in leftovers}

    def look(head: str) -> Sequence[Any]:
        found = api().get_paths_info(branch.repository, [*tags, *filter(None, [last])], revision=head)
        if any(item.path == last for item in found):
            return ()
        return tuple(deletion(item.path) for item in found if getattr(item, "blob_id", None) == tags[item.path])

    branch.change(look, f"remove {len(leftovers)} files that interrupted work left")


def _entries(place: HubPlace, branch: str) -> dict[str, Any]:
    """Return every file below a place on a branch, by its path, with its last commit; none where there is none."""
    from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError
    from huggingface_hub.hf_api import RepoFile

    try:
        found = list(api().list_repo_tree(place.name, place.folder, recursive=True, expand=True, revision=branch))
    except (EntryNotFoundError, RevisionNotFoundError):
        return {}
    return {item.path: item for item in found if isinstance(item, RepoFile)}


def _described(kind: Literal["no manifest", "lease"], place: HubPlace, entry: Any, hours: float) -> Leftover:
    return Leftover(kind=kind, place=str(place), size=entry.size, hours=round(hours, 2), tag=entry.blob_id)


def _hours(now: datetime, entry: Any) -> float:
    """Return the age of what the hub describes; what it gives no date of is taken for new."""
    committed = getattr(entry.last_commit, "date", None)
    return 0.0 if committed is None else float((now - committed.astimezone(UTC)).total_seconds()) / HOUR


def _clock() -> datetime:
    """Return the time by the hub's own clock."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    api()
    return parsedate_to_datetime(get_session().head(constants.ENDPOINT).headers["date"]).astimezone(UTC)


def _bake(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".json")


def _below(place: HubPlace, left: Leftover) -> tuple[str, str]:
    folder, bake, *_ = left.place.removeprefix(f"{place}/").split("/")
    return folder, bake
