"""Writing a small file beside a published manifest, once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent_forge.storage.files import write_atomic
from agent_forge.storage.hub import Branch, HubPlace, addition, on_the_hub
from agent_forge.storage.hub_failures import talking_about as talking_about_the_hub
from agent_forge.storage.s3 import Location, connect, in_a_bucket, talking_about
from agent_forge.storage.s3_upload import put_text


def put_beside(manifest: str, name: str, text: str) -> None:
    """Write a file beside a published manifest unless one of that name is there.

    Args:
        manifest: where the manifest is: a path, or an address in a bucket or on the hub.
        name: of the file.
        text: its content.
    """
    folder = manifest.rpartition("/")[0]
    if in_a_bucket(manifest):
        place = Location.parse(folder) / name
        with talking_about(place):
            put_text(connect(place.scheme), place, text, None)
    elif on_the_hub(manifest):
        _commit_beside(HubPlace.parse(folder) / name, text)
    elif not (Path(folder) / name).exists():
        write_atomic(Path(folder) / name, text)


def _commit_beside(place: HubPlace, text: str) -> None:
    branch = Branch(place.name, place.revision or "main")

    def look(head: str) -> Sequence[Any]:
        return () if branch.read(place.folder, head) is not None else (addition(place.folder, text.encode()),)

    with talking_about_the_hub(place):
        branch.change(look, f"add {place.folder}")
