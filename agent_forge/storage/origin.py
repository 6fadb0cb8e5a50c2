"""Where a champion comes from: its address, the manifest it came with, what its card says of its licence.

A champion that an earlier bake published, or that another program left as `champions/<digest>/` with a `manifest.json`
of its own, has a parent: the manifest's digest and where it lies are recorded, so that a lineage can be walked back.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from agent_forge.errors import ChampionError
from agent_forge.records import ChampionCard, FileRecord, ParentRecord, Record, SelectedQuestion
from agent_forge.storage.files import file_sha256, files_digest, list_files, path_digest
from agent_forge.storage.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    is_evolved,
    is_ours,
    parse_champion_manifest,
    parse_manifest,
)
from agent_forge.storage.minisign import SIGNATURE
from agent_forge.storage.references import find

CARD = "README.md"
# Front matter is a few lines; a longer one is not read.
_LONGEST_CARD = 2**20
_FRONT_MATTER = re.compile(r"\A(?:\ufeff)?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_LICENSE = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}")
_LICENSE_NAME = re.compile(r"[\w][\w .+-]{0,95}")
_LICENSE_LINK = re.compile(r"(?:https://[\w.-]+(?:/[\w./~%+-]*)?|[\w][\w.-]{0,63})")
_MODEL = re.compile(r"[\w][\w.-]{0,95}/[\w][\w.-]{0,95}")


class Origin(Record):
    """Where a champion comes from; see `records.ChampionRecord`."""

    uri: str
    revision: str | None = None
    parent: ParentRecord | None = None
    card: ChampionCard | None = None


def champion_digest(path: Path) -> str:
    """Return what a champion is known by: the sha256 of its files, its manifest among them, without its signature.

    A signature is put beside a champion that is there already, so it must not make another champion of it.

    Raises:
        InputError: when there is nothing there, or it cannot be read.
    """
    if not (path / SIGNATURE).is_file():
        return path_digest(path)
    return files_digest(tuple(file for file in list_files(path) if file.path != SIGNATURE))


def origin_of(reference: str, path: Path, digest: str) -> Origin:
    """Describe where a champion comes from.

    Args:
        reference: as the user gave it.
        path: its local copy.
        digest: of that, see `champion_digest`.

    Raises:
        ChampionError: when its manifest is too large to be one.
        CheckFailed: when it is a manifest of this package that is damaged.
    """
    found = find(reference)
    uri = found.uri(path)
    return Origin(uri=uri, revision=found.revision(path), parent=_parent(path, uri, digest), card=_card(path))


def _parent(path: Path, uri: str, digest: str) -> ParentRecord | None:
    manifest = path / MANIFEST
    if not manifest.is_file():
        return None
    if manifest.stat().st_size > LARGEST_MANIFEST:
        raise ChampionError(f"{manifest} has {manifest.stat().st_size:,} bytes, which no manifest has; do not trust it")
    content = manifest.read_bytes()
    parent = ParentRecord(uri=uri, manifest_sha256=hashlib.sha256(content).hexdigest())
    if is_evolved(content):
        evolved = parse_champion_manifest(content, str(manifest))
        return parent.model_copy(update={"intact": files_digest(_together(path, evolved.files)) == digest})
    if not is_ours(content):
        return parent
    known = parse_manifest(content, str(manifest))
    intact = files_digest(_together(path, known.files)) == digest
    return parent.model_copy(update={"bake_id": known.bake_id, "intact": intact})


def selected_on(content: bytes | None, source: str) -> tuple[SelectedQuestion, ...]:
    """Return the questions that a champion with this manifest was chosen by; none with another program's, or without.

    Raises:
        CheckFailed: when it is a manifest of this package that is damaged.
    """
    if content is None:
        return ()
    if is_evolved(content):
        return parse_champion_manifest(content, source).selected_on
    return parse_manifest(content, source).selected_on if is_ours(content) else ()


def selection_parameter(origin: ParentRecord | None, path: Path) -> str:
    """Return what `read_selection` finds those questions by: JSON, `{}` when there are none.

    Args:
        origin: the manifest that a champion came with.
        path: its local copy.
    """
    if origin is None or not selected_on((path / MANIFEST).read_bytes(), str(path / MANIFEST)):
        return "{}"
    return json.dumps({"uri": origin.uri, "manifest_sha256": origin.manifest_sha256}, sort_keys=True)


def read_selection(parameter: str) -> tuple[SelectedQuestion, ...]:
    """Return the questions that `selection_parameter` stands for; its manifest is all that is fetched.

    Raises:
        ChampionError: when it is not there any more, or has changed.
    """
    told: dict[str, str] = json.loads(parameter)
    if not told:
        return ()
    content = find(told["uri"]).manifest()
    if content is None or hashlib.sha256(content).hexdigest() != told["manifest_sha256"]:
        raise ChampionError(
            f"{told['uri']}: its {MANIFEST}, which names the questions that it was chosen by, was removed or changed "
            "since the champion was resolved; run again"
        )
    return selected_on(content, told["uri"])


def _together(path: Path, files: tuple[FileRecord, ...]) -> tuple[FileRecord, ...]:
    """Return the files that a manifest names, and itself, as `champion_digest` takes them."""
    place = path / MANIFEST
    itself = FileRecord(path=place.name, sha256=file_sha256(place), size=place.stat().st_size)
    return tuple(sorted((*files, itself), key=lambda file: file.path))


def _card(path: Path) -> ChampionCard | None:
    """Read the front matter of a model card; what is not of the expected form is left out, whatever wrote it."""
    readme = path / CARD
    if not readme.is_file() or readme.stat().st_size > _LONGEST_CARD:
        return None
    front = _FRONT_MATTER.match(readme.read_text(encoding="utf-8", errors="replace"))
    try:
        fields = yaml.safe_load(front[1]) if front else None
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    if not isinstance(fields, Mapping):
        return None
    return ChampionCard(
        license=_only(_LICENSE, fields.get("license")),
        license_name=_only(_LICENSE_NAME, fields.get("license_name")),
        license_link=_only(_LICENSE_LINK, fields.get("license_link")),
        base_model=_models(fields.get("base_model")),
    )


def _models(value: Any) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    return tuple(name for item in listed[:16] if (name := _only(_MODEL, item)))


def _only(form: re.Pattern[str], value: Any) -> str | None:
    """Return a text of a form; a list of one (licences may be lists) stands for its element."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) and form.fullmatch(value) else None
