"""Reaching S3 and what speaks its protocol: locations, one client, refusals in one line.

Credentials, region, endpoint and certificates are found where boto3 finds them: AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, a profile or the role of the machine, AWS_REGION, AWS_ENDPOINT_URL, AWS_CA_BUNDLE.

`minio://` is the store that a Kubeflow Pipelines installation brings along, whichever program that is: it has an
endpoint and credentials of its own, PIPELINE_STORE_ENDPOINT, PIPELINE_STORE_ACCESS_KEY and PIPELINE_STORE_SECRET_KEY.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from agent_forge.errors import InputError, StoreError

SCHEME = "s3://"
CLUSTER_SCHEME = "minio://"
# What installations of Kubeflow Pipelines call their own store: before, and since, it has been SeaweedFS.
CLUSTER_HOSTS = ("minio-service.kubeflow", "seaweedfs.kubeflow")
CLUSTER_PORT = 9000
# Requests that run side by side, each holding at most one part of a file in memory.
CONNECTIONS = 6
ATTEMPTS = 8
_REFUSALS = {
    "NoSuchBucket": "there is no such bucket; create it or correct the name",
    "AccessDenied": "access is denied; check the credentials and the bucket's policy",
    "403": "access is denied; check the credentials and the bucket's policy",
    "400": "the store refuses without a reason; check the credentials",
    "InvalidAccessKeyId": "the access key is unknown; check AWS_ACCESS_KEY_ID and the endpoint",
    "SignatureDoesNotMatch": "the secret does not fit the access key; check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the credentials have expired; get new ones",
    "TokenRefreshRequired": "the credentials have expired; get new ones",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "InvalidBucketName": "that is no name of a bucket; correct it",
}


@dataclass(frozen=True)
class Location:
    """A key, or what keys begin with, in a bucket; printed as `s3://bucket/key`."""

    bucket: str
    key: str
    scheme: str = SCHEME

    @classmethod
    def parse(cls, uri: str) -> "Location":
        """Read `s3://bucket/key` or `minio://bucket/key`.

        Raises:
            InputError: when it names no bucket.
        """
        scheme = CLUSTER_SCHEME if uri.startswith(CLUSTER_SCHEME) else SCHEME
        bucket, _, key = uri.removeprefix(scheme).partition("/")
        if not uri.startswith(scheme) or not bucket:
            raise InputError(f"{uri}: no bucket is named; give {scheme}bucket/key")
        return cls(bucket, key.strip("/"), scheme)

    def __truediv__(self, name: str) -> "Location":
        return Location(self.bucket, f"{self.key}/{name}" if self.key else name, self.scheme)

    def __str__(self) -> str:
        return f"{self.scheme}{self.bucket}/{self.key}"


def in_a_bucket(uri: str) -> bool:
    """Whether a reference names objects in a bucket."""
    return uri.startswith((SCHEME, CLUSTER_SCHEME))


def connect(scheme: str = SCHEME, attempts: int = ATTEMPTS) -> Any:
    """Return a client for S3, retrying with back-off; path style addresses where an endpoint is given.

    Args:
        scheme: whose endpoint and credentials to use.
        attempts: how often a request is made before it has failed.

    Raises:
        InputError: when boto3 is not installed, or the surroundings configure it wrongly.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as cause:
        raise InputError("s3:// needs the package boto3, which is not installed; install agent-forge[s3]") from cause
    own = _cluster_store() if scheme == CLUSTER_SCHEME else {}
    endpoint = own or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    settings = Config(
        retries={"mode": "standard", "max_attempts": attempts},
        s3={"addressing_style": "path" if endpoint else "auto"},
        max_pool_connections=CONNECTIONS + 2,
        connect_timeout=10,
        read_timeout=60,
        # Servers other than Amazon's refuse checksums they do not know; digests are compared here.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        # A session of its own: the default one would keep the first credentials it saw for ever.
        session = boto3.session.Session()
        return session.client("s3", config=settings, region_name=session.region_name or "us-east-1", **own)
    except (BotoCoreError, ValueError) as cause:
        raise InputError(f"s3:// cannot be reached: {_line(cause)}; check the AWS_ settings") from cause


def _cluster_store() -> dict[str, str]:
    key, secret = (os.environ.get(f"PIPELINE_STORE_{name}_KEY") for name in ("ACCESS", "SECRET"))
    if not key or not secret:
        raise InputError(
            "minio:// needs PIPELINE_STORE_ACCESS_KEY and PIPELINE_STORE_SECRET_KEY, from the secret "
            "mlpipeline-minio-artifact; for any other store give s3://"
        )
    endpoint = os.environ.get("PIPELINE_STORE_ENDPOINT") or f"http://{_cluster_host()}:{CLUSTER_PORT}"
    return {"endpoint_url": endpoint, "aws_access_key_id": key, "aws_secret_access_key": secret}


def _cluster_host() -> str:
    for host in CLUSTER_HOSTS:
        with contextlib.suppress(OSError):
            socket.getaddrinfo(host, CLUSTER_PORT)
            return host
    raise InputError(
        f"minio:// is neither at {CLUSTER_HOSTS[0]} nor at {CLUSTER_HOSTS[1]}, names that nobody knows here; say where "
        "it is in PIPELINE_STORE_ENDPOINT, under `environment` in the platform file"
    )


@contextlib.contextmanager
def talking_about(place: object) -> Iterator[None]:
    """Turn what boto3 raises into one clear line about a place.

    Raises:
        InputError: for credentials, buckets and permissions that are not right.
        StoreError: when the store does not answer, or fails again and again.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as cause:
        raise InputError(
            f"{place}: no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from cause
    except ClientError as cause:
        code = error_code(cause)
        if (advice := _REFUSALS.get(code)) is not None:
            raise InputError(f"{place}: {advice}") from cause
        raise StoreError(f"{place}: the store says {code}; run again to continue") from cause
    except BotoCoreError as cause:
        raise StoreError(f"{place}: {_line(cause)}; check AWS_ENDPOINT_URL, run again to continue") from cause


def error_code(error: Exception) -> str:
    """Return the store's own name for a refusal, or the HTTP status where it gives none."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", "unknown"))


def is_missing(error: Exception) -> bool:
    """Whether a refusal means that there is no such object."""
    return error_code(error) in {"404", "NoSuchKey", "NotFound"}


def get_object(client: Any, place: Location) -> Any:
    """Return the store's answer with an object, its body unread; None when there is no such object."""
    from botocore.exceptions import ClientError

    try:
        return client.get_object(Bucket=place.bucket, Key=place.key)
    except ClientError as cause:
        if is_missing(cause):
            return None
        raise


def is_conflict(error: Exception) -> bool:
    """Whether a conditional write was refused because its condition does not hold."""
    return error_code(error) in {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}


def safe_name(name: str) -> bool:
    """Whether an object's name below its prefix is a plain relative path that cannot lead out of a directory."""
    parts = name.split("/")
    return not (
        PurePosixPath(name).is_absolute()
        or any(part in ("", ".", "..") for part in parts)
        or "\\" in name
        or any(ord(character) < 32 for character in name)
    )


def _line(cause: Exception) -> str:
    return " ".join(str(cause).split())
