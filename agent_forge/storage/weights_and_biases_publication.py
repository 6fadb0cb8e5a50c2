"""Publishing to Weights & Biases: one version of an artifact per model, an alias last.

    wandb://entity/project/name                the root
    name            aliases bake-<bake id>, published     a published model: files and manifest.json in one version
    name-rejected   alias bake-<bake id>                  kept aside: REJECTED.json instead of a manifest
    name-verdicts   alias bake-<bake id>                  verdict.json and report.html of a run that published nothing
    name-champions  alias champion-<digest>               evolved, not baked yet

The service makes a version readable when all its files are there. It knows no condition on writing, so what is weaker
here than elsewhere: two runs on two machines may both train, and each may log a version. It numbers versions, and the
lowest number of a bake that is whole is the published one for everybody; the alias is moved onto it after every file
was read back. A run that finds the alias writes nothing. `latest` is the service's own and tells nothing.
"""

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent_forge.errors import CheckFailed, InputError, OutputError, StoreError
from agent_forge.evolution_records import ChampionManifest
from agent_forge.records import FileRecord, Manifest, Verdict, VerificationReport, parse_record
from agent_forge.storage.directory_publication import DirectoryLease
from agent_forge.storage.files import cache_home, file_sha256, list_files, list_names
from agent_forge.storage.lease import Held, LeaseFile, check_held, leased
from agent_forge.storage.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    is_evolved,
    manifest_text,
    parse_champion_manifest,
    parse_manifest,
)
from agent_forge.storage.minisign import SIGNATURE
from agent_forge.storage.moving import Moving, Watcher
from agent_forge.storage.weights_and_biases import QUIET, SCHEME, library, talking_about

PUBLISHED = "published"
_TYPE = "model"
# What tracking calls the artifact that it logs of a published model, with an alias `published` too.
TRACKED = "baked_quietstar_model"
_ROOT = re.compile(r"wandb://([\w-][\w.-]*)/([\w-][\w.-]*)/([\w-][\w.-]*)")
_VERDICT, _REPORT, _REJECTED = "verdict.json", "report.html", "REJECTED.json"
# Looks at the versions until nobody has moved the alias meanwhile.
_LOOKS = 20


