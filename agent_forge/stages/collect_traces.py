"""collect-traces: samples with and without a thought on one shard of the bake questions, filtered into traces.

The samples without a thought serve twice: they tell which questions need no thought, and some of them are replayed in
the bake so that the model keeps answering as it did when it is made to answer directly.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np

from agent_forge.models.sample import Sampled
from agent_forge.records import Arm, Question, ReplayRow, ResultRow, Trace, TraceReport, json_line
from agent_forge.stages.bench import Bench, open_bench
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.rows import Asked, OneByOne, SampledRows, grading, prompt_lengths, require_graders, sample_rows
from agent_forge.storage.files import write_atomic, write_parts_atomic
from agent_forge.storage.question_files import read_split, shard
from agent_forge.storage.trace_files import REPLAY, REPORT, TRACES
from agent_forge.thoughts import Script, direct_script, elicited_script
from agent_forge.traces import Candidate, Rejection, choose_traces, in_order

T = TypeVar("T")


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
    direct, thoughts = _sample(context, bench, questions)
    found = _Found(config.traces_per_question, direct, thoughts, config.trace_samples)
    place = context.outputs["traces"]
    write_parts_atomic(place / TRACES, map(json_line, found.traces()))
    wanted = round(config.replay_fraction * len(found.thought_lengths))
    write_parts_atomic(place / REPLAY, map(json_line, found.replay(wanted)))
    report = TraceReport(
        questions=len(questions),
        samples=len(thoughts),
        kept=len(found.thought_lengths),
        questions_kept=sum(found.with_trace),
        replay=found.replayed,
        rejected=dict(in_order(found.rejected)),
        thought_lengths=tuple(found.thought_lengths),
        solve_rates=tuple(found.solve_rates),
    )
    write_atomic(place / REPORT, report.model_dump_json(indent=2) + "\n")
    return StageOutcome(cost=meter.cost(found.tokens, len(questions)), metrics={"traces": float(report.kept)})


def _sample(
    context: StageContext, bench: Bench, questions: Sequence[Question]
) -> tuple[SampledRows[ResultRow], SampledRows[SampledTrace]]:
    """Return the samples without and with a thought, those of each question in a row."""
    prompting, samples = bench.prompting, context.config.trace_samples
    lengths = np.repeat(prompt_lengths(bench, questions), samples)
    graded = grading(context)

    def rows(arm: Arm, script: Script) -> OneByOne:
        def asked(number: int) -> Asked:
            return Asked(questions[number // samples], 0, arm, script, sample=number % samples)

        return OneByOne(len(questions) * samples, asked)

    direct = rows("baseline", direct_script(prompting.cue_ids))
    thought = rows("thought", elicited_script(bench.rules, prompting.elicit_ids, prompting.cue_ids))
    trace = partial(_sampled_trace, graded)
    return (
        sample_rows(context, bench, direct, context.scratch / "direct.jsonl", ResultRow, graded, lengths),
        sample_rows(context, bench, thought, context.scratch / "thought.jsonl", SampledTrace, trace, lengths),
    )


@dataclass
class _Found:
    """What the samples of one question after another come to; memory holds a few numbers for each question.

    Attributes:
        most: traces per question.
        direct: samples without a thought, those of each question in a row.
        thoughts: the same with one.
        samples: of each question.
    """

    most: int
    direct: Iterable[ResultRow]
    thoughts: Iterable[SampledTrace]
    samples: int
    rejected: Counter[Rejection] = field(default_factory=Counter)
    with_trace: bytearray = field(default_factory=bytearray)
    thought_lengths: "array[int]" = field(default_factory=lambda: array("i"))
    solve_rates: "array[float]" = field(default_factory=lambda: array("d"))
    tokens: int = 0
    replayed: int = 0

    def traces(self) -> Iterator[Trace]:
        """Yield the traces that are kept."""
        for direct, thoughts in zip(self._grouped(self.direct), self._grouped(self.thoughts), strict=True):
            self.tokens += sum(row.tokens for row in direct) + sum(row.tokens for row in thoughts)
            self.solve_rates.append(sum(row.correct for row in thoughts) / len(thoughts))
            solved = all(row.correct for row in direct)
            kept = choose_traces([row.candidate() for row in thoughts], solved, self.most, self.rejected)
            self.with_trace.append(bool(kept))
            self.thought_lengths.extend(trace.thought_tokens for trace in kept)
            yield from kept

    def replay(self, most: int) -> Iterator[ReplayRow]:
        """Yield one whole direct answer per question that has a trace, right or wrong: it is the champion's own."""
        for has_trace, rows in zip(self.with_trace, self._grouped(self.direct), strict=True):
            if self.replayed == most:
                return
            whole = (row.completion for row in rows if not row.truncated and row.completion and row.completion.strip())
            if has_trace and (completion := next(whole, None)):
                self.replayed += 1
                yield ReplayRow(question_id=rows[0].question_id, completion=completion)

    def _grouped(self, rows: Iterable[T]) -> Iterator[tuple[T, ...]]:
        left = iter(rows)
        return iter(lambda: tuple(islice(left, self.samples)), ())


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


STAGE = Stage("collect-traces", collect_traces, inputs=("extended", "questions"), outputs=("traces",))
