"""verify: the baked model, left to itself, against the champion on questions that nothing else has seen."""

from collections.abc import Callable, Sequence
from itertools import chain

from agent_forge.comparison import Criteria
from agent_forge.records import Arm, Question, ResultRow
from agent_forge.stages.bench import Bench, open_bench
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.evaluate_round import evaluate_arms
from agent_forge.stages.rows import (
    Asked,
    OneByOne,
    SampledRows,
    Spent,
    grading,
    prompt_lengths,
    require_graders,
    sample_rows,
)
from agent_forge.storage.files import write_atomic, write_parts_atomic
from agent_forge.storage.question_files import read_split, read_split_report
from agent_forge.thoughts import Script, free_script, swapped_script
from agent_forge.verification import swap_partners, verify


def verify_stage(context: StageContext) -> StageOutcome:
    """Sample the four arms in every round, judge them, write rows and report."""
    meter = Meter()
    config = context.config
    questions_dir = context.input("questions")
    questions = read_split(questions_dir, "verify")
    guards = set(read_split_report(questions_dir).guard_tasks)
    rounds = range(config.ab_test_rounds)
    require_graders(context, questions)
    champion = open_bench(context, context.input("extended"))
    sampled = [evaluate_arms(context, champion, questions, guards, number, pausing=False) for number in rounds]
    baked = open_bench(context, context.input("baked"))
    sampled += [_baked_arms(context, baked, questions, guards, number) for number in rounds]
    found = [rows for arms in sampled for rows in arms.values()]
    criteria = Criteria(config.alpha, config.min_improvement, config.non_inferiority_margin, config.power)
    spent = Spent()
    report = verify(spent.counting(chain.from_iterable(found)), criteria, config.min_well_formed_rate)
    write_parts_atomic(context.outputs["verification_results"], chain.from_iterable(rows.lines() for rows in found))
    write_atomic(context.outputs["verification"], report.model_dump_json(indent=2) + "\n")
    return StageOutcome(
        cost=meter.cost(spent.tokens, len(questions)),
        parameters={"verdict": report.verdict},
        metrics={
            "champion_accuracy": report.champion_accuracy,
            "baked_accuracy": report.baked_accuracy,
            "swapped_accuracy": report.swapped_accuracy,
            "p_value": report.p_value,
        },
    )


def _baked_arms(
    context: StageContext, bench: Bench, questions: Sequence[Question], guards: set[str], number: int
) -> dict[Arm, SampledRows[ResultRow]]:
    """Return the baked model's own answers, and its answers after another question's thought."""
    lengths = prompt_lengths(bench, questions)

    def ask(arm: Arm, script: Callable[[int], Script]) -> SampledRows[ResultRow]:
        def asked(k: int) -> Asked:
            question = questions[k]
            return Asked(question, number, arm, script(k), "guard" if question.task in guards else "target")

        log = context.scratch / f"{arm}-{number}.jsonl"
        rows = OneByOne(len(questions), asked)
        return sample_rows(context, bench, rows, log, ResultRow, grading(context), lengths)

    cue = bench.prompting.cue_ids
    free = free_script(cue)
    own = ask("baked", lambda _: free)
    partners_N = swap_partners(questions)

    def swapped(k: int) -> Script:
        thought = own[int(partners_N[k])].thought
        return swapped_script(bench.rules, bench.prompting.encode(bench.prompting.escape(thought)), cue)

    return {"baked": own, "swapped": ask("swapped", swapped)}


STAGE = Stage(
    "verify", verify_stage, inputs=("extended", "baked", "questions"), outputs=("verification", "verification_results")
)
