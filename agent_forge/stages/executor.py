"""The executor input of Kubeflow Pipelines: what a container is given and what it must write.

The JSON that arrives holds `inputs.parameterValues`, `inputs.artifacts.<name>.artifacts[] {name, uri, metadata}`,
`outputs.parameters.<name>.outputFile`, `outputs.artifacts.<name>.artifacts[0].uri` and `outputs.outputFile`. An
artifact lies at its URI with the scheme as a folder. The configuration arrives as the parameter `config`, a JSON text,
and as parameters with the names of fields. What a stage spent is added to its metrics.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_forge.config import QuietSTaRConfig, build_config, read_config_file
from agent_forge.errors import InputError
from agent_forge.stages.context import Progress, StageContext, StageOutcome
from agent_forge.stages.executor_input import ExecutorInput, ExecutorOutputs, artifact_path, parse_input
from agent_forge.stages.registry import find_stage
from agent_forge.storage.files import write_atomic
from agent_forge.storage.references import bundled_configuration

# Stages that several processes may carry out together, the first of which writes; and how torchrun says so.
TOGETHER = frozenset({"bake"})
_TORCHRUN = (("WORLD_SIZE", "1"), ("RANK", "0"))


def run_executor_input(name: str, text: str, progress: Progress) -> StageOutcome:
    """Run one stage as its container does.

    Args:
        name: stage name.
        text: the executor input, JSON.
        progress: is told how far the stage has come.

    Raises:
        ForgeError: for bad input, or whatever the stage raises.
    """
    stage = find_stage(name)
    processes, number = (int(os.environ.get(variable, default)) for variable, default in _TORCHRUN)
    if processes > 1 and name not in TOGETHER:
        raise InputError(f"stage {name} runs in one process, and torchrun started {processes}; start it without")
    given = parse_input(text)
    values = dict(given.inputs.parameterValues)
    config = _config(values)
    with _scratch(name, str(values.pop("scratch", ""))) as scratch:
        context = _context(given, values, config, scratch, progress)
        _require(stage.name, "input", stage.inputs, context.inputs)
        _require(stage.name, "output", stage.outputs, context.outputs)
        outcome = stage.carry_out(context)
        if number == 0:
            write_outcome(given.outputs, outcome)
    return outcome


@contextlib.contextmanager
def _scratch(name: str, given: str) -> Iterator[Path]:
    """Give a stage its scratch: the caller's, which a repetition finds again, or one that is removed at the end."""
    if given:
        yield Path(given)
        return
    with tempfile.TemporaryDirectory(prefix=f"forge-{name}-") as made:
        yield Path(made)


def _context(
    given: ExecutorInput, values: dict[str, Any], config: QuietSTaRConfig, scratch: Path, progress: Progress
) -> StageContext:
    return StageContext(
        config=config,
        inputs={
            key: tuple(artifact_path(artifact.uri) for artifact in listed.artifacts)
            for key, listed in given.inputs.artifacts.items()
        },
        parameters={key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()},
        outputs={key: artifact_path(listed.artifacts[0].uri) for key, listed in given.outputs.artifacts.items()},
        scratch=scratch,
        artifacts_at=next((listed.artifacts[0].uri for listed in given.outputs.artifacts.values()), ""),
        progress=progress,
    )


@dataclass(frozen=True)
class Task:
    """What a task is about, besides its own files: `place` is `<stage>` or `<stage>/<instance>`."""

    place: str
    config: QuietSTaRConfig
    artifacts: dict[str, tuple[Path, ...]]


def describe_task(name: str, text: str) -> Task:
    """Return where a task belongs, its configuration and its artifacts, read and written, by name."""
    find_stage(name)
    given = parse_input(text)
    values = dict(given.inputs.parameterValues)
    listed = {**given.inputs.artifacts, **given.outputs.artifacts}
    instance = values.get("cell") or values.get("shard") or ""
    return Task(
        place=f"{name}/{instance}" if instance else name,
        config=_config(values),
        artifacts={key: tuple(artifact_path(one.uri) for one in found.artifacts) for key, found in listed.items()},
    )


def _config(values: dict[str, Any]) -> QuietSTaRConfig:
    """Take the configuration out of the parameters: `config`, and fields given on their own unless they are empty.

    Without any `config` a bundled champion is run as it is meant to be, but for the fields given on their own.

    Raises:
        InputError: when a field is given twice, as two things.
    """
    text = values.pop("config", "")
    text = text.strip() if isinstance(text, str) else text
    given = dict(_as_mapping(text or {}))
    told_twice = given.keys() & values.keys()
    if text == "" and (file := bundled_configuration(str(values.get("model_path", "")))) is not None:
        given = read_config_file(file)
    for name in QuietSTaRConfig.model_fields:
        if (value := values.pop(name, "")) in ("", None):
            continue
        if name in told_twice and _plain(given[name]) != _plain(value):
            raise InputError(
                f"{name} is {_plain(given[name])} in config and {_plain(value)} as a parameter of its own; give it "
                "as the parameter alone"
            )
        given[name] = value
    return build_config(given)


def _plain(value: object) -> str:
    """Write a value as one that arrives as text, or as a number with a fraction, would be written."""
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    return ",".join(str(part).strip().removesuffix(".0") for part in parts)


def write_outcome(outputs: ExecutorOutputs, outcome: StageOutcome) -> None:
    """Write output parameters to their files, and every artifact with its metadata to the executor output."""
    for key, parameter in outputs.parameters.items():
        if key in outcome.parameters:
            write_atomic(Path(parameter.outputFile), outcome.parameters[key])
    described: dict[str, Any] = {}
    for key, listed in outputs.artifacts.items():
        metadata = _measured(outcome) if key == "metrics" else dict(outcome.metadata.get(key, {}))
        artifact = listed.artifacts[0]
        described[key] = {"artifacts": [{"name": artifact.name, "uri": artifact.uri, "metadata": metadata}]}
    if outputs.outputFile:
        write_atomic(Path(outputs.outputFile), json.dumps({"artifacts": described}))


def _measured(outcome: StageOutcome) -> dict[str, float]:
    spent = {"seconds": outcome.cost.seconds, "tokens": outcome.cost.tokens, "questions": outcome.cost.questions}
    return {**outcome.metrics, **{name: value for name, value in spent.items() if value}}


def _as_mapping(value: object) -> Mapping[str, object]:
    try:
        content = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as cause:
        raise InputError(f"parameter config is not JSON: {cause}") from cause
    if not isinstance(content, dict):
        raise InputError(f"parameter config holds a {type(content).__name__}; a JSON object of fields is expected")
    return content


def _require(stage: str, side: str, names: tuple[str, ...], given: Mapping[str, object]) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(f"stage {stage}: {side} artifact {missing[0]} is missing from the executor input")
