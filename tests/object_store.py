"""A real S3 server of one's own: SeaweedFS, from the package that carries its program."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from agent_forge.storage.s3 import connect

KEY, SECRET, BUCKET = "forge-test-key", "forge-test-secret", "forge-test"
READER = {"AWS_ACCESS_KEY_ID": "forge-test-reader", "AWS_SECRET_ACCESS_KEY": "forge-test-reader-secret"}
_PROGRAM = Path(sys.executable).parent / "weed"
_ROLES = ("master", "volume", "filer", "s3")


@contextmanager
def object_store(place: Path) -> Iterator[dict[str, str]]:
    """Run a server below a directory; give the environment in which clients find it."""
    ports = _free_ports(2 * len(_ROLES))
    options = ["server", "-ip=127.0.0.1", f"-dir={place}", "-filer", "-s3", f"-s3.config={_identities(place)}"]
    options += ["-volume.max=400", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
    # Further services of the same program, off: their ports are fixed.
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    for role, http, grpc in zip(_ROLES, ports[::2], ports[1::2], strict=True):
        options += [f"-{role}.port={http}", f"-{role}.port.grpc={grpc}"]
    environment = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports[6]}",
    }
    with (place / "log").open("w") as log, subprocess.Popen([_PROGRAM, *options], stdout=log, stderr=log) as server:
        try:
            _wait(environment, server, place / "log")
            yield environment
        finally:
            server.kill()


def _identities(place: Path) -> Path:
    file = place / "identities.json"
    reader = tuple(READER.values())
    identities = [
        {"name": actions[0], "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for (key, secret), actions in (((KEY, SECRET), ["Admin"]), (reader, ["Read", "List"]))
    ]
    file.write_text(json.dumps({"identities": identities}))
    return file


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


def _wait(environment: dict[str, str], server: subprocess.Popen[bytes], log: Path) -> None:
    os.environ.update(environment)
    for _ in range(60):
        if server.poll() is not None:
            break
        with suppress(BotoCoreError, ClientError):
            connect().create_bucket(Bucket=BUCKET)
            return
        time.sleep(0.25)
    raise AssertionError(f"the server did not start: {log.read_text()[-2000:]}")
