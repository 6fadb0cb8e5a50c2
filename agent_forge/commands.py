"""Commands that answer one question and make no run: calibrate, plan, grade, overlap, report, gc, merge."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from agent_forge.command_parts import shown_progress
from agent_forge.errors import CheckFailed, ResultsError

Alpha = Annotated[float, typer.Option(min=1e-6, max=0.499, help="The gate's rate of false bakes.")]
MinImprovement = Annotated[float, typer.Option(min=0, max=0.999, help="Smallest gain in accuracy worth baking for.")]
Margin = Annotated[float, typer.Option(min=1e-6, max=0.999, help="Loss that a guard task may show.")]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (calibrate, plan, grade, overlap, report, gc, merge):
        app.command()(command)


def calibrate(
    questions: Annotated[int, typer.Option(min=2, help="Questions per experiment: the planned size.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds per experiment.")] = 3,
    experiments: Annotated[int, typer.Option(min=1, help="Simulated experiments per line.")] = 1000,
    effect: Annotated[float, typer.Option(help="Gain in accuracy whose power is measured, as a fraction.")] = 0.05,
    looks: Annotated[int, typer.Option(min=1, help="Planned looks, the configuration's gate_looks.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Root of the simulation's random choices.")] = 0,
    alpha: Alpha = 0.05,
    min_improvement: MinImprovement = 0.02,
    non_inferiority_margin: Margin = 0.05,
    as_json: JsonOutput = False,
) -> None:
    """Simulate the gate: how often it bakes equal arms, and how often it finds a real gain."""
    import numpy as np

    from agent_forge.calibration import calibrate as simulate
    from agent_forge.comparison import Criteria

    criteria = Criteria(alpha, min_improvement, non_inferiority_margin, power=0.8)
    found = simulate(np.random.default_rng(seed), criteria, experiments, questions, rounds, effect, looks)
    if as_json:
        typer.echo(found.model_dump_json())
        return
    typer.echo(
        f"{experiments:,} experiments of {questions} questions and {rounds} rounds, gain {effect:+.1%}, seed {seed}"
    )
    typer.echo(
        f"{'rounds are':<12}{'false bakes (95 %)':>24}{'power (95 %)':>24}{'no_bake':>9}{'t-test of rounds':>18}"
    )
    for line in found.scenarios:
        false, true = line.false_bake_interval, line.bake_interval
        typer.echo(
            f"{line.scenario:<12}"
            f"{f'{line.false_bake_rate:.1%} ({false[0]:.1%} to {false[1]:.1%})':>24}"
            f"{f'{line.bake_rate:.1%} ({true[0]:.1%} to {true[1]:.1%})':>24}"
            f"{line.no_bake_rate:>9.1%}{line.round_means_false_rate:>18.1%}"
        )
    typer.echo(
        "no_bake: real gains given up. t-test of rounds: false bakes of a t-test over round means, the shortcut."
    )
    if looks > 1:
        typer.echo(f"ending at the first of {looks} looks that decides spares, in expectation:")
    for line in found.scenarios if looks > 1 else ():
        typer.echo(
            f"{line.scenario:<12}{line.saved_when_equal:.1%} of the completions without a gain, "
            f"{line.saved_when_better:.1%} with it"
        )


def plan(
    effect: Annotated[float, typer.Option(help="True gain in accuracy to find, as a fraction.")] = 0.05,
    power: Annotated[float, typer.Option(help="Probability of finding it.")] = 0.8,
    alpha: Alpha = 0.05,
    min_improvement: MinImprovement = 0.02,
    rounds: Annotated[list[int] | None, typer.Option(help="Rounds to compare; may be repeated.")] = None,
    looks: Annotated[int, typer.Option(min=1, help="Planned looks, the configuration's gate_looks.")] = 1,
    as_json: JsonOutput = False,
) -> None:
    """Say how many questions and rounds to buy to find a gain."""
    from agent_forge.calibration import plan as compute

    found = compute(effect, power, alpha, min_improvement, rounds or (1, 2, 3, 5, 8), looks)
    if as_json:
        typer.echo(found.model_dump_json())
        return
    typer.echo(f"to find a gain of {effect:+.1%} with power {power:.0%} at alpha {alpha:g}:")
    expected = f"{'expected':>13}" if looks > 1 else ""
    typer.echo(f"{'ab_test_rounds':>14}{'eval_samples':>14}{'completions':>13}{expected}")
    for option in found.options:
        cheapest = "  fewest completions" if option == found.cheapest else ""
        expected = f"{option.expected_completions:>13,}" if looks > 1 else ""
        typer.echo(f"{option.rounds:>14}{option.questions:>14,}{option.completions:>13,}{expected}{cheapest}")
    typer.echo("with greedy decoding rounds repeat each other: take the line for one round")
    if looks > 1:
        typer.echo(
            f"expected: completions on average when evaluation ends at the first of gate_looks {looks} to decide"
        )
    else:
        typer.echo("--looks 4: what looking at the questions four times would spare (gate_looks)")


def grade(
    completions: Annotated[Path, typer.Argument(help="JSON lines `id completion`.")],
    questions: Annotated[
        Path | None, typer.Option(help="JSON lines of questions; default: the data set's own.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set whose questions were answered.")] = None,
    dataset_path: Annotated[str | None, typer.Option(help="Local directory with the data set's files.")] = None,
    allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="Judge code by running it in a sandbox.")
    ] = False,
    explained: Annotated[
        bool, typer.Option("--explain", help="Add `explanation`: where the answer was read, and why it is (not) right.")
    ] = False,
) -> None:
    """Grade completions again; prints JSON lines `id extracted correct reason`."""
    from agent_forge.answers import grade as judge
    from agent_forge.answers import require_grader
    from agent_forge.answers.explanation import explain
    from agent_forge.errors import ConfigError
    from agent_forge.questions.sources import load_task
    from agent_forge.records import CompletionRow, read_rows

    source = str(questions) if questions else dataset
    if source is None or (questions and dataset):
        raise ConfigError(
            "give one of --questions FILE.jsonl and --dataset NAME: completions are graded against a reference"
        )
    by_id = {
        question.id: question
        for part in load_task(source, dataset_path, allow_code_execution).parts.values()
        for question in part
    }
    for kind in sorted({question.kind for question in by_id.values()}):
        require_grader(kind, allow_code_execution)
    rows = list(read_rows(CompletionRow, completions, ResultsError))
    if strangers := [row.id for row in rows if row.id not in by_id]:
        raise ResultsError(f"{completions}: {len(strangers)} ids are not in {source}, the first is {strangers[0]}")
    if not rows:
        raise ResultsError(f"{completions} holds no completions; one JSON object per line is expected")
    for row in rows:
        asked = by_id[row.id]
        found = judge(asked.kind, row.completion, asked.reference, asked.prompt, allow_code_execution)
        answer: dict[str, object] = {"id": row.id, **found.model_dump(include={"extracted", "correct", "reason"})}
        if explained:
            why = explain(asked.kind, row.completion, asked.reference, asked.prompt, found)
            answer["explanation"] = why.model_dump()
        typer.echo(json.dumps(answer, ensure_ascii=False))


def overlap(
    first: Annotated[Path, typer.Argument(help="JSON lines of questions.")],
    second: Annotated[Path, typer.Argument(help="JSON lines of questions.")],
) -> None:
    """Find items of the first file that share a 13-gram with the second, or all words of the shorter; exit 1 if any.

    Rows of class `leak` are those. Rows of class `twin` differ from a question of the second in nothing but numbers;
    they are shown with what both have in common, and do not change the exit code.
    """
    from agent_forge.questions.overlap import find_shared
    from agent_forge.questions.twins import find_twins

    (ids, one), (others, two) = _questions_of(first), _questions_of(second)
    found = {item: (others[shared.other], shared.gram, "leak") for item, shared in find_shared(one(), two)}
    leaks = len(found)
    for item, other, shared_words in find_twins(one, two):
        found.setdefault(item, (others[other], shared_words, "twin"))
    for item, (other_id, shared_words, kind) in sorted(found.items()):
        row = {"first": ids[item], "second": other_id, "shared": shared_words, "class": kind}
        typer.echo(json.dumps(row, ensure_ascii=False))
    if leaks:
        raise CheckFailed(f"{leaks} of {len(ids)} questions of {first} share a 13-gram with {second}")


def _questions_of(path: Path) -> tuple[list[str], Callable[[], Iterator[str]]]:
    """Return the ids of a file's questions and a way to read their prompts again; a file stays on disk."""
    from agent_forge.questions.sources import load_task
    from agent_forge.questions.sources.question_file import read_prompts, read_questions

    if path.suffix or len(path.parts) > 1:
        return [question.id for question in read_questions(path)], partial(read_prompts, path)
    questions = [question for part in load_task(str(path)).parts.values() for question in part]
    return [question.id for question in questions], [question.prompt for question in questions].__iter__


