"""What the executor input of Kubeflow Pipelines looks like. Light: the image that only submits reads it too."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from agent_forge.errors import InputError
from agent_forge.records import first_problem

_ROOTS = {"minio": "/minio", "s3": "/s3", "gs": "/gcs", "file": ""}


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Artifact(_Loose):
    """One artifact as the pipeline describes it."""

    name: str = ""
    uri: str
    metadata: dict[str, Any] = {}


class ArtifactList(_Loose):
    """The artifacts behind one name; several after a fan-out."""

    artifacts: list[Artifact] = []


class OutputParameter(_Loose):
    """Where an output parameter is written."""

    outputFile: str  # noqa: N815 - the pipeline's own name


class ExecutorInputs(_Loose):
    """What the task was given."""

    parameterValues: dict[str, Any] = {}  # noqa: N815 - the pipeline's own name
    artifacts: dict[str, ArtifactList] = {}


class ExecutorOutputs(_Loose):
    """Where the task writes."""

    parameters: dict[str, OutputParameter] = {}
    artifacts: dict[str, ArtifactList] = {}
    outputFile: str = ""  # noqa: N815 - the pipeline's own name


class ExecutorInput(_Loose):
    """The whole executor input."""

    inputs: ExecutorInputs = ExecutorInputs()
    outputs: ExecutorOutputs = ExecutorOutputs()


def parse_input(text: str) -> ExecutorInput:
    """Read an executor input.

    Raises:
        InputError: when it is none.
    """
    try:
        return ExecutorInput.model_validate_json(text)
    except ValidationError as cause:
        raise InputError(f"--executor-input is not an executor input: {first_problem(cause)}") from cause


def artifact_path(uri: str) -> Path:
    """Return where an artifact lies: `minio://b/k` is `/minio/b/k`; a plain path is itself."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Path(uri)
    if scheme not in _ROOTS:
        raise InputError(f"artifact {uri}: unknown scheme {scheme}://; expected one of {', '.join(_ROOTS)}")
    return Path(f"{_ROOTS[scheme]}/{rest.lstrip('/')}")
