"""Commands about published models: verify-artifact, lineage, keygen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agent_forge.storage.lineage import Link

Model = Annotated[str, typer.Argument(help="A published model: directory, s3://, hf:// or wandb://.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("verify-artifact")(verify_artifact)
    app.command()(lineage)
    app.command()(keygen)


def verify_artifact(
    model: Model,
    public_key: Annotated[
        Path | None, typer.Option(help="Require a signature of this key (.pub file of forge keygen or minisign).")
    ] = None,
) -> None:
    """Check every byte of a published model and that its manifest fits together; exit 1 on the first that does not."""
    from agent_forge.storage.artifact import check_artifact, check_evolved, holds_evolved
    from agent_forge.storage.minisign import SIGNATURE, read_public_key

    key = read_public_key(public_key) if public_key else None
    path, blobs = fetched(model)
    if holds_evolved(path):
        evolved = check_evolved(path, key, blobs)
        typer.echo(f"{len(evolved.files)} files agree with the manifest of evolution {evolved.evolution_id}")
        _tell_signature((path / SIGNATURE).exists(), key.name if key else None)
        return
    found = check_artifact(path, key, blobs)
    typer.echo(f"{len(found.manifest.files)} files agree with the manifest of bake {found.manifest.bake_id}")
    _tell_signature(found.signed, found.signer)
    if not found.sealed:
        typer.echo("the manifest is of a version that did not state its own digest: a change in it would not show")


def _tell_signature(signed: bool, signer: str | None) -> None:
    if signer:
        typer.echo(f"signed by key {signer}")
    elif signed:
        typer.echo("signed; whose signature it is was not checked: give --public-key")


def fetched(model: str) -> tuple[Path, Path | None]:
    """Return the local copy of a model, and the directory that links in it may lead into, None for nowhere."""
    from agent_forge.storage.references import find
    from agent_forge.storage.references.hub import HubReference

    reference = find(model)
    path = reference.path()
    # The hub's cache keeps files as links into a directory beside its snapshots.
    return path, reference.blobs(path) if isinstance(reference, HubReference) else None


def lineage(
    model: Model,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Walk from a published model back to its first champion; exit 1 when a manifest is missing or was changed."""
    import json

    from agent_forge.storage.lineage import walk

    links = walk(model)
    if as_json:
        typer.echo(json.dumps([link.model_dump() for link in links], ensure_ascii=False, indent=2))
        return
    for link in links:
        typer.echo(_line(link))


def keygen(
    path: Annotated[Path, typer.Argument(help="Where the secret key is written; the public one goes to PATH.pub.")],
) -> None:
    """Make a key pair to sign manifests with, in minisign's format, without a password."""
    from agent_forge.storage.minisign import generate, write_pair

    key = generate()
    public = write_pair(key, path)
    typer.echo(f"secret key  {path}  (keep it; whoever has it can sign)")
    typer.echo(f"public key  {public}  (key id {key.public.name})")


def _line(link: "Link") -> str:
    if link.evolution_id is not None:
        return f"evolution {link.evolution_id[:12]}  of {', '.join(link.merged_from)}  {link.uri}"
    if link.bake_id is None:
        kind = "model with another program's manifest" if link.manifest_sha256 else "first champion"
        return f"{kind}  {(link.digest or '')[:12]}  {link.uri}"
    code = (link.commit or "unknown")[:12] + (", changed" if link.dirty else "")
    changed = "  (its champion had been changed since it was published)" if link.champion_intact is False else ""
    return (
        f"bake {link.bake_id[:12]}  of champion {(link.champion_digest or '')[:12]}  {link.accuracy_before:.1%} -> "
        f"{link.accuracy_after:.1%}  {link.created_at}  code {code}  {link.uri}{changed}"
    )
