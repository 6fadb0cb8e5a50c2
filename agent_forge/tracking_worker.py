"""The process that talks to a tracking service: `python -m agent_forge.tracking_worker JOB`, started by `tracker`.

It looks for finished stages whenever a line arrives on standard input, and for the last time when that closes. The one
thing it ever prints is why it gave up. It ends by itself soon after its patience is over, even if it is forgotten.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO, TypeVar

import filelock

from agent_forge.errors import ForgeError
from agent_forge.evolution_config import BEST_MODEL
from agent_forge.evolution_figures import champion_figures, generation_figures
from agent_forge.evolution_records import (
    EVOLUTION_REPORT,
    EVOLUTION_RUN,
    GENERATIONS,
    EvolutionReport,
    EvolutionRun,
    GenerationRecord,
)
from agent_forge.records import ChampionRecord, Receipt, Record, RunRecord, RunResults, read_record, text_sha256
from agent_forge.report.gathering import title_of
from agent_forge.report.redact import masked, masked_text, secrets_of
from agent_forge.run_directory import PARAMETERS, RECEIPT, RESULTS, RUN
from agent_forge.stage_figures import figures_of
from agent_forge.stages.context import ARTIFACT_FILES
from agent_forge.tracker import SentRun, TaskFiles, TrackingJob, read_parameters, read_state, write_state
from agent_forge.tracking.protocol import EVOLUTION_JOB_TYPE, JOB_TYPE, Sink, StageFigures, TrackedRun, open_sink

R = TypeVar("R", bound=Record)
# The container of a last stage has artifacts of all stages; these tell which of them have run.
TOLD_BY = {
    "prepare-questions": "questions",
    "load-and-extend": "extension",
    "significance-gate": "evaluation",
    "bake": "bake_report",
    "verify": "verification_results",
    "push-artifact": "manifest",
}
_GRACE = 5.0


@dataclass(frozen=True)
class FinishedStage:
    """A stage that has ended, and how to read what is tracked of it; `key` changes when it is run again."""

    place: str
    key: str
    read: Callable[[], StageFigures]


@dataclass(frozen=True)
class Found:
    """What there is to send.

    Attributes:
        known_by: bake or evolution id.
        title: what the run is called.
        config: to be recorded.
        stages: those that have ended.
        champion: `reference`, `uri` and `digest` of the model that came in, where it is one.
        job_type: what the services call such a run.
        ended: whether the run has come to its end.
    """

    known_by: str
    title: str
    config: Mapping[str, object]
    stages: tuple[FinishedStage, ...]
    champion: Mapping[str, str]
    job_type: str = JOB_TYPE
    ended: bool = False

    @classmethod
    def of(
        cls, champion: ChampionRecord, config: Mapping[str, object], stages: tuple[FinishedStage, ...], ended: bool
    ) -> "Found":
        """Return what there is to send of a bake."""
        came_in = {"reference": champion.reference, "uri": champion.uri, "digest": champion.digest}
        bake_id = champion.bake_id
        return cls(bake_id, title_of(champion), {**config, "bake_id": bake_id}, stages, came_in, ended=ended)


class Sending:
    """What has been sent of one job, and what is left.

    Args:
        job: what is to be sent, and where to.
        secrets: texts that must not be sent.
    """

    def __init__(self, job: TrackingJob, secrets: tuple[str, ...]) -> None:
        self._job, self._secrets = job, secrets
        self._sink: Sink | None = None
        self._sent: dict[str, str] | None = None

    def look(self) -> None:
        """Send what is new."""
        found = _find(self._job)
        if found is None:
            return
        if self._sent is None:
            self._sent = self._known(found).sent
        for stage in found.stages:
            if self._sent.get(stage.place) != stage.key:
                self._send(found, stage)

    def close(self) -> None:
        """Send the rest; a run that has no results yet did not end well."""
        if self._sink is not None:
            found = _find(self._job)
            self._sink.close(found is not None and found.ended)
        if (state := read_state(self._job.directory)).warning:
            write_state(self._job.directory, state.model_copy(update={"warning": ""}))

    def _send(self, found: Found, stage: FinishedStage) -> None:
        assert self._sent is not None
        if self._sink is None:
            self._sink = open_sink(self._job.kind)
            self._sent |= self._sink.open(self._run(found))
            if self._sent.get(stage.place) == stage.key:
                return
        self._sink.log(self._cleaned(stage.read()), stage.key)
        self._sent[stage.place] = stage.key
        if self._job.task is None:
            self._remember(found)

    def _run(self, found: Found) -> TrackedRun:
        run = TrackedRun(
            run_id=self._known(found).run_id,
            name=f"{found.title}-{found.known_by[:8]}",
            group=found.known_by[:12],
            project=self._job.project,
            config={str(name): masked(value, name) for name, value in found.config.items()},
            champion=dict(found.champion),
            directory=self._job.directory,
            patience=self._job.patience,
            job_type=found.job_type,
        )
        return self._cleaned(run)

    def _known(self, found: Found) -> SentRun:
        """Return what is known to have been sent of this run; a container knows nothing, its service does."""
        if self._job.task is not None:
            return SentRun(run_id=found.known_by[:16])
        new = SentRun(run_id=text_sha256(f"{found.known_by} {self._job.directory}")[:16])
        return read_state(self._job.directory).runs.get(f"{self._job.kind}/{found.known_by}", new)

    def _remember(self, found: Found) -> None:
        state, name = read_state(self._job.directory), f"{self._job.kind}/{found.known_by}"
        sent = SentRun(run_id=self._known(found).run_id, sent=self._sent or {})
        write_state(self._job.directory, state.model_copy(update={"runs": {**state.runs, name: sent}}))

    def _cleaned(self, record: R) -> R:
        """Return a record with credentials masked wherever they stand."""
        return type(record).model_validate(_without(record.model_dump(mode="json"), self._secrets))


def _without(value: object, secrets: tuple[str, ...]) -> object:
    if isinstance(value, Mapping):
        return {name: _without(item, secrets) for name, item in value.items()}
    if isinstance(value, list):
        return [_without(item, secrets) for item in value]
    return masked_text(value, secrets) if isinstance(value, str) else value


def _find(job: TrackingJob) -> Found | None:
    """Return what there is to send, None while there is nothing."""
    if job.task is not None:
        return _in_task(job)
    return _in_evolution(job) if job.evolution else _in_run(job)


def _in_evolution(job: TrackingJob) -> Found | None:
    """Return what an evolution's directory holds so far."""
    if not (job.directory / EVOLUTION_RUN).is_file():
        return None
    run = read_record(EvolutionRun, job.directory / EVOLUTION_RUN)
    stages = [_generation(path) for path in sorted((job.directory / GENERATIONS).glob("*.json"))]
    report = _evolution_report(job.directory, run.evolution_id)
    if report is not None:
        told = champion_figures(report, job.directory / BEST_MODEL)
        stages.append(FinishedStage("champion", text_sha256(report.model_dump_json()), partial(_same, told)))
    config = {**run.config, "base_models": [model.model_dump(mode="json") for model in run.base_models]}
    title = "+".join(model.name.rpartition("/")[2] for model in run.base_models)
    return Found(run.evolution_id, title, config, tuple(stages), {}, EVOLUTION_JOB_TYPE, report is not None)


