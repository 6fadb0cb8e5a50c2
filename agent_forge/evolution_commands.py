"""Commands about evolved champions: evo, story."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_forge.command_parts import Assignments, ConfigFile, show_results, shown_progress
from agent_forge.errors import Interrupted

if TYPE_CHECKING:
    from agent_forge.evolution_records import EvolutionReport


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(evo)
    app.command()(story)


def story(
    directory: Annotated[Path, typer.Argument(help="Directory of an evolution whose champion was baked in it.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Write one report of an evolution and its bake; the best base model answers the last questions for the total."""
    from agent_forge.story import write_story

    typer.echo(f"story    {write_story(directory, shown_progress(quiet))}")


def evo(
    base_models: Annotated[
        str | None, typer.Option(help="Models to merge: directories, references or names; by commas.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Directory of the evolution; the champion is its best_model.")] = None,
    gens: Annotated[int | None, typer.Option(help="Generations.")] = None,
    population: Annotated[int | None, typer.Option(help="Merges per generation.")] = None,
    base: Annotated[str | None, typer.Option(help="What the base models were fine-tuned from.")] = None,
    methods: Annotated[str | None, typer.Option(help="Methods to choose among, by commas.")] = None,
    eval_dataset: Annotated[
        str | None, typer.Option(help="arithmetic, gsm8k, math, code, reasoning or FILE.jsonl; several by commas.")
    ] = None,
    publish_to: Annotated[
        str | None,
        typer.Option(help="Publish to this directory, s3://..., hf://... or wandb://... too: champions/DIGEST/."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    sign_key: Annotated[Path | None, typer.Option(help="Sign the manifest with this key; see forge keygen.")] = None,
    allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="Judge code by running it in a sandbox.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an evolution that was stopped.")] = False,
    then_bake: Annotated[bool, typer.Option("--then-bake", help="Bake the champion afterwards.")] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Evolve a champion out of models of one architecture, by merging them."""
    from agent_forge.evolution_config import load_settings, parse_setting

    arguments: dict[str, object] = dict(parse_setting(text) for text in assignments or [])
    named = {
        "base_models": base_models,
        "output_path": out,
        "gens": gens,
        "population": population,
        "base": base,
        "methods": methods,
        "eval_dataset": eval_dataset,
        "publish_to": publish_to,
        "device": device,
        "signing_key_file": str(sign_key) if sign_key else None,
        "allow_code_execution": allow_code_execution or None,
    }
    arguments |= {name: value for name, value in named.items() if value is not None}
    settings = load_settings(arguments, config, os.environ)
    try:
        from agent_forge.evomerge import EvoMerge

        evolution = EvoMerge(settings, resume, shown_progress(quiet))
        report = evolution.run()
        _show(report, json_lines)
        results = evolution.bake(report) if then_bake else None
    except KeyboardInterrupt as cause:
        raise Interrupted(f"interrupted; add --resume to continue in {settings.directory}") from cause
    if results is not None:
        show_results(results, json_lines)


def _show(report: "EvolutionReport", as_json: bool) -> None:
    if as_json:
        typer.echo(report.model_dump_json())
        return
    typer.echo(f"champion {report.winner.name}, digest {report.champion_digest}")
    typer.echo(f"gain     {report.gain.reason if report.gain else 'none: no merge did better than the base models'}")
    typer.echo(f"model    {report.model_path}")
    if report.manifest_path:
        typer.echo(f"manifest {report.manifest_path}")
