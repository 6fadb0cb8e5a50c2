"""evaluate-round: one cell, that is one round of one shard of the gate questions, in all three arms.

Where the gate looks at the questions several times, a cell is a shard of those that come in between two looks.

The pause arm stands still for as many tokens as the same question's thought took in the same round, so that it differs
from the thought arm in content only.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import get_args

import numpy as np

from agent_forge.records import Arm, Question, ResultRow, SplitName, TaskRole
from agent_forge.stages.bench import Bench, open_bench
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.rows import (
    Asked,
    OneByOne,
    SampledRows,
    grading,
    prompt_lengths,
    require_fit,
    require_graders,
    sample_rows,
)
from agent_forge.storage.files import write_parts_atomic
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
    arms = evaluate_arms(context, bench, questions, guards, round_number)
    write_parts_atomic(context.outputs["results"], chain.from_iterable(rows.lines() for rows in arms.values()))
    tallies = {arm: _tally(rows) for arm, rows in arms.items()}
    cost = meter.cost(sum(tokens for _, tokens in tallies.values()), len(questions))
    metrics = {
        f"{arm}_accuracy": correct / len(questions) for arm, (correct, _) in sorted(tallies.items()) if questions
    }
    return StageOutcome(cost=cost, metrics=metrics)


def evaluate_arms(
    context: StageContext,
    bench: Bench,
    questions: Sequence[Question],
    guards: set[str],
    round_number: int,
    pausing: bool = True,
) -> dict[Arm, SampledRows[ResultRow]]:
    """Return the rows of each arm over the same questions; `pausing` says whether the pause arm is one of them."""
    prompting, rules = bench.prompting, bench.rules
    lengths = prompt_lengths(bench, questions)

    def ask(scripts: Mapping[Arm, Callable[[int], Script]]) -> dict[Arm, SampledRows[ResultRow]]:
        """Ask every question in some arms, side by side."""
        arms = list(scripts)

        def asked(number: int) -> Asked:
            k, arm = number // len(arms), arms[number % len(arms)]
            return Asked(questions[k], round_number, arm, scripts[arm](k), _role(questions[k], guards))

        rows = sample_rows(
            *(context, bench, OneByOne(len(questions) * len(arms), asked)),
            *(context.scratch / f"{'-'.join(arms)}-{round_number}.jsonl", ResultRow, grading(context)),
            np.repeat(lengths, len(arms)),
        )
        return {arm: rows.every(len(arms), first) for first, arm in enumerate(arms)}

    direct = direct_script(prompting.cue_ids)
    elicited = elicited_script(rules, prompting.elicit_ids, prompting.cue_ids)
    known: dict[Arm, Callable[[int], Script]] = {"baseline": lambda _: direct, "thought": lambda _: elicited}
    # Both ask the same prompt, which is read once where that can be shared.
    together = [known] if bench.sampler.shares else [{arm: script} for arm, script in known.items()]
    answered = {arm: rows for scripts in together for arm, rows in ask(scripts).items()}
    if pausing:
        filler = prompting.encode(context.config.pause_text)[0]
        spent = np.fromiter((row.thought_tokens for row in answered["thought"]), np.int32, len(questions))
        answered |= ask({"pause": lambda k: pause_script(rules, filler, int(spent[k]), prompting.cue_ids)})
    return answered


def _all_questions(directory: Path) -> Iterator[Question]:
    for name in SPLITS:
        yield from read_split(directory, name)


def _role(question: Question, guards: set[str]) -> TaskRole:
    return "guard" if question.task in guards else "target"


def _tally(rows: Iterable[ResultRow]) -> tuple[int, int]:
    """Return how many rows are correct, and the tokens of all."""
    correct = tokens = 0
    for row in rows:
        correct, tokens = correct + row.correct, tokens + row.tokens
    return correct, tokens


STAGE = Stage("evaluate-round", evaluate_round, inputs=("extended", "questions"), outputs=("results",))