class ArtifactPublication:
    """A publication root at Weights & Biases.

    Args:
        root: `wandb://entity/project/name`.
    """

    def __init__(self, root: str) -> None:
        found = _ROOT.fullmatch(root)
        if found is None:
            raise InputError(f"{root}: models are published to an artifact; give wandb://entity/project/name")
        if found[3] == TRACKED:
            raise InputError(f"{root}: tracking keeps versions and aliases of its own there; choose another name")
        self._root, (self._entity, self._project, self._name) = root, found.groups()

    def published(self, bake_id: str) -> str | None:
        """Return the manifest's URI when this bake is published, else None."""
        found = self._find(self._name, _alias(bake_id))
        return None if found is None else self._uri(found)

    def check(self) -> None:
        """Ask the service who this is.

        Raises:
            InputError: without a key, or with one that it does not know.
        """
        with talking_about(self._root):
            if library(self._root).Api().viewer is None:
                raise InputError(f"{self._root}: WANDB_API_KEY is of no user; set another")

    def manifest(self, bake_id: str) -> Manifest:
        """Read the manifest of a published bake.

        Raises:
            StoreError: when there is none.
        """
        text = self._text(self._name, bake_id, MANIFEST)
        if text is None:
            raise StoreError(f"{self._root}: bake {bake_id} is not there any more; run again")
        return parse_record(Manifest, text, f"{self._root}:{_alias(bake_id)}/{MANIFEST}")

    def verdict(self, bake_id: str) -> Verdict | None:
        """Return what a run of this bake found that published nothing, None when there was none."""
        text = self._text(f"{self._name}-verdicts", bake_id, _VERDICT)
        return None if text is None else parse_record(Verdict, text, f"{self._root}-verdicts:{_alias(bake_id)}")

    def lease(self, bake_id: str) -> LeaseFile:
        """Return the place of a bake's lease: on this machine, since the service cannot compare and swap."""
        return DirectoryLease(cache_home() / "wandb-leases" / self._entity / self._project / self._name, bake_id)

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
            InputError: when the service refuses.
            LeaseLost: when another process on this machine took over; run again.
            OutputError: when the files are not those of the manifest.
            StoreError: when the service fails.
        """
        bake_id = manifest.bake_id
        with self._leased(bake_id, held) as own:
            if own is not None and self.published(bake_id) is None:
                self._put_model(self._name, _alias(bake_id), model, manifest, own, watcher)
        self.settle(bake_id)
        if (place := self.published(bake_id)) is None:
            raise StoreError(f"{self._root}: the alias of bake {bake_id} was removed a moment ago; run again")
        return place

    def publish_champion(
        self, model: Path, manifest: ChampionManifest, digest: str, watcher: Watcher | None = None
    ) -> str:
        """Publish an evolved champion under its digest; a no-op when it is there. Return the manifest's URI."""
        name, alias = f"{self._name}-champions", f"champion-{digest}"
        if self._find(name, alias) is None:
            self._put_model(name, alias, model, manifest, None, watcher)
        return self._uri(self._find(name, alias))

    def settle(self, bake_id: str) -> None:
        """Move `published` onto a published bake, unless it names a later version."""
        with talking_about(self._root):
            found, there = self._find(self._name, _alias(bake_id)), self._find(self._name, PUBLISHED)
            if found is not None and (there is None or _number(there) < _number(found)):
                found.aliases.append(PUBLISHED)
                found.save()

    def keep_rejected(self, model: Path, report: VerificationReport, bake_id: str, held: Held | None = None) -> str:
        """Keep a rejected model aside, labelled, never under the published name; return where."""
        name = f"{self._name}-rejected"
        if self._find(name, _alias(bake_id)) is None:
            label = {_REJECTED: report.model_dump_json(indent=2) + "\n"}
            self._put(name, _alias(bake_id), model, list_files(model), label, held)
        return f"{SCHEME}{self._entity}/{self._project}/{name}:{_alias(bake_id)}"

    def keep_verdict(self, verdict: Verdict, report: str, held: Held | None = None) -> None:
        """Leave what a run found that published nothing; what is there already stays."""
        name = f"{self._name}-verdicts"
        if self._find(name, _alias(verdict.bake_id)) is None:
            texts = {_VERDICT: verdict.model_dump_json(indent=2) + "\n", _REPORT: report}
            self._put(name, _alias(verdict.bake_id), Path(), (), texts, held)

    def _put_model(
        self,
        name: str,
        alias: str,
        model: Path,
        manifest: Manifest | ChampionManifest,
        held: Held | None,
        watcher: Watcher | None,
    ) -> None:
        if set(list_names(model)) - {MANIFEST, SIGNATURE} != {file.path for file in manifest.files}:
            raise OutputError(f"{model} changed while it was being published; run again")
        self._put(name, alias, model, manifest.files, {MANIFEST: manifest_text(manifest)}, held, watcher)

    def _put(
        self,
        name: str,
        alias: str,
        model: Path,
        files: tuple[FileRecord, ...],
        texts: Mapping[str, str],
        held: Held | None,
        watcher: Watcher | None = None,
    ) -> None:
        """Let the lowest whole version that was logged for an alias have it; log one where there is none."""
        with talking_about(self._root):
            check_held(held)
            if self._choose(name, alias, set()):
                return
            artifact = library(self._root).Artifact(name, type=_TYPE, metadata={"of": alias})
            for file in files:
                # Nobody changes it before it is sent, and a copy would take up as much again.
                artifact.add_file(str(model / file.path), name=file.path, policy="immutable", skip_cache=True)
            for path, text in texts.items():
                with artifact.new_file(path, mode="w") as stream:
                    stream.write(text)
            version = self._log(artifact)
            check_held(held)
            wanted = {file.path: file.sha256 for file in files}
            wanted |= {path: hashlib.sha256(text.encode()).hexdigest() for path, text in texts.items()}
            moving = Moving(watcher, "publishing", sum(file.size for file in files))
            if (differs := _differing(self._at(f"{name}:{version}"), wanted, moving)) is not None:
                raise StoreError(f"{self._root}: {differs} of {version} differs from what was sent; run again")
            self._choose(name, alias, {version})

    def _log(self, artifact: Any) -> str:
        """Log a version; return its name once it is committed."""
        wandb = library(self._root)
        with tempfile.TemporaryDirectory() as directory:
            settings = wandb.Settings(**QUIET)
            with wandb.init(
                entity=self._entity,
                project=self._project,
                job_type="publish",
                dir=directory,
                mode="online",
                save_code=False,
                settings=settings,
            ) as run:
                return str(run.log_artifact(artifact).wait().version)

    def _choose(self, name: str, alias: str, read_back: set[str]) -> bool:
        """Let the lowest whole version of those that were logged for an alias have it; return whether there is one.

        Args:
            name: of the artifact.
            alias: that versions were logged for.
            read_back: versions whose every byte is known to be right; what is learnt of others is added.
        """
        for _ in range(_LOOKS):
            ours = sorted((found for found in self._versions(name) if found.metadata.get("of") == alias), key=_number)
            first = next((found for found in ours if found.version in read_back or _is_whole(found)), None)
            if first is None or alias in first.aliases:
                return first is not None
            read_back.add(first.version)
            first.aliases.append(alias)
            first.save()
        raise StoreError(f"{self._root}: others move the alias {alias} all the time; run again")

    def _versions(self, name: str) -> list[Any]:
        api, path = library(self._root).Api(), f"{self._entity}/{self._project}/{name}"
        if not api.artifact_collection_exists(path, _TYPE):
            return []
        return [found for found in api.artifacts(_TYPE, path) if found.state == "COMMITTED"]

    def _find(self, name: str, alias: str) -> Any:
        """Return the version that has an alias, None when none has."""
        with talking_about(self._root):
            path = f"{self._entity}/{self._project}/{name}:{alias}"
            return self._at(f"{name}:{alias}") if library(self._root).Api().artifact_exists(path) else None

    def _at(self, name: str) -> Any:
        return library(self._root).Api().artifact(f"{self._entity}/{self._project}/{name}")

    def _text(self, name: str, bake_id: str, path: str) -> str | None:
        found = self._find(name, _alias(bake_id))
        if found is None or (entry := found.manifest.entries.get(path)) is None:
            return None
        if (entry.size or 0) > LARGEST_MANIFEST:
            raise StoreError(f"{self._root}: {path} of bake {bake_id} is too large to be one; do not trust it")
        with talking_about(self._root), tempfile.TemporaryDirectory() as directory:
            return Path(entry.download(root=directory, skip_cache=True)).read_text(encoding="utf-8", errors="replace")

    def _uri(self, artifact: Any) -> str:
        name = str(artifact.name).partition(":")[0]
        return f"{SCHEME}{self._entity}/{self._project}/{name}:{artifact.version}/{MANIFEST}"

    @contextlib.contextmanager
    def _leased(self, bake_id: str, held: Held | None) -> Iterator[Held | None]:
        """Hold the lease of a bake on this machine, unless the run does; give None when the bake is published."""
        if held is not None:
            yield held
            return
        with leased(self.lease(bake_id), lambda: self.published(bake_id) is not None) as own:
            yield own