def report(run_dir: Annotated[Path, typer.Argument(help="Run directory.")]) -> None:
    """Write RUN_DIR/report.html: one self-contained page about a run, finished or not."""
    from agent_forge.run_report import write_report

    typer.echo(f"report  {write_report(run_dir)}")


def gc(
    root: Annotated[str, typer.Argument(help="Publication root: a directory, s3://bucket/prefix or hf://owner/name.")],
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is listed.")] = False,
    older_than: Annotated[float, typer.Option(min=1, help="Hours since it was last written.")] = 24,
) -> None:
    """List, or remove, what interrupted publications left behind; never anything of a published model."""
    from agent_forge.storage.leftovers import find_leftovers, remove

    found = find_leftovers(root, older_than)
    for left in found:
        typer.echo(f"{left.kind:<12} {left.hours:>8.1f} h {left.size:>15,} bytes  {left.place}")
    if delete:
        remove(root, found)
    what = "removed" if delete else "left over; --delete removes them"
    typer.echo(f"{len(found)} things, {sum(left.size for left in found):,} bytes, {what}")


def merge(
    recipe: Annotated[Path, typer.Argument(help="YAML or JSON file: method, parents, weights ...")],
    out: Annotated[Path, typer.Option(help="Directory for the merged model; must not exist.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Merge models of one architecture into a new one."""
    from agent_forge.evolution.merge import merge as make
    from agent_forge.evolution.recipe import load_recipe

    done = make(load_recipe(recipe), out, watcher=shown_progress(quiet))
    typer.echo(f"merged  {out}")
    typer.echo(f"recipe  {done.recipe_sha256}")