def _generation(path: Path) -> FinishedStage:
    told = generation_figures(read_record(GenerationRecord, path))
    return FinishedStage(told.place, text_sha256(told.model_dump_json()), partial(_same, told))


def _evolution_report(directory: Path, evolution_id: str) -> EvolutionReport | None:
    """Return the report of this very evolution."""
    path = directory / EVOLUTION_REPORT
    report = read_record(EvolutionReport, path) if path.is_file() else None
    return report if report is not None and report.evolution_id == evolution_id else None


def _in_run(job: TrackingJob) -> Found | None:
    """Return what a run directory holds so far."""
    if not (job.directory / RUN).is_file():
        return None
    run = read_record(RunRecord, job.directory / RUN)
    places = {place: job.directory / "stages" / place for place in run.stages}
    # A stage that is being run again has no place until it ends.
    done = {place: path for place, path in places.items() if (path / RECEIPT).is_file()}
    stages = tuple(
        FinishedStage(place, read_record(Receipt, path / RECEIPT).key, partial(_read_place, job, done, place))
        for place, path in done.items()
    )
    return Found.of(run.champion, run.config, stages, _has_results(job, run.champion.bake_id))


def _has_results(job: TrackingJob, bake_id: str) -> bool:
    """Whether a run has ended with results, and not with those of another bake that was made here before."""
    path = job.directory / RESULTS
    return path.is_file() and read_record(RunResults, path).bake_id == bake_id


