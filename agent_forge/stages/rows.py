"""Sampling and grading rows in batches that survive a kill; what evaluate, collect and verify share."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from agent_forge.answers import grade, require_grader
from agent_forge.errors import QuestionError
from agent_forge.models.engine import STRETCH
from agent_forge.models.sample import Request, Sampled
from agent_forge.records import Arm, Question, ResultRow, TaskRole, Trace
from agent_forge.stages.bench import Bench
from agent_forge.stages.context import StageContext
from agent_forge.storage.batchlog import BatchLog
from agent_forge.thoughts import Script, direct_script, elicited_script, free_script

R = TypeVar("R", bound=BaseModel)
T = TypeVar("T", bound=ResultRow | Trace)


@dataclass(frozen=True)
class Asked:
    """One row to be sampled: which question, in which round and arm, and what the model is made to do."""

    question: Question
    round: int
    arm: Arm
    script: Script
    role: TaskRole = "target"
    sample: int = 0

    def seed(self, root: int) -> int:
        """Return the row's own seed, 48 bits: a function of what the row is, not of where it is computed."""
        text = f"{root}/{self.round}/{self.arm}/{self.question.id}/{self.sample}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


@dataclass(frozen=True)
class OneByOne(Sequence[Asked]):
    """Rows to be sampled, each made when it is asked for: `make` gets its number."""

    total: int
    make: Callable[[int], Asked]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.total

    def __getitem__(self, number: Any) -> Any:
        """Make a row."""
        if not 0 <= number < self.total:
            raise IndexError(number)
        return self.make(number)


@dataclass(frozen=True)
class SampledRows(Generic[R]):
    """Finished rows in the order asked. They stay on disk and are read anew whenever they are asked for."""

    log: BatchLog[R]
    places: NDArray[np.int32]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.places)

    def __getitem__(self, number: int) -> R:
        """Read the row that was asked for so-and-so-many rows after the first."""
        return next(self.log.rows(self.places[number : number + 1]))

    def every(self, step: int, first: int) -> "SampledRows[R]":
        """Return each `step`-th of the rows, from `first` on."""
        return SampledRows(self.log, self.places[first::step])

    def __iter__(self) -> Iterator[R]:
        """Yield every row."""
        return self.log.rows(self.places)

    def lines(self) -> Iterator[str]:
        """Yield every row as JSON, ended by a newline."""
        return self.log.lines(self.places)


@dataclass
class Spent:
    """The tokens of the rows that go by."""

    tokens: int = 0

    def counting(self, rows: Iterable[T]) -> Iterator[T]:
        """Pass rows on."""
        for row in rows:
            self.tokens += row.tokens
            yield row


def prompt_lengths(bench: Bench, questions: Iterable[Question]) -> NDArray[np.int32]:
    """Return how many tokens the prompt of each question has."""
    return np.fromiter((len(bench.prompting.prompt_ids(question)) for question in questions), np.int32)


def sample_rows(
    context: StageContext,
    bench: Bench,
    asked: Sequence[Asked],
    log: Path,
    kind: type[R],
    make: Callable[[Asked, int, Sampled], R],
    lengths: NDArray[np.int32] | None = None,
) -> SampledRows[R]:
    """Sample rows stretch after stretch, continuing where `log` ends; memory holds a few numbers for each row.

    Args:
        context: of the running stage.
        bench: the model and its sampler.
        asked: the rows; each is asked for when its turn comes.
        log: file that keeps finished batches.
        kind: type of the record that each row becomes.
        make: makes the record from the row, its seed and its sample.
        lengths: of the rows' prompts, where they are known.

    Returns:
        One record per row, in the order asked.
    """
    prompts = prompt_lengths(bench, (row.question for row in asked)) if lengths is None else lengths
    _refuse_long(bench, zip((row.question for row in asked), (row.script for row in asked), prompts, strict=True))
    # The order of rows is the same whatever the batch size, so a run may be continued with another one.
    order = _longest_first(prompts)
    done, size = BatchLog(log, kind), context.config.batch_size
    finished, tokens = len(done), 0
    context.progress.begin(log.stem, len(asked), finished)
    for stretch in _stretches(order[finished:], size * STRETCH):
        rows = [asked[k] for k in stretch]
        requests = [
            Request(bench.prompting.prompt_ids(a.question), a.script, a.seed(context.config.seed)) for a in rows
        ]
        left = iter(zip(rows, requests, strict=True))
        # Their order is that of `plan_batches` already.
        for samples in bench.sampler.batches(requests, size):
            taken = zip(islice(left, len(samples)), samples, strict=True)
            done.append([make(row, request.seed, sample) for (row, request), sample in taken])
            tokens += sum(sample.tokens for sample in samples)
            finished += len(samples)
            context.progress.advance(finished, tokens)
    if (least := bench.sampler.backed_off_to) is not None:
        context.warn(f"memory ran out with batch_size {size}: as few as {least} rows were sampled together")
    places = np.empty_like(order)
    places[order] = np.arange(len(order), dtype=order.dtype)
    return SampledRows(done, places)


