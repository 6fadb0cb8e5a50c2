"""The default configuration of the pipeline: the bundled champion's own, so that a first run needs no decision."""

import json
from pathlib import Path

import yaml

import agent_forge

# Parameters of the pipeline in their own right.
_OWN = frozenset({"eval_dataset", "eval_samples", "ab_test_rounds"})
_FILE = Path(agent_forge.__file__).parent / "demo" / "bake.yaml"
_FIELDS = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
CONFIG = json.dumps({name: value for name, value in _FIELDS.items() if name not in _OWN}, sort_keys=True)
