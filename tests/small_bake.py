"""The bundled champion's whole job made small: every stage runs for real, the bake is published, in seconds."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from warm_forge import run_warm

import agent_forge

DEMO = Path(agent_forge.__file__).parent / "demo"
# Still enough to learn from: the baked model answers nearly all of the questions.
SMALL = {
    "eval_samples": 40,
    "verify_samples": 40,
    "bake_samples": 120,
    "ab_test_rounds": 1,
    "trace_samples": 2,
    "num_epochs": 6,
    "learning_rate": 5e-3,
    "checkpoint_every": 5,
    "batch_size": 64,
}
COMPARED = ("stages/significance-gate/gate.json", "results.json")


# In the environment of the undisturbed run; must not be in anything that it leaves or says.
SECRETS = {"WANDB_API_KEY": "0f1e2d3c4b5a69788796a5b4c3d2e1f000112233", "HF_TOKEN": "hf_notARealTokenButItLooksLikeOne"}


@dataclass(frozen=True)
class SmallBake:
    """Where one run and its undisturbed model are."""

    base: Path
    CHAMPION = DEMO / "champion"

    @property
    def out(self) -> Path:
        """Where every run is made: results name the directory, so equal results need equal places."""
        return self.base / "run"

    @property
    def finished(self) -> Path:
        """The undisturbed run."""
        return self.base / "finished"

    @property
    def said(self) -> Path:
        """What the undisturbed run wrote to its standard streams."""
        return self.base / "said"

    def arguments(self, *more: str, scenario: str = "bake", **changes: object) -> list[str]:
        """Return the arguments of `forge` for a run in `out`."""
        return small_arguments(self.base, self.out, *more, scenario=scenario, **changes)

    def take_over(self, other: "SmallBake") -> None:
        """Begin with what another worker's run found; what names the place that it was made in is left to be made."""
        shutil.copytree(other.finished, self.out)
        shutil.copy(other.said, self.said)
        for name in ("stages/push-artifact", "baked"):
            shutil.rmtree(self.out / name)

    def results(self, directory: Path) -> list[bytes]:
        """Return the bytes that must not depend on what happened on the way."""
        return [(directory / name).read_bytes() for name in COMPARED]

    def events(self) -> list[tuple[str, str]]:
        """Return the run's events as (event, stage)."""
        lines = (self.out / "events.jsonl").read_text().splitlines()
        return [(line["event"], line["stage"]) for line in map(json.loads, lines)]


def small_arguments(base: Path, out: Path, *more: str, scenario: str = "bake", **changes: object) -> list[str]:
    """Return the arguments of `forge` for a small run of one of the demo's scenarios (`bake`, `baseline_wins`)."""
    fields: Mapping[str, object] = yaml.safe_load((DEMO / f"{scenario}.yaml").read_text()) | SMALL | changes
    file = base / f"{scenario}.json"
    file.write_text(json.dumps(fields))
    return ["bake-quietstar", "--model", str(SmallBake.CHAMPION), "--config", str(file), "--out", str(out), *more]


def command(*arguments: str) -> list[str]:
    """Return the command line as a list for `subprocess`."""
    return [sys.executable, "-m", "agent_forge.cli", *arguments]


def forge(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run the command line to its end in a process of its own."""
    return run_warm(arguments, env)