def _longest_first(lengths: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the order of `plan_batches`: longest first, of equal length as asked."""
    return np.argsort(-lengths, kind="stable").astype(np.int32)


def _stretches(order: NDArray[np.int32], count: int) -> Iterator[list[int]]:
    for first in range(0, len(order), count):
        yield order[first : first + count].tolist()


def require_fit(bench: Bench, questions: Iterable[Question]) -> None:
    """Refuse questions that leave no room for a thought and an answer, in whatever way they will be asked.

    Raises:
        QuestionError: naming the longest, its length, the model's context and what to do.
    """
    prompting = bench.prompting
    scripts = (
        direct_script(prompting.cue_ids),
        elicited_script(bench.rules, prompting.elicit_ids, prompting.cue_ids),
        free_script(prompting.cue_ids),
    )
    longest = max(scripts, key=lambda script: bench.sampler.room_for(Request((), script, 0)))
    _refuse_long(bench, ((question, longest, len(prompting.prompt_ids(question))) for question in questions))


def _refuse_long(bench: Bench, asked: Iterable[tuple[Question, Script, int]]) -> None:
    """Refuse rows that do not fit in the context; they are given by question, script and length of the prompt."""
    limit = bench.loaded.context_length
    if limit is None:
        return
    worst: tuple[int, int, Question] | None = None
    count = 0
    for question, script, length in asked:
        need = bench.sampler.room_for(Request((), script, 0)) + int(length)
        if need > limit:
            count += 1
            if worst is None or (need, length) > worst[:2]:
                worst = need, int(length), question
    if worst is None:
        return
    need, length, question = worst
    exemplars = len(bench.prompting.opening(question.task).ids)
    within = f", {exemplars} of them exemplars" if exemplars else ""
    others = f" ({count - 1} more are too long)" if count > 1 else ""
    raise QuestionError(
        f"question {question.id} of task {question.task} has a prompt of {length} tokens{within}, and with thought and "
        f"answer comes to {need}, but the model takes {limit}{others}; lower max_thought_length, max_answer_tokens or "
        "few_shot, or leave long questions out"
    )


def require_graders(context: StageContext, questions: Iterable[Question]) -> None:
    """Refuse questions whose answers cannot be graded on this machine, before a model is loaded.

    Raises:
        InputError: naming what is missing.
    """
    for kind in sorted({question.kind for question in questions}):
        require_grader(kind, context.config.allow_code_execution)


def grading(context: StageContext) -> Callable[[Asked, int, Sampled], ResultRow]:
    """Return what grades a sample: see `result_row`."""
    return partial(result_row, allow_code_execution=context.config.allow_code_execution)


def result_row(asked: Asked, seed: int, sampled: Sampled, allow_code_execution: bool = False) -> ResultRow:
    """Grade one sample; an answer that was cut off is wrong whatever it says."""
    question = asked.question
    judged = grade(question.kind, sampled.completion, question.reference, question.prompt, allow_code_execution)
    return ResultRow.model_validate(
        {
            "question_id": question.id,
            "round": asked.round,
            "arm": asked.arm,
            "seed": seed,
            "correct": judged.correct and not sampled.truncated,
            "extracted": judged.extracted,
            "completion": sampled.completion,
            "tokens": sampled.tokens,
            "thought_tokens": sampled.thought_tokens,
            "truncated": sampled.truncated,
            "task": question.task,
            "role": asked.role,
            "thought": sampled.thought,
            "well_formed": sampled.well_formed,
        }
    )
