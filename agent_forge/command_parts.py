"""What commands have in common: options, progress, how a bake's results are shown."""

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agent_forge.records import RunResults
    from agent_forge.stages.context import Progress

ConfigFile = Annotated[Path | None, typer.Option("--config", help="JSON or YAML file of fields.")]
Assignments = Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE, any field; may be repeated.")]


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Keep the garbage collector from what is imported meanwhile: a million objects, none of which is garbage ever."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def shown_progress(quiet: bool) -> "Progress":
    """Return what progress is shown by, if at all."""
    from agent_forge.progress import choose_progress
    from agent_forge.stages.context import Silent

    return Silent() if quiet else choose_progress()


def show_results(results: "RunResults", as_json: bool) -> None:
    """Print what came of a bake, for people or as one line of JSON."""
    if as_json:
        typer.echo(results.model_dump_json())
        return
    typer.echo(f"verdict  {results.verdict}" + (f", then {results.verification}" if results.verification else ""))
    typer.echo(f"why      {results.reason}")
    typer.echo(f"model    {results.model_path}")
    typer.echo(f"report   {results.report_path}")
