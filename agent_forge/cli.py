"""The command line. Heavy imports happen inside the commands, so that `--help` is instant."""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from agent_forge import __version__, artifact_commands, audit_commands, commands, evolution_commands, serving_commands
from agent_forge.command_parts import Assignments, ConfigFile, loading, show_results, shown_progress
from agent_forge.errors import ForgeError, Interrupted, OutputError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Bake thinking into a model, if it helps.")

TERMINATION_LOG = "FORGE_TERMINATION_LOG"
VERDICT_CODES = {"bake": 0, "no_bake": 10, "inconclusive": 11}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"forge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Judge whether thinking helps a language model, and bake it in only when it does."""


@app.command("bake-quietstar")
def bake_quietstar(
    model: Annotated[str | None, typer.Option(help="Champion: directory, .gguf file or hub name.")] = None,
    out: Annotated[str | None, typer.Option(help="Run directory.")] = None,
    publish_to: Annotated[
        str | None,
        typer.Option(help="Publish to this directory, s3://..., hf://... or wandb://..., which runs may share."),
    ] = None,
    eval_dataset: Annotated[
        str | None, typer.Option(help="arithmetic, gsm8k, math, code, reasoning or FILE.jsonl; several by commas.")
    ] = None,
    eval_samples: Annotated[int | None, typer.Option(help="Questions per task that the gate judges on.")] = None,
    also_exclude: Annotated[
        list[Path] | None, typer.Option(help="File or directory of text that no question may stand in; repeatable.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    engine: Annotated[str | None, typer.Option(help="How rows are sampled: sharing, reference or vllm.")] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    sign_key: Annotated[Path | None, typer.Option(help="Sign the manifest with this key; see forge keygen.")] = None,
    allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="Judge code by running it in a sandbox.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Judge a champion; bake, verify and publish it when thinking helps."""
    from agent_forge.config import load_config, parse_assignment

    arguments: dict[str, object] = dict(parse_assignment(text) for text in assignments or [])
    named = {
        "model_path": model,
        "output_path": out,
        "publish_to": publish_to,
        "eval_dataset": eval_dataset,
        "eval_samples": eval_samples,
        "also_exclude": [str(path) for path in also_exclude] if also_exclude else None,
        "device": device,
        "engine": engine,
        "signing_key_file": str(sign_key) if sign_key else None,
        "allow_code_execution": allow_code_execution or None,
    }
    arguments |= {name: value for name, value in named.items() if value is not None}
    settings = load_config(arguments, config, os.environ)
    try:
        with loading():
            from agent_forge.fresh_process import standing_by
            from agent_forge.quietstar_baker import QuietSTaRBaker

            if settings.publish_to is None:
                from agent_forge.stages import verify_stage  # noqa: F401 what the waiting process is for

        # Where runs share a place this one may only have to wait: then it does without all that is imported for work.
        with standing_by(_run_command) if settings.publish_to is None else contextlib.nullcontext() as waiting:
            results = QuietSTaRBaker(settings, resume, shown_progress(quiet), waiting).run()
    except KeyboardInterrupt as cause:
        raise Interrupted(f"interrupted; add --resume to continue in {settings.output_path}") from cause
    show_results(results, json_lines)


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help="A node of a pipeline, e.g. evaluate-round.")],
    executor_input: Annotated[str, typer.Option(help="The pipeline's executor input, JSON.")],
    outcome_file: Annotated[Path | None, typer.Option(help="Write here what the stage spent and said, JSON.")] = None,
    end_with_stdin: Annotated[bool, typer.Option("--end-with-stdin", help="End when standard input closes.")] = False,
) -> None:
    """Run one stage, as its container does."""
    with loading():
        from agent_forge.progress import choose_progress
        from agent_forge.stages.context import Silent
        from agent_forge.stages.executor import describe_task, run_executor_input
        from agent_forge.storage.files import write_atomic

    # Of processes that torchrun started, the first speaks for all.
    progress = Silent() if os.environ.get("RANK", "0") != "0" else choose_progress(bar=False)
    if end_with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    if name in ("evolve", "help-evolve"):
        _evolve_task(name, executor_input, progress)
        return
    try:
        with loading():
            task = describe_task(name, executor_input)
        if not end_with_stdin:
            progress.stage(task.place, "began")
        if (job := os.environ.get("FORGE_TRAIN_JOB")) and "WORLD_SIZE" not in os.environ:
            _train_job(name, executor_input, job, progress)
            return
        outcome = run_executor_input(name, executor_input, progress)
    except ForgeError as error:
        _leave_last_words(str(error))
        raise
    if outcome_file is not None:
        write_atomic(outcome_file, outcome.model_dump_json())
    if not end_with_stdin:
        from agent_forge.tracker import track_task

        progress.stage(task.place, f"ended after {outcome.cost.seconds:.1f} s", outcome.cost)
        track_task(task, outcome.parameters.get("model_path", ""), lambda text: progress.note(f"warning: {text}"))


def _train_job(name: str, executor_input: str, job: str, progress: Any) -> None:
    """Have a stage carried out by a TrainJob, as the platform file said."""
    from agent_forge.train_job import carry_out, in_cluster, read_settings

    carry_out(name, executor_input, read_settings(job), in_cluster(), progress)


