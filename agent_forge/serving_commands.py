"""Commands about serving: promote."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(promote)


def promote(
    model: Annotated[str, typer.Argument(help="A published model: ROOT/baked/BAKE_ID, s3:// or hf://.")],
    name: Annotated[str, typer.Option(help="Name of the service.")],
    uri: Annotated[
        str | None, typer.Option("--storage-uri", help="Where the cluster finds the same files; default: MODEL.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="Require a signature of this key (.pub file of forge keygen or minisign).")
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, max=64, help="GPUs per replica.")] = 1,
    cpu: Annotated[str, typer.Option(help="CPU, as a Kubernetes quantity.")] = "4",
    memory: Annotated[str, typer.Option(help="Memory, as a Kubernetes quantity.")] = "16Gi",
    service_account: Annotated[str | None, typer.Option(help="Account whose secrets reach the store.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of standard output.")] = None,
) -> None:
    """Write the KServe InferenceService of a published model, once every byte of it agrees with its manifest."""
    import yaml

    from agent_forge.serving import Place, inference_service, storage_uri
    from agent_forge.storage.artifact import check_artifact
    from agent_forge.storage.files import write_atomic
    from agent_forge.storage.manifest import MANIFEST
    from agent_forge.storage.minisign import read_public_key
    from agent_forge.storage.references import find

    fetched = storage_uri(uri or model)
    path = find(model).path()
    found = check_artifact(path, read_public_key(public_key) if public_key else None)
    place = Place(name, fetched, gpus, cpu, memory, service_account)
    service = inference_service(found.manifest, (path / MANIFEST).read_bytes(), place)
    text = yaml.safe_dump(service, sort_keys=False)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_atomic(out, text)
    typer.echo(f"{out}  serves bake {found.manifest.bake_id[:12]} as {name}")
