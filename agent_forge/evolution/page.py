"""The report of an evolution: a short page to read (Markdown) and the same in HTML, with the generation curve."""

from collections.abc import Sequence

from agent_forge.evolution_records import Candidate, EvolutionReport, GenerationSummary


def markdown(report: EvolutionReport) -> str:
    """Return the report as Markdown."""
    winner = report.winner
    kept = "a base model: no merge did better on `select`" if winner.base_model else f"generation {winner.generation}"
    lines = [
        "# Evolution",
        "",
        report.gain.reason
        if report.gain
        else "No merge did better than the base models; the best of them is handed over.",
        "",
        f"- champion: {winner.name} ({kept}), digest `{report.champion_digest[:12]}`",
        f"- fitness: {report.fitness_aggregate} of the tasks' accuracies, {_ARMS[report.fitness_arm]}",
        f"- questions: {', '.join(f'{found.count} {split}' for split, found in report.questions.items())}; "
        "`evolve` scores merges, `select` chooses the champion, `confirm` measures it",
        "",
        "## Generations",
        "",
        "| generation | best | mean | best so far | new |",
        "| --- | --- | --- | --- | --- |",
        *(_generation(one) for one in report.generations),
        "",
        "## Compared on `select`",
        "",
        "| model | generation | evolve | select | by task |",
        "| --- | --- | --- | --- | --- |",
        *(_candidate(one, one == winner) for one in _by_select((*report.base_models, *report.elites))),
        "",
    ]
    return "\n".join([*lines, *_gain(report), *_recipe(winner), *_warnings(report)])


_ARMS = {"baseline": "direct answers", "thought": "answers after an elicited thought"}


def _gain(report: EvolutionReport) -> list[str]:
    if (gain := report.gain) is None:
        return []
    low, high = gain.confidence_interval
    rows = [
        f"| {gain.against} (best on `select`) | {gain.base_model_accuracy:.1%} | {100 * gain.difference:+.1f} | "
        f"{100 * low:+.1f} to {100 * high:+.1f} | {gain.p_value:.2g} | {gain.verdict} |"
    ]
    for name, one in gain.others.items():
        low, high = one.confidence_interval
        rows.append(
            f"| {name} | {one.base_model_accuracy:.1%} | {100 * one.difference:+.1f} | {100 * low:+.1f} to "
            f"{100 * high:+.1f} | {one.p_value:.2g} | {one.verdict} |"
        )
    return [
        "## Gain on `confirm`",
        "",
        f"The champion answers {gain.champion_accuracy:.1%} of {gain.questions} questions right, in {gain.rounds} "
        "rounds. These questions chose nothing.",
        "",
        f"| against | its accuracy | points | {100 * gain.confidence_level:g}% interval | p | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _recipe(winner: Candidate) -> list[str]:
    lines = ["## Recipe", ""]
    for name, value in winner.recipe.items():
        shown = [entry["model"] for entry in value] if name == "parents" and isinstance(value, list) else value
        lines.append(f"- {name}: {value['model'] if name == 'base' and isinstance(value, dict) else shown}")
    return [*lines, ""]


def _warnings(report: EvolutionReport) -> list[str]:
    told = (*report.warnings, *(report.gain.warnings if report.gain else ()))
    return ["## Warnings", "", *(f"- {text}" for text in told), ""] if told else []


def _by_select(candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda one: -(one.select.score or 0.0) if one.select else 0.0)


def _candidate(one: Candidate, won: bool) -> str:
    select = one.select
    tasks = ", ".join(f"{task} {value:.1%}" for task, value in select.per_task.items()) if select else ""
    name = f"**{one.name}**" if won else one.name
    scores = f"{_share(one.evolve.score)} | {_share(select.score if select else None)}"
    return f"| {name} | {one.generation} | {scores} | {tasks} |"


def _generation(one: GenerationSummary) -> str:
    return f"| {one.number} | {_share(one.best)} | {_share(one.mean)} | {_share(one.best_so_far)} | {one.new} |"


def _share(value: float | None) -> str:
    return "failed" if value is None else f"{value:.1%}"
