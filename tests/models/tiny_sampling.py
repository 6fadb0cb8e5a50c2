"""A tiny extended model that can be made to say what a test wants, and requests to put to it.

with steered(extended().model, [*ids("7"), EOS_ID]) as fed:
    (row,) = sampler().sample([request(direct_script(CUE_IDS))], 1)
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from tiny_extended import END, START, in_memory

from agent_forge.config import QuietSTaRConfig
from agent_forge.models.choosing import Decoding
from agent_forge.models.extend import Extended, extend
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import Request, TransformersSampler
from agent_forge.thoughts import (
    Script,
    ThoughtRules,
    direct_script,
    elicited_script,
    free_script,
    pause_script,
    swapped_script,
)

CONTEXT = 96
ELICIT = "Think:"
GREEDY, RANDOM = Decoding(0.0), Decoding(1.0)


def extended(kind: str = "llama") -> Extended:
    """Return a tiny extended model; it is shared, so put back what you change."""
    return _extended(kind)


@cache
def _extended(kind: str) -> Extended:
    return extend(in_memory(kind, context=CONTEXT), START, END)


@cache
def prompting() -> Prompting:
    """Return how questions are put to it: no chat template, `Answer:` as the cue."""
    config = QuietSTaRConfig(model_path="m", output_path="o", thought_prompt=ELICIT)
    return Prompting.of(config, extended().tokenizer)


def ids(text: str) -> tuple[int, ...]:
    """Encode a text."""
    return prompting().encode(text)


START_ID, END_ID = extended().ids
EOS_ID = extended().tokenizer.eos_token_id
CUE_IDS, ELICIT_IDS, PROMPT_IDS = prompting().cue_ids, prompting().elicit_ids, ids("what is 3 + 4?\n")


def rules(**changes: Any) -> ThoughtRules:
    """Return rules with short caps."""
    values = {"max_thought_length": 6, "max_answer_tokens": 8, "eos_ids": frozenset({EOS_ID})}
    return ThoughtRules(START_ID, END_ID, **(values | changes))


def scripts(**changes: Any) -> dict[str, Script]:
    """Return a script of every kind, by name."""
    return {
        "direct": direct_script(CUE_IDS),
        "elicited": elicited_script(rules(**changes), ELICIT_IDS, CUE_IDS),
        "pause": pause_script(rules(**changes), ids(".")[0], 5, CUE_IDS),
        "free": free_script(CUE_IDS),
        "swapped": swapped_script(rules(**changes), ids("3 + 4"), CUE_IDS),
    }


def request(script: Script, prompt_ids: Sequence[int] = PROMPT_IDS, seed: int = 0) -> Request:
    """Return one row to sample."""
    return Request(tuple(prompt_ids), script, seed)


def sampler(
    kind: str = "llama", decoding: Decoding = GREEDY, context: int | None = CONTEXT, **changes: Any
) -> TransformersSampler:
    """Return a sampler; `changes` go to `rules`."""
    return TransformersSampler(extended(kind).model, prompting(), rules(**changes), decoding, context)


@contextmanager
def hooked(module: Any, hook: Any) -> Iterator[None]:
    """Run `hook(input_ids, attention_mask, logits)` after every forward pass."""

    def adapt(_module: Any, _args: Any, given: dict[str, Any], output: Any) -> None:
        hook(given["input_ids"], given["attention_mask"], output.logits)

    handle = module.register_forward_hook(adapt, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def steered(model: Any, wishes: Sequence[int]) -> Iterator[list[int]]:
    """Make the model want `wishes[n]` after its n-th pass over a single row, the last one for ever.

    Yields:
        The tokens that the model was fed, prompt first; filled while it runs.
    """
    fed: list[int] = []
    passes = iter(range(10**6))

    def steer(input_ids: torch.Tensor, _mask: torch.Tensor, logits: torch.Tensor) -> None:
        fed.extend(input_ids[0].tolist())
        logits[0, -1, wishes[min(next(passes), len(wishes) - 1)]] += 1e4

    with hooked(model, steer):
        yield fed
