"""Publishing to a directory: a model is prepared whole under another name and moved to its own in one rename.

ROOT/baked/<bake id>/model files ..., manifest.json      real: the manifest is there
ROOT/baked/latest.json                                   names the bake whose publication was completed last
ROOT/rejected/<bake id>/model files ..., REJECTED.json   kept aside: no manifest, another name
ROOT/verdicts/<bake id>/verdict.json, report.html        what a run found that published nothing
ROOT/leases/<bake id>.json                               held by the run that works on that bake
ROOT/champions/<digest>/model files ..., manifest.json   evolved, not baked yet

A rename cannot replace a directory that holds something, so of several publishers one succeeds, and nobody who comes
late can change what is there.
"""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import filelock

from agent_forge.errors import OutputError, StoreError
from agent_forge.evolution_records import ChampionManifest
from agent_forge.records import Alias, Manifest, Verdict, VerificationReport, parse_record, read_record
from agent_forge.storage.files import move_into_place, sync_directory, sync_tree, write_atomic, writing_to
from agent_forge.storage.lease import LEASE_SECONDS, Held, Lease, check_held
from agent_forge.storage.manifest import MANIFEST
from agent_forge.storage.moving import Watcher
from agent_forge.storage.publish import publish_into

LOCK = ".publication.lock"
PREPARING = ".preparing"
REPORT, VERDICT, LATEST = "report.html", "verdict.json", "latest.json"
# What is done under the lock takes milliseconds.
_PATIENCE = 60.0


class DirectoryPublication:
    """A publication root that is a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def published(self, bake_id: str) -> str | None:
        """Return the manifest's path when this bake is published, else None."""
        manifest = self._place(bake_id) / MANIFEST
        return str(manifest) if manifest.is_file() else None

    def check(self) -> None:
        """Make the directory and write to it.

        Raises:
            OutputError: when it cannot be made or written to.
        """
        try:
            with writing_to(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.root):
                    pass
        except OSError as cause:
            raise OutputError(f"cannot publish to {self.root}: {cause.strerror}; choose another directory") from cause

    def manifest(self, bake_id: str) -> Manifest:
        """Read the manifest of a published bake."""
        return read_record(Manifest, self._place(bake_id) / MANIFEST)

    def verdict(self, bake_id: str) -> Verdict | None:
        """Return what a run of this bake found that published nothing, None when there was none."""
        path = self.root / "verdicts" / bake_id / VERDICT
        return read_record(Verdict, path) if path.is_file() else None

    def lease(self, bake_id: str) -> "DirectoryLease":
        """Return the place of a bake's lease."""
        return DirectoryLease(self.root, bake_id)

    def publish(self, model: Path, manifest: Manifest, held: Held | None = None, watcher: Watcher | None = None) -> str:
        """Publish a verified model; a no-op when the same bake is there already.

        Args:
            model: directory of the baked model.
            manifest: its `files` must describe exactly what is in `model`.
            held: the lease of the run, where there is one.
            watcher: is told how much is there.

        Returns:
            The manifest's path.

        Raises:
            OutputError: when a copied file differs from the manifest, or the place cannot be written to.
            LeaseLost: when another process took over.
        """
        final = self._place(manifest.bake_id)
        if self.published(manifest.bake_id) is None:
            with writing_to(self.root), self._preparing(final, held) as prepared:
                publish_into(model, manifest, prepared, watcher)
                with locked(self.root):
                    check_held(held)
                    _move_in(prepared, final)
        self.settle(manifest.bake_id)
        return str(final / MANIFEST)

    def publish_champion(
        self, model: Path, manifest: ChampionManifest, digest: str, watcher: Watcher | None = None
    ) -> str:
        """Publish an evolved champion under its digest; a no-op when it is there. Return the manifest's path."""
        final = self.root / "champions" / digest
        if not (final / MANIFEST).is_file():
            with writing_to(self.root), self._preparing(final, None) as prepared:
                publish_into(model, manifest, prepared, watcher)
                with locked(self.root):
                    _move_in(prepared, final)
        return str(final / MANIFEST)

    def settle(self, bake_id: str) -> None:
        """Make `latest` name a published bake, unless it did so before."""
        path = self.root / "baked" / LATEST
        if path.is_file() and bake_id in read_record(Alias, path).bakes:
            return
        with writing_to(self.root), locked(self.root):
            there = read_record(Alias, path) if path.is_file() else None
            if there is None or bake_id not in there.bakes:
                alias = Alias.after(there, bake_id, str(self._place(bake_id) / MANIFEST))
                write_atomic(path, alias.model_dump_json() + "\n")

    def keep_rejected(self, model: Path, report: VerificationReport, bake_id: str, held: Held | None = None) -> str:
        """Keep a rejected model aside, labelled, never under the published name; return its directory."""
        final = self.root / "rejected" / bake_id
        with writing_to(self.root), self._preparing(final, held) as prepared:
            shutil.copytree(model, prepared)
            write_atomic(prepared / "REJECTED.json", report.model_dump_json(indent=2) + "\n")
            with locked(self.root):
                check_held(held)
                move_into_place(prepared, final)
        return str(final)

    def keep_verdict(self, verdict: Verdict, report: str, held: Held | None = None) -> None:
        """Leave what a run found that published nothing; what is there already stays."""
        place = self.root / "verdicts" / verdict.bake_id
        with writing_to(self.root), locked(self.root):
            check_held(held)
            if not (place / VERDICT).is_file():
                write_atomic(place / REPORT, report)
                write_atomic(place / VERDICT, verdict.model_dump_json(indent=2) + "\n")

    def _place(self, bake_id: str) -> Path:
        return self.root / "baked" / bake_id

    @contextlib.contextmanager
    def _preparing(self, final: Path, held: Held | None) -> Iterator[Path]:
        """Give a name of one's own beside a final one; nothing is left of it afterwards.

        Who holds the lease removes what dead publishers of this bake have left.
        """
        if held is not None:
            for left in final.parent.glob(f".{final.name}.*{PREPARING}"):
                shutil.rmtree(left, ignore_errors=True)
        prepared = final.parent / f".{final.name}.{uuid.uuid4().hex}{PREPARING}"
        try:
            yield prepared
        except FileNotFoundError:
            # A successor has removed it: then the lease is lost, which says more.
            check_held(held)
            raise
        finally:
            shutil.rmtree(prepared, ignore_errors=True)


