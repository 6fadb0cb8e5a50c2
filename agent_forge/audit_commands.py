"""The command that asks whether the graders can be trusted on a data set."""

from typing import Annotated

import typer

from agent_forge.errors import CheckFailed, ConfigError


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("audit-grader")(audit_grader)


def audit_grader(
    dataset: Annotated[str, typer.Argument(help="A data set, or FILE.jsonl of questions.")],
    dataset_path: Annotated[str | None, typer.Option(help="Local directory with the data set's files.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Audit the first questions only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    _allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="Taken and not needed: there is no audit for code.")
    ] = False,
) -> None:
    """Grade right answers in many phrasings and wrong ones in many forms; exit 1 if any grade is not as it must be."""
    from agent_forge.audit import audit
    from agent_forge.questions.sources import load_task

    # Nothing is run: questions of code are loaded to be refused with the reason.
    parts = load_task(dataset, dataset_path, True).parts
    questions = [question for part in parts.values() for question in part][:limit]
    if not questions:
        raise ConfigError(f"{dataset} holds no questions; at least one is needed")
    found = audit(questions)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        for tally in found.tallies:
            must = "accept" if tally.right else "reject"
            good = tally.total - tally.wrong
            typer.echo(f"{tally.kind:<7}{must}  {good:>6}/{tally.total:<6} {tally.name!r}")
            for example in tally.examples:
                typer.echo(f"{'':>16}{example}")
    if found.false_negatives or found.false_positives:
        raise CheckFailed(
            f"{found.false_negatives} right answers refused and {found.false_positives} wrong ones accepted "
            f"of {found.questions} questions of {dataset}"
        )
    if not as_json:
        typer.echo(f"{found.questions} questions: every completion is graded as it must be")
