"""The manifest as a file: sealed by a digest of its own bytes, parsed with suspicion.

The seal is the sha256 of the file with the seal's own digits replaced by zeros, so that it covers every byte, white
space included, and can be checked without this program:

    sed 's/"content_sha256": "[0-9a-f]*"/"content_sha256": "'$(printf '0%.0s' {1..64})'"/' manifest.json | sha256sum

It tells damage, not forgery: whoever can write the file can seal it again. Forgery is what signatures are for.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from agent_forge.errors import CheckFailed
from agent_forge.evolution_records import CHAMPION_KIND, ChampionManifest
from agent_forge.records import Manifest, first_problem

MANIFEST = "manifest.json"
# A manifest lists files; one that is larger than this is none.
LARGEST_MANIFEST = 16 * 2**20
_BLANK = "0" * 64
# The kind of a manifest stands at its beginning.
_KIND_WITHIN = 256
AnyManifest = Manifest | ChampionManifest
M = TypeVar("M", Manifest, ChampionManifest)
_SEAL = re.compile(rb'"content_sha256":\s*"([0-9a-f]{64})"')


def manifest_text(manifest: AnyManifest) -> str:
    """Return the file's text; it keeps a seal that the manifest has."""
    return manifest.model_dump_json(indent=2) + "\n"


def sealed(manifest: M) -> M:
    """Return the manifest with the digest of its own file."""
    blank = manifest.model_copy(update={"content_sha256": _BLANK})
    return manifest.model_copy(update={"content_sha256": hashlib.sha256(manifest_text(blank).encode()).hexdigest()})


def parse_manifest(content: bytes, source: str) -> Manifest:
    """Read the manifest of a bake and check its seal; manifests of older versions have none.

    Raises:
        CheckFailed: naming `source`, when it is too large, no manifest, or not as it was written.
    """
    return _parse(Manifest, content, source)


def parse_champion_manifest(content: bytes, source: str) -> ChampionManifest:
    """Read the manifest of an evolved champion and check its seal; see `parse_manifest`."""
    return _parse(ChampionManifest, content, source)


def is_ours(content: bytes) -> bool:
    """Whether a `manifest.json` is of a bake, damaged or not; other programs write files of this name too."""
    return not is_evolved(content) and (b'"bake_id"' in content or b'"content_sha256"' in content)


def is_evolved(content: bytes) -> bool:
    """Whether a `manifest.json` is of an evolved champion, damaged or not."""
    return f'"{CHAMPION_KIND}"'.encode() in content[:_KIND_WITHIN]


def bake_id_of(
    champion_digest: str, config: Mapping[str, object], question_digests: Mapping[str, str], code_sha256: str
) -> str:
    """Return the sha256 (hex) over everything that decides a bake's result.

    Args:
        champion_digest: sha256 of the champion.
        config: the fields that change results.
        question_digests: sha256 of each question set by split, and of the exemplars where there are some.
        code_sha256: sha256 over the package's sources.
    """
    content = {
        "champion": champion_digest,
        "config": dict(config),
        "questions": dict(question_digests),
        "code": code_sha256,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _parse(kind: type[M], content: bytes, source: str) -> M:
    if len(content) > LARGEST_MANIFEST:
        raise CheckFailed(f"{source} has more than {LARGEST_MANIFEST:,} bytes, which no manifest has; do not trust it")
    seal = _checked_seal(content, source)
    try:
        manifest = kind.model_validate_json(content)
    except ValidationError as cause:
        raise CheckFailed(
            f"{source} is damaged or no manifest of this version: {first_problem(cause)}; fetch the model again"
        ) from cause
    if manifest.content_sha256 != seal:
        raise CheckFailed(f"{source} is damaged: its own digest is none; fetch the model again")
    return manifest


def _checked_seal(content: bytes, source: str) -> str:
    """Return the seal, empty when there is none."""
    seals = list(_SEAL.finditer(content))
    if not seals:
        return ""
    start, end = seals[0].span(1)
    expected = hashlib.sha256(content[:start] + _BLANK.encode() + content[end:]).hexdigest()
    if len(seals) > 1 or seals[0][1].decode() != expected:
        raise CheckFailed(f"{source} is not as it was written: its own digest does not fit; fetch the model again")
    return expected
