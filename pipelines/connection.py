"""Connecting to Kubeflow Pipelines: where it is, and as whom. Credentials come from the environment or files only."""

import argparse
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent_forge.errors import ConfigError, ForgeError

TOKEN, COOKIE = "KFP_TOKEN", "KFP_COOKIE"
# Where Kubernetes puts the token that a service account is given for the pipelines' audience.
SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that connects takes."""
    parser.add_argument("--host", default=os.environ.get("KFP_HOST", ""), help="URL of Kubeflow Pipelines (KFP_HOST)")
    parser.add_argument("--namespace", default="kubeflow", help="namespace of the runs")
    parser.add_argument("--experiment", default="quietstar", help="experiment that runs are grouped in")
    parser.add_argument("--service-account", help="service account that the pods run as")
    parser.add_argument("--ca-file", help="certificate authority of the host")


def connect(given: argparse.Namespace) -> Any:
    """Return a client.

    A token is taken from KFP_TOKEN, a cookie (`authservice_session=...`) from KFP_COOKIE; without either a pod uses
    its service account's token. Neither is ever an argument, since arguments are seen by everyone on the machine.

    Raises:
        ConfigError: when no host is given.
        ForgeError: when nothing answers there.
    """
    import kfp
    from kfp.client import ServiceAccountTokenVolumeCredentials

    if not given.host:
        raise ConfigError("no host: give --host https://..., or set KFP_HOST")
    token, cookie = os.environ.get(TOKEN), os.environ.get(COOKIE)
    inside = not token and not cookie and SERVICE_ACCOUNT_TOKEN.is_file()
    credentials = ServiceAccountTokenVolumeCredentials(path=str(SERVICE_ACCOUNT_TOKEN)) if inside else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = kfp.Client(
                host=given.host,
                namespace=given.namespace,
                existing_token=token,
                cookies=cookie,
                credentials=credentials,
                ssl_ca_cert=given.ca_file,
            )
            client.get_kfp_healthz(sleep_duration=1)
    except Exception as cause:
        raise ForgeError(f"cannot reach Kubeflow Pipelines at {given.host}: {reason(cause)}") from cause
    return client


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the server refuses, and a connection that breaks, into one line.

    Raises:
        ForgeError: with the status and what the server said.
    """
    from kfp_server_api.exceptions import OpenApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (OpenApiException, HTTPError, OSError) as cause:
        raise ForgeError(f"Kubeflow Pipelines refused: {reason(cause)}") from cause


def reason(error: BaseException) -> str:
    """Say in one line why a call failed, without headers, which hold credentials."""
    status, body = getattr(error, "status", None), getattr(error, "body", None)
    if status is not None:
        return f"HTTP {status} {' '.join(str(body or getattr(error, 'reason', '')).split())[:200]}"
    root = error
    while root.__cause__ or root.__context__:
        root = root.__cause__ or root.__context__ or root
    return " ".join(str(root).split())[:200] or type(root).__name__