def _read_place(job: TrackingJob, done: Mapping[str, Path], place: str) -> StageFigures:
    artifacts: dict[str, tuple[Path, ...]] = {}
    for other, path in done.items():
        if "/" not in other:
            artifacts |= _artifacts(path)
    artifacts |= _artifacts(done[place])
    uri = read_parameters(done[place]).get("model_path", "")
    figures = figures_of(place, artifacts, read_record(Receipt, done[place] / RECEIPT).cost, uri)
    return _with_upload(figures, job, artifacts)


def _artifacts(place: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files in a stage's place by the names of artifacts; one file may go by two."""
    names = {file: file for file in (path.name for path in place.iterdir()) if file not in (RECEIPT, PARAMETERS)}
    return {
        name: (place / file,)
        for file in names
        for name in (*(known for known, called in ARTIFACT_FILES.items() if called == file), file)
    }


def _in_task(job: TrackingJob) -> Found | None:
    """Return what the container of a last stage was given and has made."""
    task = job.task
    if task is None or not task.artifacts.get("champion"):
        return None
    champion = read_record(ChampionRecord, task.artifacts["champion"][0])
    figures = [_read_task(job, task, stage) for stage, name in TOLD_BY.items() if task.artifacts.get(name)]
    stages = [FinishedStage(told.place, text_sha256(told.model_dump_json()), partial(_same, told)) for told in figures]
    return Found.of(champion, task.config, tuple(stages), ended=True)


def _read_task(job: TrackingJob, task: TaskFiles, stage: str) -> StageFigures:
    return _with_upload(figures_of(stage, task.artifacts, model_uri=task.model_uri), job, task.artifacts)


def _same(figures: StageFigures) -> StageFigures:
    return figures


def _with_upload(figures: StageFigures, job: TrackingJob, artifacts: Mapping[str, tuple[Path, ...]]) -> StageFigures:
    """Add a published model's files, from where they were published from, if they are to be sent."""
    if figures.model is None or not job.upload_model:
        return figures
    model = figures.model.model_copy(update={"upload": artifacts["baked"][0]})
    return figures.model_copy(update={"model": model})


def _looks(said: TextIO, ended: Callable[[], None]) -> Iterator[None]:
    """Yield whenever it is time to look: at once, at every line, and for the last time."""
    yield
    for _ in said:
        yield
    ended()
    yield


def follow(job: TrackingJob, said: TextIO, secrets: tuple[str, ...], ended: Callable[[], None] = lambda: None) -> None:
    """Send what finished stages have to say until nobody says that there may be more.

    Args:
        job: what is to be sent, and where to.
        said: gives a line whenever there may be something new, and ends with the run.
        secrets: texts that must not be sent.
        ended: called at that end, before what is left is sent.
    """
    directory = job.directory
    directory.mkdir(parents=True, exist_ok=True)
    # A process that an earlier run has left behind may still be sending.
    with filelock.FileLock(directory / ".tracking.lock", timeout=job.patience):
        sending = Sending(job, secrets)
        for _ in _looks(said, ended):
            sending.look()
        sending.close()


def _end_after(seconds: float) -> None:
    timer = threading.Timer(seconds, os._exit, [1])
    timer.daemon = True
    timer.start()


def main() -> None:
    """Follow; the reason for giving up is one line without credentials."""
    job = TrackingJob.model_validate_json(sys.argv[1])
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What services print is for nobody, and what they start must not keep our output open.
    os.dup2(2, 1)
    code = 0
    try:
        follow(job, sys.stdin, secrets_of(os.environ), partial(_end_after, job.patience + _GRACE))
    except BaseException as problem:
        code = 1
        kind = "" if isinstance(problem, ForgeError) else f"{type(problem).__name__}: "
        text = masked_text(" ".join(f"{kind}{problem}".split()), secrets_of(os.environ))
        with contextlib.suppress(OSError):
            print(f"{text[:400]}; what has not been sent is left out", file=said, flush=True)
    # Not a clean end: what services have left running must not be waited for.
    os._exit(code)


if __name__ == "__main__":
    main()
