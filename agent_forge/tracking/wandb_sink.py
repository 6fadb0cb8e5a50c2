"""Weights & Biases, online with a key and offline without one.

A run is `job_type="quietstar"`, grouped by bake id, or `"evomerge"`, by evolution id. Sent are figures and the tables
of the report, nothing else: no console, no code, no packages, no git remote, no machine metadata. Offline files lie
below the run's directory; `wandb sync` sends them later.
"""

import netrc
import os
from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import urlparse

import wandb

from agent_forge.storage.weights_and_biases import QUIET
from agent_forge.tracking.protocol import (
    Histogram,
    PublishedModel,
    StageFigures,
    TrackedRun,
)

_HELD = "sent"


class WandbSink:
    """One run at W&B."""

    def open(self, run: TrackedRun) -> Mapping[str, str]:
        """Begin or continue a run."""
        own = run.directory / "wandb"
        own.mkdir(parents=True, exist_ok=True)
        # Files of artifacts wait here until they are sent, so they have to outlive the process.
        os.environ.setdefault("WANDB_DATA_DIR", str(own / "data"))
        os.environ.setdefault("WANDB_CACHE_DIR", str(own / "cache"))
        self._run: Any = wandb.init(
            project=run.project,
            id=run.run_id,
            name=run.name,
            group=run.group,
            job_type=run.job_type,
            config=dict(run.config) | {"champion": run.champion},
            dir=str(run.directory),
            mode=cast(Literal["online", "offline", "disabled", "shared"], chosen_mode(os.environ)),
            resume="allow",
            save_code=False,
            settings=wandb.Settings(**QUIET, init_timeout=max(run.patience, 1.0)),
        )
        try:
            self._use_champion(run.champion)
        except (wandb.Error, ValueError, OSError) as problem:
            # The configuration names the champion by its digest all the same.
            self._run.summary["champion/lineage"] = f"not drawn: {type(problem).__name__}"
        self._held = dict(self._run.summary.get(_HELD) or {}) if self._run.resumed else {}
        return dict(self._held)

    def log(self, stage: StageFigures, key: str) -> None:
        """Send a stage's figures; series come first, so that the summary ends with the stage's own."""
        for series in stage.series:
            names = {name for _, values in series.points for name in values}
            self._run.define_metric(series.axis, hidden=True)
            for name in sorted(names):
                self._run.define_metric(name, step_metric=series.axis)
            for at, values in series.points:
                self._run.log({series.axis: at, **values})
        shown: dict[str, Any] = dict(stage.figures)
        shown |= {name: _histogram(histogram) for name, histogram in stage.histograms.items()}
        shown |= {
            name: wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
            for name, table in stage.tables.items()
        }
        if shown:
            self._run.log(shown)
        if stage.model is not None:
            self._log_model(stage.model)
        self._held[stage.place] = key
        self._run.summary.update({**stage.texts, _HELD: dict(self._held)})

    def close(self, ended_well: bool) -> None:
        """Send what is left and end the run."""
        self._run.finish(exit_code=0 if ended_well else 1)

    def _use_champion(self, champion: Mapping[str, str]) -> None:
        """Draw the line from the champion: from its own artifact if it is one, else from a reference to it."""
        if self._run.offline or not champion:
            return
        if champion["reference"].startswith("wandb://"):
            self._run.use_artifact(champion["reference"].removeprefix("wandb://"))
            return
        found = wandb.Artifact("champion", type="model", metadata=dict(champion))
        found.add_reference(champion["uri"], name="champion", checksum=False)
        self._run.use_artifact(found)

    def _log_model(self, model: PublishedModel) -> None:
        artifact = wandb.Artifact(model.name, type="model", metadata={"uri": model.uri, **model.metadata})
        artifact.add_file(str(model.manifest), name="manifest.json")
        if model.upload is None:
            # The manifest has every file's sha256; reading the files again would add nothing.
            artifact.add_reference(model.uri, name="model", checksum=False)
        else:
            for path in sorted(path for path in model.upload.rglob("*") if path.is_file()):
                if path.name != "manifest.json":
                    artifact.add_file(str(path), name=path.relative_to(model.upload).as_posix())
        self._run.log_artifact(artifact, aliases=list(model.aliases))


def chosen_mode(environment: Mapping[str, str]) -> str:
    """Return WANDB_MODE if it is set, else `online` with a key in the environment or in ~/.netrc, else `offline`."""
    if mode := environment.get("WANDB_MODE"):
        return mode
    host = urlparse(environment.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    return "online" if environment.get("WANDB_API_KEY") or _in_netrc(host) else "offline"


def _in_netrc(host: str) -> bool:
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _histogram(histogram: Histogram) -> Any:
    return wandb.Histogram(np_histogram=(list(histogram.counts), list(histogram.edges)))
