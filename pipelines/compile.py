"""Compile the pipelines for the platforms that are shipped, or for one of your own.

python -m pipelines.compile                                   pipelines/compiled/*.yaml
python -m pipelines.compile --platform mine.yaml --out my-pipeline.yaml
python -m pipelines.compile --pipeline evomerge --platform mine.yaml --out my-evomerge.yaml
python -m pipelines.compile --check                           exit 1 when what is committed is stale
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from kfp import compiler
from kfp.dsl.base_component import BaseComponent

from agent_forge.errors import CheckFailed, ConfigError, ForgeError
from agent_forge.storage.files import write_atomic
from pipelines import evomerge, quietstar
from pipelines.platform import Platform, read_platform

HERE = Path(__file__).parent
PIPELINES: dict[str, Callable[[Platform], BaseComponent]] = {
    "quietstar": quietstar.define,
    "evomerge": evomerge.define,
}
# What is shipped: compiled file -> pipeline and platform.
SHIPPED = {
    "quietstar.yaml": ("quietstar", "gpu"),
    "quietstar-cpu.yaml": ("quietstar", "cpu"),
    "evomerge.yaml": ("evomerge", "evomerge"),
}


def compiled(platform: Platform, pipeline: str = "quietstar") -> str:
    """Return a pipeline for a platform as YAML; the same platform gives the same text."""
    defined = PIPELINES[pipeline](platform)
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = Path(directory) / "pipeline.yaml"
        compiler.Compiler().compile(defined, str(package))
        return package.read_text(encoding="utf-8")


def shipped() -> Iterator[tuple[Path, str]]:
    """Yield every compiled file that is shipped and what it must hold."""
    for name, (pipeline, platform) in SHIPPED.items():
        yield HERE / "compiled" / name, compiled(read_platform(HERE / "platforms" / f"{platform}.yaml"), pipeline)


def main(arguments: list[str]) -> int:
    """Compile, or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", choices=PIPELINES, default="quietstar", help="with --platform: which pipeline")
    parser.add_argument("--platform", type=Path, help="platform file")
    parser.add_argument("--out", type=Path, help="where to write the pipeline for it")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a shipped file is stale")
    given = parser.parse_args(arguments)
    try:
        return _run(given)
    except ForgeError as error:
        print(f"compile: {error}", file=sys.stderr)
        return error.exit_code


def _run(given: argparse.Namespace) -> int:
    if (given.platform is None) != (given.out is None):
        raise ConfigError("give --platform and --out together")
    if given.platform is not None:
        write_atomic(given.out, compiled(read_platform(given.platform), given.pipeline))
        return 0
    for path, text in shipped():
        if given.check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            raise CheckFailed(f"{path} is stale; run `make compile` and commit it")
        if not given.check:
            write_atomic(path, text)
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
