"""MLflow: a tracking server, or an SQLite file in the run's directory when MLFLOW_TRACKING_URI names none.

An experiment is a project; a run is found again by its tag `forge.run_id`. Histograms and tables are JSON artifacts.
A published model is a version of the registered model of its name, which points to where it was published.
"""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from agent_forge.tracking.protocol import (
    PublishedModel,
    StageFigures,
    TrackedRun,
)

_RUN_ID = "forge.run_id"
_HELD = "forge.sent."
# What MLflow takes in one call, and in one parameter.
_BATCH = 900
_PARAMS = 90
_LONGEST = 5900


class MlflowSink:
    """One run at MLflow."""

    def open(self, run: TrackedRun) -> Mapping[str, str]:
        """Begin or continue a run."""
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(run.directory / 'mlflow.db').resolve()}"
        self._client: Any = MlflowClient(tracking_uri=uri)
        local = not os.environ.get("MLFLOW_TRACKING_URI")
        place = (run.directory / "mlflow-artifacts").resolve().as_uri() if local else None
        experiment = self._experiment(run.project, place)
        found = self._client.search_runs([experiment], f"tags.`{_RUN_ID}` = '{run.run_id}'", max_results=1)
        opened = found[0] if found else self._client.create_run(experiment, run_name=run.name, tags=_tags(run))
        self._id: str = opened.info.run_id
        self._client.update_run(self._id, status="RUNNING")
        self._configure(run, opened.data.params)
        tags: dict[str, str] = opened.data.tags
        return {name.removeprefix(_HELD): key for name, key in tags.items() if name.startswith(_HELD)}

    def log(self, stage: StageFigures, key: str) -> None:
        """Send a stage's figures; that it has been sent comes last."""
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in stage.figures.items()]
        for series in stage.series:
            metrics += [Metric(name, value, now, at) for at, values in series.points for name, value in values.items()]
        for part in _parts(metrics, _BATCH):
            self._client.log_batch(self._id, metrics=part)
        for name, histogram in stage.histograms.items():
            self._client.log_dict(self._id, histogram.model_dump(), f"{name}.json")
        for name, table in stage.tables.items():
            self._client.log_dict(self._id, table.model_dump(), f"{name}.json")
        if stage.model is not None:
            self._register(stage.model)
        tags = [RunTag(name, text[:_LONGEST]) for name, text in stage.texts.items()]
        self._client.log_batch(self._id, tags=[*tags, RunTag(_HELD + stage.place, key)])

    def close(self, ended_well: bool) -> None:
        """End the run."""
        self._client.set_terminated(self._id, "FINISHED" if ended_well else "FAILED")

    def _experiment(self, name: str, place: str | None) -> str:
        if (found := self._client.get_experiment_by_name(name)) is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name, artifact_location=place))
        except MlflowException:
            # Another run has made it in between, if anything has.
            if (found := self._client.get_experiment_by_name(name)) is None:
                raise
            return str(found.experiment_id)

    def _configure(self, run: TrackedRun, known: Mapping[str, str]) -> None:
        """Record the configuration; parameters cannot change, so what a resume changed is in the artifact only."""
        values = {name: str(value)[:_LONGEST] for name, value in run.config.items()}
        new = [Param(name, value) for name, value in values.items() if name not in known]
        for part in _parts(new, _PARAMS):
            self._client.log_batch(self._id, params=part)
        self._client.log_dict(self._id, {**run.config, "champion": run.champion}, "config.json")

    def _register(self, model: PublishedModel) -> None:
        self._client.log_artifact(self._id, str(model.manifest))
        if model.upload is not None:
            self._client.log_artifacts(self._id, str(model.upload), "model")
        with contextlib.suppress(MlflowException):
            # It may be there already; if it could not be made, the next call says why.
            self._client.create_registered_model(model.name)
        version = self._client.create_model_version(
            model.name, source=model.uri, run_id=self._id, tags=dict(model.metadata)
        )
        for alias in model.aliases:
            if alias != "latest":  # MLflow keeps that name for itself.
                self._client.set_registered_model_alias(model.name, alias, version.version)


def _tags(run: TrackedRun) -> dict[str, str]:
    about = {f"champion.{name}": value for name, value in run.champion.items()}
    return {_RUN_ID: run.run_id, "job_type": run.job_type, "group": run.group, **about}


def _parts(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