def _evolve_task(name: str, executor_input: str, progress: Any) -> None:
    """Run a task of the pipeline that evolves champions."""
    from agent_forge.evolution_task import HELP, help_evolve, run_evolve

    try:
        if name == HELP:
            help_evolve(executor_input, progress)
        else:
            run_evolve(executor_input, progress)
    except ForgeError as error:
        _leave_last_words(str(error))
        raise


@app.command()
def gate(
    results: Annotated[list[Path], typer.Argument(help="JSON lines of result rows.")],
    out: Annotated[Path, typer.Option(help="Directory for gate.json.")],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="0 bake, 10 no_bake, 11 inconclusive.")] = False,
    alpha: Annotated[float, typer.Option(min=1e-6, max=0.499)] = 0.05,
    min_improvement: Annotated[float, typer.Option(min=0, max=0.999)] = 0.02,
    non_inferiority_margin: Annotated[float, typer.Option(min=1e-6, max=0.999)] = 0.05,
    power: Annotated[float, typer.Option(min=0.01, max=0.999)] = 0.8,
    looks: Annotated[
        str, typer.Option(help="Questions of each task at every planned look, as 100,200,300; the rows are of one.")
    ] = "",
) -> None:
    """Judge anyone's graded results."""
    from agent_forge.errors import ResultsError
    from agent_forge.gate import judge
    from agent_forge.looks import parse_planned
    from agent_forge.records import ResultRow, read_rows
    from agent_forge.storage.files import write_atomic

    planned = parse_planned(looks)
    rows = (row for path in results for row in read_rows(ResultRow, path, ResultsError))
    report = judge(rows, alpha, min_improvement, non_inferiority_margin, power, planned)
    write_atomic(out / "gate.json", report.model_dump_json(indent=2) + "\n")
    typer.echo(f"{report.verdict}: {report.reason}")
    if exit_code:
        raise typer.Exit(VERDICT_CODES[report.verdict])


@app.command()
def config(
    show: Annotated[bool, typer.Option("--show", help="Print what would be used.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema.")] = False,
    file: ConfigFile = None,
    assignments: Assignments = None,
) -> None:
    """Print the configuration or its schema."""
    import json

    import yaml

    from agent_forge.config import QuietSTaRConfig, grouped, load_config, parse_assignment
    from agent_forge.errors import ConfigError

    if show == schema:
        raise ConfigError("give --show or --schema")
    if schema:
        typer.echo(json.dumps(QuietSTaRConfig.model_json_schema(), indent=2))
        return
    arguments = dict(parse_assignment(text) for text in assignments or [])
    typer.echo(yaml.safe_dump(grouped(load_config(arguments, file, os.environ)), sort_keys=False), nl=False)


commands.register(app)
audit_commands.register(app)
artifact_commands.register(app)
serving_commands.register(app)
evolution_commands.register(app)


def main() -> None:
    """Run the command line; every foreseen error is one line on stderr and its own exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.excepthook = _masked_traceback
    code = _run()
    if "torch" in sys.modules:
        _end(code)
    sys.exit(code)


def _end(code: int) -> None:
    """End without taking modules apart, whose memory goes to the system anyway: of PyTorch's, that takes seconds."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _run_command(arguments: Sequence[str]) -> int:
    """Run a command in a process that has waited for it."""
    sys.argv = ["forge", *arguments]
    return _run()


def _run() -> int:
    try:
        code: Any = app(standalone_mode=False)
        return int(code or 0)
    except ForgeError as error:
        return _fail(str(error), error.exit_code)
    except typer.Exit as error:
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", Interrupted.exit_code)
    except OSError as error:
        from agent_forge.storage.files import unwritable

        if (advice := unwritable(error)) is None:
            raise
        return _fail(f"cannot write {error.filename or 'output'}: {advice}", OutputError.exit_code)
    except Exception as error:
        # Depending on its version typer raises click's usage errors or those of a copy of click that it carries.
        usage = getattr(error, "format_message", None)
        if usage is None:
            raise
        return _fail(usage(), 2)


def _fail(message: str, code: int) -> int:
    print(_one_line(message), file=sys.stderr)
    return code


def _one_line(message: str) -> str:
    from agent_forge.report.redact import masked_text, secrets_of

    return f"forge: {masked_text(' '.join(message.split()), secrets_of(os.environ))}"


def _masked_traceback(*problem: Any) -> None:
    """Print an error of ours as Python does, but for credentials that stand in it."""
    import traceback

    from agent_forge.report.redact import masked_text, secrets_of

    print(masked_text("".join(traceback.format_exception(*problem)), secrets_of(os.environ)), end="", file=sys.stderr)


def _leave_last_words(message: str) -> None:
    """Write why a container ended to where Kubernetes reads it, so that user interfaces show it beside the task."""
    log = Path(os.environ.get(TERMINATION_LOG, "/dev/termination-log"))
    if log.is_file():
        with contextlib.suppress(OSError):
            log.write_text(_one_line(message), encoding="utf-8")


def _end_with_stdin() -> None:
    """End this process at once when whoever started it is gone, so that it cannot write beside its successor."""
    while os.read(0, 4096):
        pass
    os._exit(Interrupted.exit_code)


def _terminate(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
