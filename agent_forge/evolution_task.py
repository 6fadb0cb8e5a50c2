"""The task `evolve` of a pipeline: an evolution by the contract of all containers, see `stages.executor`.

Its state lies on a volume that outlives the pod, below `state_path`, under a name made of what is evolved. So a task
that is run again, for its node went away, goes on where it was, and a finished one only says what it had found.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import InputError
from agent_forge.evolution.evolve import evolve, prepare
from agent_forge.evolution.nodes import Nodes
from agent_forge.evolution.scoring import SCORES, Scorer
from agent_forge.evolution_config import EvolutionConfig, EvolutionSettings, load_settings
from agent_forge.evolution_records import EVOLUTION_REPORT, EvolutionReport
from agent_forge.evomerge import PAGE, EvoMerge
from agent_forge.run_directory import RunDirectory
from agent_forge.stages.context import Meter, Progress, StageOutcome
from agent_forge.stages.executor import write_outcome
from agent_forge.stages.executor_input import artifact_path, parse_input
from agent_forge.storage.files import write_atomic

NAME = "evolve"
HELP = "help-evolve"
# Parameters that are no fields.
_OTHERS = ("config", "state_path", "bake_when", "nodes", "node")
# Fields that are the evolution's own affair, or the pipeline's.
_NOT_BAKED = {*EvolutionConfig.model_fields, "output_path", "publish_to", "model_path"}


def run_evolve(text: str, progress: Progress) -> StageOutcome:
    """Evolve as the executor input says; write the champion's place and whether to bake it as output parameters.

    Raises:
        ForgeError: for bad input, or an evolution that cannot go on.
    """
    given, meter = parse_input(text), Meter()
    values = given.inputs.parameterValues
    fields = _fields(values)
    settings = _settings(fields, str(values.get("state_path", "")))
    nodes = Nodes(0, settings.directory / SCORES) if int(values.get("nodes") or 1) > 1 else None
    report = EvoMerge(settings, resume=True, progress=progress, nodes=nodes).run()
    for output, name in (("evolution", EVOLUTION_REPORT), ("page", PAGE)):
        for artifact in given.outputs.artifacts[output].artifacts if output in given.outputs.artifacts else ():
            write_atomic(artifact_path(artifact.uri), (settings.directory / name).read_text(encoding="utf-8"))
    outcome = _outcome(report, fields, str(values.get("bake_when") or "better"), meter)
    write_outcome(given.outputs, outcome)
    return outcome


def help_evolve(text: str, progress: Progress) -> None:
    """Score merges for an evolution on another machine, until it is over; leaves nothing but scores.

    Raises:
        ForgeError: for bad input, or an evolution that cannot go on.
    """
    values = parse_input(text).inputs.parameterValues
    number, state = int(values.get("node") or 0), str(values.get("state_path", ""))
    if number < 1:
        raise InputError(f"node is {number}; whoever helps has a number from 1")
    fields = _fields(values)
    shared = _settings(fields, state).directory
    settings = load_settings({**fields, "output_path": f"{shared}-node-{number}"})
    prepared = prepare(settings, progress)
    with RunDirectory(settings.directory).locked():
        scorer = Scorer(
            *(settings, prepared.models, prepared.asked, settings.directory, progress), scores=shared / SCORES
        )
        evolve(prepared, scorer, lambda: None, Nodes(number, shared / SCORES))
    shutil.rmtree(settings.directory)


def is_baked(report: EvolutionReport, when: str) -> bool:
    """Whether a champion is to be baked.

    Args:
        report: of its evolution.
        when: `better`: shown to beat the best base model; `always`; `never`.

    Raises:
        InputError: for any other word.
    """
    if when not in ("better", "always", "never"):
        raise InputError(f"bake_when is {when!r}; expected better, always or never")
    return when == "always" or (when == "better" and report.gain is not None and report.gain.verdict == "better")


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that were given: those of `config`, and parameters of their own where they are not empty."""
    text = values.get("config") or "{}"
    try:
        fields = json.loads(text) if isinstance(text, str) else dict(text)
    except json.JSONDecodeError as cause:
        raise InputError(f"parameter config is not JSON: {cause}") from cause
    if not isinstance(fields, dict):
        raise InputError(f"parameter config holds a {type(fields).__name__}; a JSON object of fields is expected")
    own = {name: value for name, value in values.items() if name not in _OTHERS and value not in ("", None, 0)}
    return {**fields, **own}


def _settings(fields: Mapping[str, Any], state_path: str) -> EvolutionSettings:
    if not state_path.startswith("/"):
        raise InputError(
            f"state_path is {state_path!r}; give a directory of a mounted volume, such as /models/evolutions"
        )
    key = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]
    return load_settings({**fields, "output_path": str(Path(state_path) / key)})


def _outcome(report: EvolutionReport, fields: Mapping[str, Any], when: str, meter: Meter) -> StageOutcome:
    gain = report.gain
    baked = {name: value for name, value in fields.items() if name in QuietSTaRConfig.model_fields}
    return StageOutcome(
        cost=meter.cost(),
        parameters={
            "champion_uri": report.manifest_path.rpartition("/")[0] if report.manifest_path else report.model_path,
            "champion_digest": report.champion_digest,
            "verdict": gain.verdict if gain else "base_model",
            "bake": "true" if is_baked(report, when) else "false",
            "bake_config": json.dumps({k: v for k, v in baked.items() if k not in _NOT_BAKED}, sort_keys=True),
        },
        metrics=_metrics(report),
        warnings=report.warnings,
    )


def _metrics(report: EvolutionReport) -> dict[str, float]:
    best = report.generations[-1].best_so_far
    found = {"generations": float(len(report.generations) - 1)} | ({} if best is None else {"best_evolve": best})
    if gain := report.gain:
        found |= {
            "champion_accuracy": gain.champion_accuracy,
            "base_model_accuracy": gain.base_model_accuracy,
            "difference": gain.difference,
            "p_value": gain.p_value,
        }
    return found