def _alias(bake_id: str) -> str:
    return f"bake-{bake_id}"


def _number(artifact: Any) -> int:
    """Return the number that the service gave a version: `v12` is the thirteenth."""
    return int(str(artifact.version).removeprefix("v"))


def _is_whole(artifact: Any) -> bool:
    """Whether a version that another process logged has what makes it real, and every byte of what that names."""
    entries = artifact.manifest.entries
    if MANIFEST not in entries:
        return bool({_REJECTED, _VERDICT} & set(entries))
    if (entries[MANIFEST].size or 0) > LARGEST_MANIFEST:
        return False
    with tempfile.TemporaryDirectory() as directory:
        content = Path(entries[MANIFEST].download(root=directory, skip_cache=True)).read_bytes()
    try:
        parse = parse_champion_manifest if is_evolved(content) else parse_manifest
        files = parse(content, MANIFEST).files
    except CheckFailed:
        return False
    wanted = {file.path: file.sha256 for file in files} | {MANIFEST: hashlib.sha256(content).hexdigest()}
    return _differing(artifact, wanted) is None


def _differing(artifact: Any, wanted: Mapping[str, str], moving: Moving | None = None) -> str | None:
    """Read every file of a version, one at a time; return the first that is not as wanted, None when all are."""
    entries = artifact.manifest.entries
    if others := set(entries) ^ set(wanted):
        return min(others)
    for path, sha256 in wanted.items():
        with tempfile.TemporaryDirectory() as directory:
            found = Path(entries[path].download(root=directory, skip_cache=True))
            if file_sha256(found) != sha256:
                return path
            if moving is not None:
                moving.add(found.stat().st_size)
    return None
