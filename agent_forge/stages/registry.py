"""Every stage by its name in the DAG."""

from agent_forge.config import STAGE_NAMES
from agent_forge.errors import ConfigError
from agent_forge.stages import (
    bake_stage,
    collect_traces,
    evaluate_round,
    keep_champion,
    load_and_extend,
    prepare_questions,
    push_artifact,
    resolve_champion,
    significance_gate,
    verify_stage,
)
from agent_forge.stages.context import Stage

STAGES: dict[str, Stage] = {
    module.STAGE.name: module.STAGE
    for module in (
        resolve_champion,
        prepare_questions,
        load_and_extend,
        evaluate_round,
        significance_gate,
        collect_traces,
        bake_stage,
        verify_stage,
        push_artifact,
        keep_champion,
    )
}


def find_stage(name: str) -> Stage:
    """Return a stage by name.

    Raises:
        ConfigError: naming the stages there are.
    """
    if name not in STAGES:
        raise ConfigError(f"unknown stage {name}; expected one of {', '.join(STAGE_NAMES)}")
    return STAGES[name]
