"""Start a run on Kubeflow Pipelines, once: asking again for the same champion and configuration finds the same run.

    python -m pipelines.submit --host https://kubeflow.example --model hf://owner/champion --wait --exit-code

Exit codes: 0 started, found or ended well; 1 the run failed; 2 bad usage or bad input; 130 interrupted. A run that has
ended exits, with --exit-code, 0 when a model is published, 10 for no_bake, 11 for inconclusive, 12 for a rejected bake.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from agent_forge.errors import CheckFailed, ConfigError, ForgeError
from pipelines import connection
from pipelines.request import Request, add_arguments, read_request

END_CODES = {"published": 0, "already-published": 0, "no-bake": 10, "inconclusive": 11, "rejected": 12}
RUNNING = {"PENDING", "RUNNING", "PAUSED", "RUNTIME_STATE_UNSPECIFIED"}
GOOD = "SUCCEEDED"
POLL_SECONDS = 10.0
# Looks in a row that may go unanswered.
FORGIVEN = 30


def main(arguments: Sequence[str]) -> int:
    """Submit; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    connection.add_arguments(parser)
    add_arguments(parser)
    parser.add_argument("--wait", action="store_true", help="wait for the end and print the verdict")
    parser.add_argument("--exit-code", action="store_true", help="with --wait: exit by verdict")
    parser.add_argument("--again", action="store_true", help="start another run even if there is one")
    parser.add_argument("--poll", type=float, default=POLL_SECONDS, help="seconds between looks at the run")
    return run_command(submit, parser, arguments, "submit")


def run_command(command: Any, parser: argparse.ArgumentParser, arguments: Sequence[str], name: str) -> int:
    """Run a command; a foreseen error is one line on stderr and its exit code."""
    try:
        return int(command(parser.parse_args(arguments)))
    except ForgeError as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the run goes on", file=sys.stderr)
        return 130


def submit(given: argparse.Namespace) -> int:
    """Start or find the run, print where it is, and wait if asked to."""
    if given.exit_code and not given.wait:
        raise ConfigError("--exit-code needs --wait")
    request = read_request(given)
    client = connection.connect(given)
    with connection.refusals():
        run = find_or_start(client, request, given)
        print(f"run   {run.run_id}")
        print(f"link  {given.host.rstrip('/')}/#/runs/details/{run.run_id}", flush=True)
        if not given.wait:
            return 0
        end = wait(client, run.run_id, request, given.poll)
    print(f"verdict  {end}")
    return END_CODES[end] if given.exit_code else 0


def find_or_start(client: Any, request: Request, given: argparse.Namespace) -> Any:
    """Return the run of this request: one that goes on or went well, or a new one.

    Two that ask at the same moment both start one; then the older stays and the other is ended.
    """
    experiment = client.create_experiment(given.experiment, namespace=given.namespace).experiment_id
    name = f"quietstar-{request.key}"
    if not given.again and (there := _standing(_runs(client, experiment, name, given.namespace))):
        return there[0]
    pipeline, version = ensure_version(client, request)
    started = client.run_pipeline(
        experiment,
        name,
        pipeline_id=pipeline,
        version_id=version,
        params=request.parameters,
        service_account=given.service_account,
    )
    if given.again:
        return started
    first = (_standing(_runs(client, experiment, name, given.namespace)) or [started])[0]
    if first.run_id != started.run_id:
        client.terminate_run(started.run_id)
    return first


def ensure_version(client: Any, request: Request) -> tuple[str, str]:
    """Return the ids of the pipeline and of the version that the compiled file is, uploading what is missing."""
    pipeline = client.get_pipeline_id(request.pipeline)
    if pipeline is None:
        pipeline = client.upload_pipeline(str(request.package), request.pipeline).pipeline_id
    for version in all_pages(client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline):
        if version.display_name == request.version:
            return pipeline, version.pipeline_version_id
    made = client.upload_pipeline_version(str(request.package), request.version, pipeline_id=pipeline)
    return pipeline, made.pipeline_version_id


def wait(client: Any, run_id: str, request: Request, poll: float) -> str:
    """Wait for a run's end, telling how far it is; return what it ended with.

    Raises:
        CheckFailed: when it failed or was ended.
    """
    told: set[str] = set()
    while True:
        run = _look(client, run_id, poll)
        _tell(run, told)
        if run.state not in RUNNING:
            break
        time.sleep(poll)
    if run.state != GOOD:
        raise CheckFailed(f"run {run_id} ended as {run.state}: {_why(run)}")
    return end_of(run, request)


def _look(client: Any, run_id: str, poll: float) -> Any:
    """Return a run, asking again for a while when the server does not answer: a run takes hours, a restart minutes."""
    from kfp_server_api.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    for _ in range(FORGIVEN):
        try:
            return client.get_run(run_id)
        except ApiException as cause:
            if (cause.status or 0) < 500:
                raise
        except (HTTPError, OSError):
            pass
        time.sleep(poll)
    return client.get_run(run_id)


def end_of(run: Any, request: Request) -> str:
    """Return what a good run ended with: the branch of the graph that ran.

    The API gives no parameter outputs, so the verdict is read off the graph.

    Raises:
        CheckFailed: when the server lists no task, or tasks after resolve-champion and none of the ends.
    """
    ends = request.ends()
    reached = [ends[task.display_name] for task in _tasks(run) if task.display_name in ends and task.state == GOOD]
    if reached:
        return reached[0]
    if not _tasks(run) or any(task.display_name == "prepare-questions" for task in _tasks(run)):
        raise CheckFailed(f"run {run.run_id} went well, but the server does not say by which branch; see the link")
    return "already-published"


def _runs(client: Any, experiment: str, name: str, namespace: str) -> list[Any]:
    wanted = json.dumps({"predicates": [{"operation": "EQUALS", "key": "name", "stringValue": name}]})
    found = all_pages(client.list_runs, "runs", experiment_id=experiment, namespace=namespace, filter=wanted)
    return [run for run in found if run.display_name == name]


def _standing(runs: Iterable[Any]) -> list[Any]:
    """Return the runs that go on or went well, oldest first."""
    return sorted(
        (run for run in runs if run.state in RUNNING or run.state in (GOOD, None)),
        key=lambda run: (run.created_at, run.run_id),
    )


def all_pages(listing: Any, items: str, **arguments: Any) -> Iterable[Any]:
    """Yield the items of every page of a listing."""
    token = ""
    while True:
        page = listing(page_token=token, page_size=100, **arguments)
        yield from getattr(page, items) or ()
        token = page.next_page_token or ""
        if not token:
            return


def _tasks(run: Any) -> list[Any]:
    details = getattr(run, "run_details", None)
    return list(getattr(details, "task_details", None) or ())


def _tell(run: Any, told: set[str]) -> None:
    for task in _tasks(run):
        line = f"{task.display_name}: {str(task.state).lower()}"
        internal = task.display_name in ("root", "executor") or str(task.display_name).endswith("-driver")
        if not internal and task.state not in RUNNING and line not in told:
            told.add(line)
            print(line, file=sys.stderr, flush=True)


def _why(run: Any) -> str:
    messages = [task.error.message for task in _tasks(run) if task.error is not None and task.error.message]
    own = getattr(run, "error", None)
    return " ".join((messages or [own.message if own is not None else "see the link"])[-1].split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