class DirectoryLease:
    """A lease that is a file below a publication root; the root's lock makes its swaps atomic."""

    def __init__(self, root: Path, bake_id: str) -> None:
        self._root, self._path = root, root / "leases" / f"{bake_id}.json"
        self.seconds = LEASE_SECONDS

    def __str__(self) -> str:
        return str(self._path)

    def read(self) -> tuple[Lease, str] | None:
        """Return the lease and its text, None when there is none."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return parse_record(Lease, text, str(self._path)), text

    def swap(self, lease: Lease, seen: str | None) -> str | None:
        """Write where `seen` still lies; return the new text, None when it has changed."""
        text = lease.model_dump_json()
        with writing_to(self._root), locked(self._root):
            found = self.read()
            if (found[1] if found else None) != seen:
                return None
            write_atomic(self._path, text)
        return text


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold a root's lock for a moment.

    Raises:
        StoreError: when another process holds it for longer than that.
    """
    root.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(root / LOCK, timeout=_PATIENCE):
            yield
    except filelock.Timeout as cause:
        raise StoreError(f"{root / LOCK} is held by a process that does not go on; end it, or run again") from cause


def _move_in(prepared: Path, final: Path) -> None:
    """Move a whole model to its name, under the root's lock, unless one is there."""
    if (final / MANIFEST).is_file():
        return
    if final.exists():
        # Files without a manifest are no model: something that broke off.
        shutil.rmtree(final)
    sync_tree(prepared)
    os.rename(prepared, final)  # noqa: PTH104 - refuses to replace what is not empty, on every system
    sync_directory(final.parent)
