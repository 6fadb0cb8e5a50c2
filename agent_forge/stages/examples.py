"""From traces and replayed answers to training examples: ids, and which of them the loss counts."""

import hashlib
from collections.abc import Iterable, Sequence

from agent_forge.models.packing import TrainingExample
from agent_forge.models.prompting import Prompting
from agent_forge.records import Question, ReplayRow, Trace


def trace_example(prompting: Prompting, question: Question, trace: Trace) -> TrainingExample:
    """Prompt, then thoughts, cue, completion and end of sequence; the prompt is masked."""
    prompt = prompting.prompt_ids(question)
    target = (*prompting.encode(trace.text), prompting.tokenizer.eos_token_id)
    return TrainingExample((*prompt, *target), (False,) * len(prompt) + (True,) * len(target), "trace")


def replay_example(prompting: Prompting, question: Question, row: ReplayRow) -> TrainingExample | None:
    """Prompt and cue, then the champion's own answer; None when there is nothing in it to learn.

    Without a cue the answer's first token is masked as well: whether to think or to answer is for the traces to teach.
    """
    given = (*prompting.prompt_ids(question), *prompting.cue_ids)
    target = (*prompting.encode(row.completion), prompting.tokenizer.eos_token_id)
    counted = (bool(prompting.cue_ids),) + (True,) * (len(target) - 1)
    if not any(counted):
        return None
    return TrainingExample((*given, *target), (False,) * len(given) + counted, "replay")


def that_fit(examples: Iterable[TrainingExample], row_length: int) -> list[TrainingExample]:
    """Return the examples that a packed row of `row_length` tokens can hold, in order."""
    return [example for example in examples if len(example.input_ids) <= row_length]


def split_heldout(question_ids: Iterable[str], fraction: float) -> frozenset[str]:
    """Choose the questions whose traces are held out: by hash, at least one and never all."""
    ordered: Sequence[str] = sorted(set(question_ids), key=lambda q: hashlib.sha256(f"heldout/{q}".encode()).digest())
    count = min(max(1, round(fraction * len(ordered))), len(ordered) - 1)
    return frozenset(ordered[:count])
