"""Bake on a schedule: one recurring run, without overlap and without catching up, however often this is called.

    python -m pipelines.schedule --host https://kubeflow.example --name nightly --cron "0 0 3 * * *" --model REF
    python -m pipelines.schedule --host https://kubeflow.example --name nightly --delete

A recurring run cannot be changed: when anything differs it is made anew and the old one is deleted. The cron expression
has six fields: second, minute, hour, day of month, month, day of week.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any

from agent_forge.errors import ConfigError
from pipelines import connection
from pipelines.request import add_arguments, read_request
from pipelines.submit import all_pages, ensure_version, run_command

_FIELD = r"[\d*/,\-?LW#A-Za-z]+"
_CRON = re.compile(rf"^{_FIELD}( {_FIELD}){{5}}$")


def main(arguments: Sequence[str]) -> int:
    """Schedule; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    connection.add_arguments(parser)
    add_arguments(parser)
    parser.add_argument("--name", required=True, help="name of the schedule")
    parser.add_argument("--cron", help="six fields, e.g. '0 0 3 * * *' for 03:00:00 every day")
    parser.add_argument("--delete", action="store_true", help="delete the schedule")
    return run_command(schedule, parser, arguments, "schedule")


def schedule(given: argparse.Namespace) -> int:
    """Make the schedule be what was asked for."""
    if given.delete == (given.cron is not None):
        raise ConfigError("give --cron or --delete")
    if given.cron is not None and not _CRON.match(given.cron):
        raise ConfigError(f"--cron is {given.cron!r}; expected six fields such as '0 0 3 * * *'")
    request = read_request(given)
    client = connection.connect(given)
    with connection.refusals():
        experiment = client.create_experiment(given.experiment, namespace=given.namespace).experiment_id
        there = _named(client, given.name, experiment)
        if given.delete:
            return _delete(client, there)
        # What the schedule stands for, kept where a later call can read it.
        mark = f"{request.key} {given.cron}"
        same = [recurring for recurring in there if recurring.description == mark]
        if same:
            _delete(client, [recurring for recurring in there if recurring is not same[0]])
            print(f"schedule  {same[0].recurring_run_id} (unchanged)")
            return 0
        pipeline, version = ensure_version(client, request)
        made = client.create_recurring_run(
            experiment,
            given.name,
            description=mark,
            cron_expression=given.cron,
            max_concurrency=1,
            no_catchup=True,
            params=request.parameters,
            pipeline_id=pipeline,
            version_id=version,
            service_account=given.service_account,
        )
        # Only now, so that there is no moment without a schedule.
        _delete(client, there)
        print(f"schedule  {made.recurring_run_id}")
        return 0


def _named(client: Any, name: str, experiment: str) -> list[Any]:
    found = all_pages(client.list_recurring_runs, "recurring_runs", experiment_id=experiment)
    return [recurring for recurring in found if recurring.display_name == name]


def _delete(client: Any, recurring_runs: list[Any]) -> int:
    for recurring in recurring_runs:
        client.delete_recurring_run(recurring.recurring_run_id)
        print(f"deleted  {recurring.recurring_run_id}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
