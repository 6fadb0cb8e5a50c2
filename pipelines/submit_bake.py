"""Submit the bake of an evolved champion, as a task of the pipeline that evolved it.

    python -m pipelines.submit_bake --executor-input JSON

The same as `pipelines.submit` by the contract of all containers: the same champion and configuration find the same run,
so that a task that is run again starts no second one.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent_forge.stages.executor import parse_input
from agent_forge.storage.files import write_atomic
from pipelines import connection, submit
from pipelines.request import add_arguments, read_request

_OPTIONS = {
    "champion_uri": "--model",
    "champion_digest": "--revision",
    "output_path": "--out",
    "host": "--host",
    "namespace": "--namespace",
    "service_account": "--service-account",
}


def main(arguments: Sequence[str]) -> int:
    """Submit; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor-input", required=True, help="the pipeline's executor input, JSON")
    return submit.run_command(_submit, parser, arguments, "submit-bake")


def _submit(given: argparse.Namespace) -> int:
    task = parse_input(given.executor_input)
    with tempfile.TemporaryDirectory() as directory:
        request = _arguments(task.inputs.parameterValues, Path(directory))
        wanted = read_request(request)
    client = connection.connect(request)
    with connection.refusals():
        run = submit.find_or_start(client, wanted, request)
    print(f"run   {run.run_id}")
    write_atomic(Path(task.outputs.parameters["run_id"].outputFile), run.run_id)
    return 0


def _arguments(values: Mapping[str, Any], directory: Path) -> argparse.Namespace:
    """Return what `pipelines.submit` would have been called with."""
    parser = argparse.ArgumentParser()
    connection.add_arguments(parser)
    add_arguments(parser)
    write_atomic(directory / "bake.json", values.get("bake_config") or json.dumps({}))
    given = [part for name, option in _OPTIONS.items() if values.get(name) for part in (option, str(values[name]))]
    parsed = parser.parse_args([*given, "--config", str(directory / "bake.json")])
    parsed.again = False
    return parsed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
