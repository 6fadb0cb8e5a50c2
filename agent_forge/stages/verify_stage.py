"""verify: the baked model, left to itself, against the champion on questions that nothing else has seen."""

from agent_forge.comparison import Criteria
from agent_forge.records import Arm, Question, ResultRow, rows_text
from agent_forge.stages.bench import Bench, open_bench
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.evaluate_round import evaluate_arms
from agent_forge.stages.rows import Asked, SampledRows, grading, require_graders, sample_rows
from agent_forge.storage.files import write_atomic
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
    rows = [row for arms in sampled for found in arms.values() for row in found]
    criteria = Criteria(config.alpha, config.min_improvement, config.non_inferiority_margin, config.power)
    report = verify(rows, criteria, config.min_well_formed_rate)
    write_atomic(context.outputs["verification_results"], rows_text(rows))
    write_atomic(context.outputs["verification"], report.model_dump_json(indent=2) + "\n")
    return StageOutcome(
        cost=meter.cost(sum(row.tokens for row in rows), len(questions)),
        parameters={"verdict": report.verdict},
        metrics={
            "champion_accuracy": report.champion_accuracy,
            "baked_accuracy": report.baked_accuracy,
            "swapped_accuracy": report.swapped_accuracy,
            "p_value": report.p_value,
        },
    )


def _baked_arms(
    context: StageContext, bench: Bench, questions: tuple[Question, ...], guards: set[str], number: int
) -> dict[Arm, SampledRows[ResultRow]]:
    """Return the baked model's own answers, and its answers after another question's thought."""

    def ask(arm: Arm, scripts: list[Script]) -> SampledRows[ResultRow]:
        asked = [
            Asked(question, number, arm, script, "guard" if question.task in guards else "target")
            for question, script in zip(questions, scripts, strict=True)
        ]
        return sample_rows(
            context, bench, asked, context.scratch / f"{arm}-{number}.jsonl", ResultRow, grading(context)
        )

    cue = bench.prompting.cue_ids
    own = ask("baked", [free_script(cue)] * len(questions))
    thoughts = {row.question_id: row.thought for row in own}
    partners = swap_partners(questions)
    given = [bench.prompting.encode(bench.prompting.escape(thoughts[partners[q.id].id])) for q in questions]
    swapped = ask("swapped", [swapped_script(bench.rules, ids, cue) for ids in given])
    return {"baked": own, "swapped": swapped}


STAGE = Stage(
    "verify", verify_stage, inputs=("extended", "baked", "questions"), outputs=("verification", "verification_results")
)
