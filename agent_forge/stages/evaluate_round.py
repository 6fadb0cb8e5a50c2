"""evaluate-round: one cell, that is one round of one shard of the gate questions, in all three arms.

Where the gate looks at the questions several times, a cell is a shard of those that come in between two looks.

The pause arm stands still for as many tokens as the same question's thought took in the same round, so that it differs
from the thought arm in content only.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from agent_forge.records import Arm, Question, ResultRow, SplitName, TaskRole, rows_text
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.rows import Asked, Bench, grading, open_bench, require_fit, require_graders, sample_rows
from agent_forge.storage.files import write_atomic
from agent_forge.storage.question_files import block, parse_cell, read_split, read_split_report, shard
from agent_forge.thoughts import Script, direct_script, elicited_script, pause_script

SPLITS: tuple[SplitName, ...] = get_args(SplitName)


def evaluate_round(context: StageContext) -> StageOutcome:
    """Sample and grade one cell; writes result rows ordered by arm, then question."""
    meter = Meter()
    config = context.config
    round_number, piece = parse_cell(context.parameters["cell"])
    block_number, shard_number = divmod(piece, config.shards)
    questions_dir = context.input("questions")
    guards = set(read_split_report(questions_dir).guard_tasks)
    coming_in = block(read_split(questions_dir, "gate"), block_number, config.gate_looks)
    questions = shard(coming_in, shard_number, config.shards)
    require_graders(context, questions)
    bench = open_bench(context, context.input("extended"))
    # Before anything is sampled, what the later stages would be refused for too.
    require_fit(bench, _all_questions(questions_dir) if round_number == 0 else questions)
    rows = evaluate_arms(context, bench, questions, guards, round_number)
    write_atomic(context.outputs["results"], rows_text(rows))
    cost = meter.cost(sum(row.tokens for row in rows), len(questions))
    return StageOutcome(cost=cost, metrics=_accuracies(rows))


def evaluate_arms(
    context: StageContext,
    bench: Bench,
    questions: tuple[Question, ...],
    guards: set[str],
    round_number: int,
    pausing: bool = True,
) -> list[ResultRow]:
    """Return the rows of all arms over the same questions; `pausing` says whether the pause arm is one of them."""
    prompting, rules = bench.prompting, bench.rules

    def ask(arm: Arm, scripts: list[Script]) -> list[ResultRow]:
        asked = [
            Asked(question, round_number, arm, script, _role(question, guards))
            for question, script in zip(questions, scripts, strict=True)
        ]
        log = context.scratch / f"{arm}-{round_number}.jsonl"
        return sample_rows(context, bench, asked, log, ResultRow, grading(context))

    count = len(questions)
    baseline = ask("baseline", [direct_script(prompting.cue_ids)] * count)
    thought = ask("thought", [elicited_script(rules, prompting.elicit_ids, prompting.cue_ids)] * count)
    if not pausing:
        return [*baseline, *thought]
    filler = prompting.encode(context.config.pause_text)[0]
    pause = ask("pause", [pause_script(rules, filler, row.thought_tokens, prompting.cue_ids) for row in thought])
    return [*baseline, *thought, *pause]


def _all_questions(directory: Path) -> Iterator[Question]:
    for name in SPLITS:
        yield from read_split(directory, name)


def _role(question: Question, guards: set[str]) -> TaskRole:
    return "guard" if question.task in guards else "target"


def _accuracies(rows: list[ResultRow]) -> dict[str, float]:
    arms = sorted({row.arm for row in rows})
    of_arm = {arm: [row.correct for row in rows if row.arm == arm] for arm in arms}
    return {f"{arm}_accuracy": sum(correct) / len(correct) for arm, correct in of_arm.items()}


STAGE = Stage("evaluate-round", evaluate_round, inputs=("extended", "questions"), outputs=("results",))
