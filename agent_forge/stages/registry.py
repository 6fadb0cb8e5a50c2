"""Every stage by its name in the DAG; a stage's module is imported when it is asked for.

A container runs one stage: what the others need, torch before all, would only make it start later.
"""

import importlib

from agent_forge.config import STAGE_NAMES
from agent_forge.errors import ConfigError
from agent_forge.stages.context import Stage

# Where a name would hide what the stage calls, its module is called otherwise.
_OTHERWISE = {"bake": "bake_stage", "verify": "verify_stage"}


def find_stage(name: str) -> Stage:
    """Return a stage by name.

    Raises:
        ConfigError: naming the stages there are.
    """
    if name not in STAGE_NAMES:
        raise ConfigError(f"unknown stage {name}; expected one of {', '.join(STAGE_NAMES)}")
    module = importlib.import_module(f"agent_forge.stages.{_OTHERWISE.get(name, name.replace('-', '_'))}")
    stage: Stage = module.STAGE
    return stage
