"""Publishing to the Hugging Face hub: under a lease, files first, each read back, the manifest last and only once.

    hf://owner/name[@branch][/folder]         the root
    ROOT/baked/<bake id>/model files ..., manifest.json      real: the manifest is there
    ROOT/baked/latest.json                                   names the bake whose publication was completed last
    ROOT/rejected/<bake id>/model files ..., REJECTED.json   kept aside: no manifest, another name
    ROOT/verdicts/<bake id>/verdict.json, report.html        what a run found that published nothing
    ROOT/champions/<digest>/model files ..., manifest.json   evolved, not baked yet
    leases/<bake id>.json on the branch `forge-leases`       held by the run that works on that bake

Large files go up one by one; one commit makes all files of a model visible, a second one adds the manifest and moves
`latest`. Each is made onto the very commit that was looked at, and the hub refuses it when the branch has moved on. So
the manifest stands on a commit in which every file was read back, and whoever comes late finds it and writes nothing.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agent_forge.errors import InputError, OutputError, StoreError
from agent_forge.evolution_records import ChampionManifest
from agent_forge.records import Alias, FileRecord, Manifest, Verdict, VerificationReport, parse_record
from agent_forge.storage.files import list_files, list_names
from agent_forge.storage.hub import Branch, HubPlace, addition, api, deletion, says
from agent_forge.storage.hub_failures import talking_about
from agent_forge.storage.hub_lease import LEASES, HubLease
from agent_forge.storage.lease import Held, check_held, leased
from agent_forge.storage.manifest import MANIFEST, AnyManifest, manifest_text
from agent_forge.storage.minisign import SIGNATURE
from agent_forge.storage.moving import Moving, Watcher

# A commit for every heartbeat of the usual lease would use up what the hub allows.
HUB_LEASE_SECONDS = 900.0
# Files that are read back side by side.
_FILES_AT_ONCE = 4
_LATEST, _VERDICT, _REPORT, _REJECTED = "latest.json", "verdict.json", "report.html", "REJECTED.json"


class HubPublication:
    """A publication root on the hub.

    Args:
        root: `hf://owner/name`, with a branch and a folder where wanted.
        lease_seconds: silence after which a holder counts as dead.
    """

    def __init__(self, root: str, lease_seconds: float = HUB_LEASE_SECONDS) -> None:
        self._root = HubPlace.parse(root)
        if "/" not in self._root.name or (self._root.revision or "").startswith("refs/"):
            raise InputError(f"{root}: models are published to a branch of a repository; give hf://owner/name")
        if self._root.revision == LEASES:
            raise InputError(f"{root}: the branch {LEASES} holds leases; choose another")
        self._branch = Branch(self._root.name, self._root.revision or "main")
        self._lease_seconds = lease_seconds

    def published(self, bake_id: str) -> str | None:
        """Return the manifest's URI when this bake is published, else None.

        Raises:
            InputError: when there is no such repository or branch.
        """
        place = self._place(bake_id)
        return f"{place}/{MANIFEST}" if self._is_real(place) else None

    def check(self) -> None:
        """Ask the hub whether this token may write there.

        Raises:
            InputError: when it may not, or there is no such repository or branch.
        """
        with talking_about(self._root):
            api().auth_check(self._root.name, write=True)
            self._branch.head()

    def manifest(self, bake_id: str) -> Manifest:
        """Read the manifest of a published bake.

        Raises:
            InputError: when it is none.
            StoreError: when there is none.
        """
        place = self._place(bake_id) / MANIFEST
        if (found := self._read(place)) is None:
            raise StoreError(f"{place} is not there any more; run again")
        return parse_record(Manifest, found, str(place))

    def verdict(self, bake_id: str) -> Verdict | None:
        """Return what a run of this bake found that published nothing, None when there was none."""
        place = self._root / "verdicts" / bake_id / _VERDICT
        found = self._read(place)
        return None if found is None else parse_record(Verdict, found, str(place))

    def lease(self, bake_id: str) -> HubLease:
        """Return the place of a bake's lease."""
        return HubLease(self._root.name, self._root.within(f"leases/{bake_id}.json"), self._lease_seconds)

    def publish(self, model: Path, manifest: Manifest, held: Held | None = None, watcher: Watcher | None = None) -> str:
        """Publish a verified model; a no-op when the same bake is there already.

        Args:
            model: directory of the baked model.
            manifest: its `files` must describe exactly what is in `model`.
            held: the lease of the run, where it holds one; else one is held while publishing.
            watcher: is told how much is there.

        Returns:
            The manifest's URI.

        Raises:
            InputError: when the hub refuses.
            LeaseLost: when another publisher took over; run again.
            OutputError: when the files are not those of the manifest.
            StoreError: when the hub fails.
        """
        place = self._place(manifest.bake_id)
        with talking_about(place), self._leased(manifest.bake_id, place, held) as own:
            if own is not None:
                self._put_model(model, manifest, place, own, watcher, lambda head: self._latest(manifest.bake_id, head))
        self.settle(manifest.bake_id)
        return f"{place}/{MANIFEST}"

    def publish_champion(
        self, model: Path, manifest: ChampionManifest, digest: str, watcher: Watcher | None = None
    ) -> str:
        """Publish an evolved champion under its digest; a no-op when it is there. Return the manifest's URI."""
        place = self._root / "champions" / digest
        with talking_about(place), self._leased(digest, place, None) as own:
            if own is not None:
                self._put_model(model, manifest, place, own, watcher, lambda _: ())
        return f"{place}/{MANIFEST}"

    def settle(self, bake_id: str) -> None:
        """Make `latest` name a published bake, unless it did so before."""
        with talking_about(self._root):
            self._branch.change(lambda head: self._latest(bake_id, head), f"latest: bake {bake_id[:12]}")

    def keep_rejected(self, model: Path, report: VerificationReport, bake_id: str, held: Held | None = None) -> str:
        """Keep a rejected model aside, labelled, never under the published name; return where."""
        place, label = self._root / "rejected" / bake_id, report.model_dump_json(indent=2) + "\n"
        look = self._looking(model, list_files(model), place, held, {_REJECTED: label.encode()})
        with talking_about(place):
            self._branch.change(look, f"rejected bake {bake_id[:12]}")
        return str(place)

    def keep_verdict(self, verdict: Verdict, report: str, held: Held | None = None) -> None:
        """Leave what a run found that published nothing; what is there already stays."""
        place = self._root / "verdicts" / verdict.bake_id

        def look(head: str) -> Sequence[Any]:
            check_held(held)
            if _VERDICT in self._branch.files(place.folder, head):
                return ()
            text = verdict.model_dump_json(indent=2) + "\n"
            return addition(place.within(_REPORT), report.encode()), addition(place.within(_VERDICT), text.encode())

        with talking_about(place):
            self._branch.change(look, f"verdict on bake {verdict.bake_id[:12]}")

    def _is_real(self, place: HubPlace) -> bool:
        with talking_about(self._root):
            return bool(api().get_paths_info(self._root.name, [place.within(MANIFEST)], revision=self._branch.name))

    def _place(self, bake_id: str) -> HubPlace:
        return self._root / "baked" / bake_id

    def _read(self, place: HubPlace) -> str | None:
        with talking_about(place):
            found = self._branch.read(place.folder, self._branch.head())
        return None if found is None else found.decode(errors="replace")

    def _put_model(
        self,
        model: Path,
        manifest: AnyManifest,
        place: HubPlace,
        held: Held | None,
        watcher: Watcher | None,
        alias: Callable[[str], Sequence[Any]],
    ) -> None:
        if MANIFEST in self._branch.files(place.folder, self._branch.head()):
            return
        if set(list_names(model)) - {MANIFEST, SIGNATURE} != {file.path for file in manifest.files}:
            raise OutputError(f"{model} changed while it was being published; run again")
        read_back: set[tuple[str, str]] = set()
        look = self._looking(model, manifest.files, place, held, {}, watcher)

        def look_for_manifest(head: str) -> Sequence[Any]:
            there = self._branch.files(place.folder, head)
            if MANIFEST in there:
                return ()
            if look(head):
                raise StoreError(f"{place} was changed by another publisher; run again")
            self._read_back(manifest.files, place, head, there, read_back)
            check_held(held)
            return addition(place.within(MANIFEST), manifest_text(manifest).encode()), *alias(head)

        self._branch.change(look, f"files of {place.folder}")
        self._branch.change(look_for_manifest, f"publish {place.folder}")

    def _looking(
        self,
        model: Path,
        files: Sequence[FileRecord],
        place: HubPlace,
        held: Held | None,
        more: dict[str, bytes],
        watcher: Watcher | None = None,
    ) -> Callable[[str], Sequence[Any]]:
        """Return a look that asks for what makes a folder hold exactly these files; for nothing once it is published.

        What is large is uploaded by the first look, and not again when a commit is made a second time.
        """
        moving = Moving(watcher, "publishing", sum(file.size for file in files))
        sent: dict[str, Any] = {}
        counted: set[str] = set()

        def look(head: str) -> Sequence[Any]:
            there = self._branch.files(place.folder, head)
            if MANIFEST in there:
                return ()
            wanted = [file for file in files if not says(there.get(file.path), file, model / file.path)]
            for file in wanted:
                if file.path not in sent:
                    sent[file.path] = self._send(model / file.path, place.within(file.path), held)
            moving.add(sum(file.size for file in files if file.path not in counted))
            counted.update(file.path for file in files)
            strays = there.keys() - {file.path for file in files} - more.keys()
            check_held(held)
            return (
                *(sent[file.path] for file in wanted),
                *(addition(place.within(name), text) for name, text in more.items() if name not in there),
                *(deletion(place.within(name)) for name in sorted(strays)),
            )

        return look

    def _send(self, path: Path, name: str, held: Held | None) -> Any:
        """Upload a file that is large; small ones travel in the commit. Return the operation that makes it visible."""
        if held is not None:
            held.check_heard()
        operation = addition(name, path)
        api().preupload_lfs_files(self._root.name, [operation], revision=self._branch.name, free_memory=False)
        return operation

    def _read_back(
        self, files: Sequence[FileRecord], place: HubPlace, head: str, there: dict[str, Any], done: set[tuple[str, str]]
    ) -> None:
        """Read every file at a commit and compare; of a large one the hub states the digest that it was told."""
        wanted = [file for file in files if (file.path, there[file.path].blob_id) not in done]
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            found = pool.map(lambda file: self._branch.sha256(place.within(file.path), head), wanted)
            for file, sha256 in zip(wanted, found, strict=True):
                if sha256 != file.sha256:
                    raise StoreError(
                        f"{place}/{file.path} differs from what was written; remove it from the repository and the "
                        "list of its large files, and run again"
                    )
                done.add((file.path, there[file.path].blob_id))

    def _latest(self, bake_id: str, head: str) -> Sequence[Any]:
        """Return what makes `latest` name a bake, nothing when it did so before."""
        path = self._root.within(f"baked/{_LATEST}")
        found = self._branch.read(path, head)
        there = None if found is None else parse_record(Alias, found.decode(errors="replace"), f"{self._root}/{path}")
        if there is not None and bake_id in there.bakes:
            return ()
        alias = Alias.after(there, bake_id, f"{self._place(bake_id)}/{MANIFEST}")
        return (addition(path, f"{alias.model_dump_json()}\n".encode()),)

    @contextlib.contextmanager
    def _leased(self, name: str, place: HubPlace, held: Held | None) -> Iterator[Held | None]:
        """Hold the lease of a bake or champion, unless the run does; give None when it is published already."""
        if held is not None:
            yield held
            return
        with leased(self.lease(name), lambda: self._is_real(place)) as own:
            yield own
