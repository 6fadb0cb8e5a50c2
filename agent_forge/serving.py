"""The InferenceService of a published model: what KServe is told, made of nothing but a manifest that was checked.

It names the place and the sha256 of the manifest; the pod checks both again before it serves (manifests/serving).
"""

import hashlib
import re
from dataclasses import dataclass

from agent_forge.errors import InputError
from agent_forge.records import Manifest
from agent_forge.storage.hub import HubPlace

RUNTIME, MODEL_FORMAT = "quietstar-vllm", "quietstar"
# What KServe's storage initializer fetches from.
_FETCHED = ("s3://", "gs://", "pvc://", "hf://")
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,51}[a-z0-9])?")


@dataclass(frozen=True)
class Place:
    """Where and on what a model is served.

    Attributes:
        name: of the service.
        storage_uri: what KServe fetches the model from.
        gpus: per replica.
        cpu, memory: requests and limits as Kubernetes quantities.
        service_account: whose secrets reach the store; None for the namespace's default.
    """

    name: str
    storage_uri: str
    gpus: int = 1
    cpu: str = "4"
    memory: str = "16Gi"
    service_account: str | None = None


def storage_uri(reference: str) -> str:
    """Return what KServe fetches a reference from.

    Raises:
        InputError: when KServe cannot reach it.
    """
    if not reference.startswith(_FETCHED):
        raise InputError(
            f"KServe cannot fetch {reference}; say by --storage-uri where the cluster finds the same files, as "
            f"{', '.join(f'{scheme}...' for scheme in _FETCHED)}"
        )
    if reference.startswith("hf://") and HubPlace.parse(reference).folder:
        raise InputError(
            f"KServe fetches whole repositories, not {reference}; say by --storage-uri where the cluster finds the "
            "same files"
        )
    # KServe writes a revision behind a colon.
    return reference.replace("@", ":") if reference.startswith("hf://") else reference.rstrip("/")


def inference_service(manifest: Manifest, content: bytes, place: Place) -> dict[str, object]:
    """Return the InferenceService.

    Args:
        manifest: of the model, checked.
        content: the manifest's own bytes.
        place: where and on what.

    Raises:
        InputError: when the name is none, or the model cannot be served as it was measured.
    """
    if not _NAME.fullmatch(place.name):
        raise InputError(
            f"{place.name!r} cannot name a service; give lower case letters, digits and hyphens, at most 53"
        )
    _check_prompting(manifest)
    limits = {"cpu": place.cpu, "memory": place.memory} | ({"nvidia.com/gpu": str(place.gpus)} if place.gpus else {})
    model = {
        "modelFormat": {"name": MODEL_FORMAT},
        "runtime": RUNTIME,
        "storageUri": place.storage_uri,
        "args": [f"--served-model-name={place.name}"],
        "env": [{"name": "QUIETSTAR_MANIFEST_SHA256", "value": hashlib.sha256(content).hexdigest()}],
        "resources": {"requests": limits, "limits": limits},
    }
    account = {"serviceAccountName": place.service_account} if place.service_account else {}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": place.name, "labels": _LABELS, "annotations": _annotations(manifest)},
        "spec": {"predictor": {**account, "model": model}},
    }


_LABELS = {"app.kubernetes.io/name": "agent-forge", "app.kubernetes.io/part-of": "quietstar-serving"}


def _annotations(manifest: Manifest) -> dict[str, str]:
    checked = manifest.verification
    return {
        "quietstar/bake-id": manifest.bake_id,
        "quietstar/champion-sha256": manifest.champion.digest,
        "quietstar/measured": f"{checked.champion_accuracy:.1%} -> {checked.baked_accuracy:.1%}",
    }


def _check_prompting(manifest: Manifest) -> None:
    prompting = manifest.prompting
    if prompting is None:
        raise InputError(
            f"the manifest of bake {manifest.bake_id[:12]} is of a version that did not record how questions are put; "
            "bake again"
        )
    if prompting.few_shot:
        raise InputError(
            f"bake {manifest.bake_id[:12]} was measured behind exemplars, which no server puts before questions; bake "
            "without few_shot to serve it"
        )
