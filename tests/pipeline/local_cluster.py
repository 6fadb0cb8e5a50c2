"""Runs the compiled pipeline through the orchestrator of `kfp.local`, every container as a process of its own command.

What stands in for a cluster is only this: `forge` in a container's command is the `forge` of this Python, begun by
`warm_forge`, the image is not looked at, and artifacts lie below a local pipeline root. The graph, the executor input
and the outputs are kfp's.
"""

import builtins
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# kfp looks for a package of this name and would find the repository's folder of image files.
sys.modules["docker"] = None  # type: ignore[assignment]

from kfp import components, local
from kfp.local import config, io, status, subprocess_task_handler
from kfp.local.orchestrator import task_executor
from warm_forge import run_warm

COMPILED = Path(__file__).resolve().parents[2] / "pipelines" / "compiled"


@cache
def loaded(compiled: str) -> Any:
    """Read a compiled pipeline; it takes long."""
    return components.load_component_from_file(str(COMPILED / compiled))


_parent_input = io.IOStore.get_parent_input


def channel_value(store: io.IOStore, key: str) -> Any:
    """Resolve a channel that conditions and loops name by task and output.

    The orchestrator of kfp.local 2.17 finds outputs called `Output` only; ours are called by what they are. Backends
    resolve all of them.
    """
    try:
        return _parent_input(store, key)
    except ValueError:
        name = key.removeprefix("pipelinechannel--")
        scope = store
        while scope is not None:
            for task, outputs in scope._task_output_data.items():
                for output, value in outputs.items():
                    if name == f"{task}-{output}":
                        return value
            scope = scope._parent
        raise


@dataclass(frozen=True)
class Container:
    """One container that ran: its stage, its executor input, how it ended and what it said last."""

    stage: str
    given: dict[str, Any]
    code: int
    said: str

    @property
    def metrics(self) -> dict[str, float]:
        """The metadata of its Metrics artifact, as the executor output carries it to the metadata store."""
        written = json.loads(Path(self.given["outputs"]["outputFile"]).read_text())
        return written["artifacts"]["metrics"]["artifacts"][0]["metadata"]

    def parameter(self, name: str) -> str:
        return Path(self.given["outputs"]["parameters"][name]["outputFile"]).read_text()

    def artifact(self, name: str) -> Path:
        return Path(self.given["outputs"]["artifacts"][name]["artifacts"][0]["uri"])


@dataclass
class Cluster:
    """Runs pipelines in one directory.

    Attributes:
        root: pipeline root.
        launch: makes the command that is run of a container's command and environment; without it `forge` runs here.
        surroundings: makes more environment for a container that runs here.
        disturb: may answer for a container before it runs: an exit code to end with at once, or None to let it run.
    """

    root: Path
    launch: Callable[[list[str], dict[str, str]], list[str]] | None = None
    surroundings: Callable[[], dict[str, str]] = dict
    disturb: Callable[[str, int], int | None] = lambda stage, count: None
    ran: list[Container] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, monkeypatch, compiled: str = "quietstar-cpu.yaml", **arguments: Any) -> None:
        """Run a compiled pipeline to its end; raises what kfp raises when a task fails."""
        cluster = self

        class ProcessHandler(subprocess_task_handler.SubprocessTaskHandler):
            def __init__(self, image, full_command, pipeline_root, runner, env_vars=None):
                self.full_command, self.env_vars = full_command, env_vars or {}

            def run(self):
                done = cluster._start(self.full_command, self.env_vars)
                return status.Status.SUCCESS if done == 0 else status.Status.FAILURE

        monkeypatch.setattr(subprocess_task_handler, "SubprocessTaskHandler", ProcessHandler)
        monkeypatch.setattr(io.IOStore, "get_parent_input", channel_value)
        # The minutes that a platform waits before it tries again prove nothing here.
        monkeypatch.setattr(task_executor, "time", SimpleNamespace(sleep=lambda seconds: None))
        # What kfp.local leaves behind: tasks side by side swap `print` and may not put it back, and once initialised
        # it runs every component that anybody calls.
        monkeypatch.setattr(builtins, "print", builtins.print)
        monkeypatch.setattr(config.LocalExecutionConfig, "instance", None)
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(self.root), raise_on_error=True)
        loaded(compiled)(**arguments)

    def stages(self) -> list[str]:
        return [container.stage for container in self.ran]

    def one(self, stage: str) -> Container:
        (found,) = [container for container in self.ran if container.stage == stage]
        return found

    def _start(self, command: list[str], environment: dict[str, str]) -> int:
        assert command[:2] == ["forge", "stage"] and command[3] == "--executor-input" and len(command) == 5
        stage = command[2]
        with self._lock:
            count = self.stages().count(stage)
        code, said = self.disturb(stage, count), ""
        if code is None:
            if self.launch is None:
                done = run_warm(tuple(command[1:]), os.environ | environment | self.surroundings())
            else:
                done = subprocess.run(self.launch(command, environment), capture_output=True, text=True, check=False)
            code, said = done.returncode, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
        with self._lock:
            self.ran.append(Container(stage, json.loads(command[4]), code, said))
        return code
