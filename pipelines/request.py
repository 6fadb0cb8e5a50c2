"""What is asked for: the compiled pipeline, its parameters, and the key by which the same request is recognised."""

import argparse
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from agent_forge.config import build_config, parse_assignment, read_config_file
from agent_forge.errors import ConfigError
from pipelines.quietstar import ENDS

# A compiled pipeline takes Python's own reader a quarter of a second, libyaml's a sixth of that.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PACKAGE = Path(__file__).parent / "compiled" / "quietstar.yaml"
# Parameters of the pipeline in their own right; everything else travels in `config`.
OWN = ("model_path", "output_path", "eval_dataset", "eval_samples", "ab_test_rounds")


@dataclass(frozen=True)
class Request:
    """A compiled pipeline and its parameters."""

    package: Path
    parameters: dict[str, Any]
    revision: str

    @cached_property
    def version(self) -> str:
        """Name of the pipeline's version: the compiled file's digest, so that equal files are one version."""
        return f"v-{hashlib.sha256(self.package.read_bytes()).hexdigest()[:16]}"

    @cached_property
    def key(self) -> str:
        """What makes two requests the same: version, parameters and the champion's revision."""
        content = json.dumps([self.version, self.parameters, self.revision], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def pipeline(self) -> str:
        """Name of the pipeline."""
        return str(self._specification["pipelineInfo"]["name"])

    def ends(self) -> dict[str, str]:
        """Return the branches that a run can end in: task of the graph -> name of the end."""
        specification = self._specification
        parts = [specification["root"], *specification["components"].values()]
        tasks = [item for part in parts for item in part.get("dag", {}).get("tasks", {}).items()]
        named = {key: task["taskInfo"]["name"] for key, task in tasks if task["taskInfo"]["name"] in ENDS}
        # Servers list a branch by either.
        return named | {name: name for name in named.values()}

    @cached_property
    def _specification(self) -> dict[str, Any]:
        first: dict[str, Any] = next(iter(yaml.load_all(self.package.read_text(encoding="utf-8"), LOADER)))
        return first


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which bake is wanted."""
    own = os.environ.get("KFP_PACKAGE") or PACKAGE
    parser.add_argument("--package", type=Path, default=Path(own), help="compiled pipeline (KFP_PACKAGE)")
    parser.add_argument("--model", dest="model_path", help="champion; default: the bundled one")
    parser.add_argument("--out", dest="output_path", help="publication root; default: the run's own artifacts")
    parser.add_argument("--config", type=Path, help="JSON or YAML file of fields")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--revision", default="", help="tells apart contents of one reference, e.g. a digest or commit")


def read_request(given: argparse.Namespace) -> Request:
    """Check the arguments and return the request; wrong fields show here, before a run is started.

    Raises:
        ConfigError: naming the field, or a package that cannot be read.
    """
    if not given.package.is_file():
        raise ConfigError(f"{given.package} does not exist; run `make compile`, or give --package")
    fields: dict[str, Any] = read_config_file(given.config) if given.config else {}
    fields |= dict(parse_assignment(text) for text in given.assignments)
    fields |= {name: getattr(given, name) for name in ("model_path", "output_path") if getattr(given, name)}
    build_config({"model_path": "bundled://champion", "output_path": "pipeline://", **fields})
    parameters = {name: _plain(fields.pop(name)) for name in OWN if name in fields}
    if fields:
        parameters["config"] = json.dumps(fields, sort_keys=True)
    return Request(given.package, parameters, given.revision)


def _plain(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value
