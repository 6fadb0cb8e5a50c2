"""collect-traces: samples with and without a thought on one shard of the bake questions, filtered into traces.

The samples without a thought serve twice: they tell which questions need no thought, and some of them are replayed in
the bake so that the model keeps answering as it did when it is made to answer directly.
"""

from collections.abc import Callable
from functools import partial

from agent_forge.models.sample import Sampled
from agent_forge.records import ReplayRow, ResultRow, Trace, TraceReport
from agent_forge.stages.bench import open_bench
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.rows import Asked, grading, require_graders, sample_rows
from agent_forge.storage.question_files import read_split, shard
from agent_forge.storage.trace_files import TraceSet, write_traces
from agent_forge.thoughts import direct_script, elicited_script
from agent_forge.traces import Candidate, select_traces


class SampledTrace(Trace):
    """A trace before it is filtered, with what the filters go by."""

    correct: bool
    truncated: bool
    well_formed: bool

    def candidate(self) -> Candidate:
        """Split the record into the trace and its grade."""
        fields = self.model_dump(exclude={"correct", "truncated", "well_formed"})
        return Candidate(Trace.model_validate(fields), self.correct, self.truncated, self.well_formed)


def collect_traces(context: StageContext) -> StageOutcome:
    """Sample, grade, filter; writes traces.jsonl, replay.jsonl and report.json into the artifact's directory."""
    meter = Meter()
    config = context.config
    questions = shard(
        read_split(context.input("questions"), "bake"), int(context.parameters.get("shard", "0")), config.shards
    )
    require_graders(context, questions)
    bench = open_bench(context, context.input("extended"), temperature=config.trace_temperature)
    numbered = [(question, sample) for question in questions for sample in range(config.trace_samples)]
    prompting = bench.prompting
    script = direct_script(prompting.cue_ids)
    direct_asked = [Asked(q, 0, "baseline", script, sample=k) for q, k in numbered]
    script = elicited_script(bench.rules, prompting.elicit_ids, prompting.cue_ids)
    thought_asked = [Asked(q, 0, "thought", script, sample=k) for q, k in numbered]
    graded = grading(context)
    direct = list(sample_rows(context, bench, direct_asked, context.scratch / "direct.jsonl", ResultRow, graded))
    trace = partial(_sampled_trace, graded)
    thoughts = list(sample_rows(context, bench, thought_asked, context.scratch / "thought.jsonl", SampledTrace, trace))
    solved = {question.id: True for question in questions}
    for row in direct:
        solved[row.question_id] &= row.correct
    selection = select_traces((row.candidate() for row in thoughts), solved, config.traces_per_question)
    wanted = round(config.replay_fraction * len(selection.kept))
    replay = _replay(direct, {trace.question_id for trace in selection.kept}, wanted)
    report = TraceReport(
        questions=len(questions),
        samples=len(thoughts),
        kept=len(selection.kept),
        questions_kept=len({trace.question_id for trace in selection.kept}),
        replay=len(replay),
        rejected=dict(selection.rejected),
        thought_lengths=tuple(trace.thought_tokens for trace in selection.kept),
        solve_rates=_solve_rates(thoughts),
    )
    write_traces(context.outputs["traces"], TraceSet(tuple(selection.kept), replay, report))
    tokens = sum(row.tokens for row in direct) + sum(row.tokens for row in thoughts)
    return StageOutcome(cost=meter.cost(tokens, len(questions)), metrics={"traces": float(report.kept)})


def _sampled_trace(
    graded: Callable[[Asked, int, Sampled], ResultRow], asked: Asked, seed: int, sampled: Sampled
) -> SampledTrace:
    row = graded(asked, seed, sampled)
    return SampledTrace(
        question_id=asked.question.id,
        sample=asked.sample,
        seed=seed,
        thought=sampled.thought,
        completion=sampled.completion,
        text=sampled.text,
        thought_tokens=sampled.thought_tokens,
        tokens=sampled.tokens,
        correct=row.correct,
        truncated=sampled.truncated,
        well_formed=sampled.well_formed,
    )


def _replay(direct: list[ResultRow], questions: set[str], wanted: int) -> tuple[ReplayRow, ...]:
    """Take one whole direct answer per question that has a trace, right or wrong: it is the champion's own."""
    first: dict[str, ReplayRow] = {}
    for row in direct:
        whole = not row.truncated and bool((row.completion or "").strip())
        if whole and row.question_id in questions and row.question_id not in first:
            first[row.question_id] = ReplayRow(question_id=row.question_id, completion=row.completion or "")
    return tuple(first.values())[:wanted]


def _solve_rates(thoughts: list[SampledTrace]) -> tuple[float, ...]:
    by_question: dict[str, list[bool]] = {}
    for row in thoughts:
        by_question.setdefault(row.question_id, []).append(row.correct)
    return tuple(sum(correct) / len(correct) for correct in by_question.values())


STAGE = Stage("collect-traces", collect_traces, inputs=("extended", "questions"), outputs=("traces",))
