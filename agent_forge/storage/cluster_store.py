"""Publishing beside the artifacts of a Kubeflow pipeline, in the store that its installation brings along.

    minio://mlpipeline/v2/artifacts/...                        artifacts of runs
    minio://mlpipeline/agent-forge/baked/<bake id>/...         what is published

So a later run of the same bake finds it, with no other root configured.
"""

import os

from agent_forge.storage.s3 import CLUSTER_SCHEME

_ARTIFACTS = "/v2/artifacts/"
_OURS = "agent-forge"


def root_beside(artifact_uri: str) -> str | None:
    """Return the publication root beside an artifact, None where this process has no credentials for its store.

    Args:
        artifact_uri: of any artifact of the run. Namespaces that share a store have a prefix each, which is kept.
    """
    if not artifact_uri.startswith(CLUSTER_SCHEME) or not os.environ.get("PIPELINE_STORE_ACCESS_KEY"):
        return None
    before, found, _ = artifact_uri.partition(_ARTIFACTS)
    if not found:
        before = CLUSTER_SCHEME + artifact_uri.removeprefix(CLUSTER_SCHEME).partition("/")[0]
    return f"{before}/{_OURS}"
