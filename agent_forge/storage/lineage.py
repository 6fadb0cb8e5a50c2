"""Walking from a published model back to the first champion, from manifest to manifest.

Every manifest states where its champion came from and the sha256 of the manifest that came with it, so a chain is as
trustworthy as its newest link: what was changed behind it shows. Only manifests are read, no models.
"""

import hashlib

from agent_forge.errors import CheckFailed, InputError
from agent_forge.records import Manifest, ParentRecord, Record
from agent_forge.storage.manifest import MANIFEST, is_evolved, is_ours, parse_champion_manifest, parse_manifest
from agent_forge.storage.references import find

# Nobody has re-baked that often; a longer chain was made to be walked for ever.
_LONGEST = 1000


class Link(Record):
    """One model of a lineage: a bake, the model of another program, or the first champion.

    Attributes:
        uri: what it is found by.
        bake_id: None where no bake made it; the fields of a bake are then None too.
        champion_digest: sha256 of the champion that the bake began with.
        champion_uri: what that is found by.
        accuracy_before: of that champion on questions nothing else has seen, as a fraction.
        accuracy_after: of the baked model on the same questions.
        champion_intact: whether that champion was, file by file, the model of its manifest; None without one of ours.
        digest: sha256 of the model's own files, where no manifest of a bake describes it.
        evolution_id: where an evolution made it.
        merged_from: address and digest of the models that it was merged from, where one did.
    """

    uri: str
    manifest_sha256: str | None = None
    bake_id: str | None = None
    champion_digest: str | None = None
    champion_uri: str | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    created_at: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    champion_intact: bool | None = None
    digest: str | None = None
    evolution_id: str | None = None
    merged_from: tuple[str, ...] = ()


def walk(reference: str) -> tuple[Link, ...]:
    """Return a model's lineage, newest first; the last link is the first champion.

    Raises:
        InputError: when the model itself has no manifest.
        CheckFailed: when a manifest on the way is missing, was changed, or leads back to where the walk has been.
    """
    content = find(reference).manifest()
    if content is None:
        raise InputError(f"{reference} has no {MANIFEST}; it is not a published model")
    links: list[Link] = []
    if is_evolved(content):
        return (_evolved(reference, content, None),)
    uri, seen = reference, {hashlib.sha256(content).hexdigest()}
    manifest = parse_manifest(content, _name(uri))
    while True:
        links.append(_link(uri, manifest, content))
        champion = manifest.champion
        if (parent := champion.parent) is None:
            return (*links, Link(uri=champion.uri, digest=champion.digest))
        if parent.manifest_sha256 in seen or len(links) >= _LONGEST:
            raise CheckFailed(f"{_name(parent.uri)}: the lineage of bake {manifest.bake_id} leads back to itself")
        seen.add(parent.manifest_sha256)
        content = _parent_content(manifest.bake_id, parent)
        if is_evolved(content):
            return (*links, _evolved(parent.uri, content, champion.digest))
        if not is_ours(content):
            return (*links, Link(uri=parent.uri, manifest_sha256=parent.manifest_sha256, digest=champion.digest))
        uri, manifest = parent.uri, parse_manifest(content, _name(parent.uri))


def _parent_content(bake_id: str, parent: ParentRecord) -> bytes:
    content = find(parent.uri).manifest()
    if content is None:
        raise CheckFailed(f"{_name(parent.uri)} is missing; bake {bake_id} names it as its parent")
    if (found := hashlib.sha256(content).hexdigest()) != parent.manifest_sha256:
        raise CheckFailed(
            f"{_name(parent.uri)} was changed: it has sha256 {found}, bake {bake_id} names {parent.manifest_sha256}"
        )
    return content


def _link(uri: str, manifest: Manifest, content: bytes) -> Link:
    return Link(
        uri=uri,
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        bake_id=manifest.bake_id,
        champion_digest=manifest.champion.digest,
        champion_uri=manifest.champion.uri,
        accuracy_before=manifest.verification.champion_accuracy,
        accuracy_after=manifest.verification.baked_accuracy,
        created_at=manifest.created_at,
        commit=manifest.code.commit,
        dirty=manifest.code.dirty,
        champion_intact=manifest.champion.parent.intact if manifest.champion.parent else None,
    )


def _evolved(uri: str, content: bytes, digest: str | None) -> Link:
    """Describe an evolved champion; what it was merged from have lineages of their own."""
    manifest = parse_champion_manifest(content, _name(uri))
    return Link(
        uri=uri,
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        digest=digest,
        commit=manifest.code.commit,
        dirty=manifest.code.dirty,
        evolution_id=manifest.evolution_id,
        merged_from=tuple(f"{model.uri} ({model.digest[:12]})" for model in manifest.base_models),
    )


def _name(uri: str) -> str:
    return f"{uri.rstrip('/')}/{MANIFEST}"
