"""Writing a small file beside a published manifest, once."""

from pathlib import Path

from agent_forge.storage.files import write_atomic
from agent_forge.storage.s3 import Location, connect, in_a_bucket, talking_about
from agent_forge.storage.s3_upload import put_text


def put_beside(manifest: str, name: str, text: str) -> None:
    """Write a file beside a published manifest unless one of that name is there.

    Args:
        manifest: where the manifest is: a path, or an address in a bucket.
        name: of the file.
        text: its content.
    """
    folder = manifest.rpartition("/")[0]
    if in_a_bucket(manifest):
        place = Location.parse(folder) / name
        with talking_about(place):
            put_text(connect(place.scheme), place, text, None)
    elif not (Path(folder) / name).exists():
        write_atomic(Path(folder) / name, text)
