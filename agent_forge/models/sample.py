"""Sampling with transformers: left-padded batches, a KV cache, one thought state and one random stream per row.

A row's completion depends on its prompt, its script and its seed, not on the batch it happens to be in: positions
count from the row's first real token, padding is masked, and the n-th sampled token of a row is chosen by the n-th
number of the row's own stream. This is the simple path, the reference that faster engines are tested against.
"""

import inspect
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from agent_forge.errors import QuestionError
from agent_forge.models.choosing import Decoding, choose_tokens
from agent_forge.models.memory import give_back_memory, is_out_of_memory
from agent_forge.models.prompting import Prompting
from agent_forge.thoughts import RowState, Script, ThoughtRules


@dataclass(frozen=True)
class Request:
    """One row to sample: prompt ids, what it is made to do, and the seed of its random stream."""

    prompt_ids: tuple[int, ...]
    script: Script
    seed: int

    @property
    def length(self) -> int:
        """Tokens known in advance."""
        return len(self.prompt_ids) + len(self.script.prefix_ids)


@dataclass(frozen=True)
class Sampled:
    """What came of one row.

    Attributes:
        completion: the text outside of thoughts; the only part that is ever graded.
        thought: the thoughts' texts, joined by line breaks.
        text: thoughts between their tokens, cue and completion: what a bake trains on.
        tokens: sampled tokens, thoughts included.
        thought_tokens: tokens that stood inside thoughts, forced ones included.
        well_formed: every thought was closed by the model itself and has content.
    """

    completion: str
    thought: str
    text: str
    tokens: int
    thought_tokens: int
    truncated: bool
    well_formed: bool


class Sampler(Protocol):
    """Turns requests into samples, in the order of the requests.

    Attributes:
        shares: whether rows with the same prompt cost less when they are sampled together.
    """

    shares: bool

    def sample(self, requests: Sequence[Request], batch_size: int) -> list[Sampled]:
        """Sample every request; batches hold at most `batch_size` rows."""
        ...

    def batches(self, requests: Sequence[Request], batch_size: int) -> Iterator[list[Sampled]]:
        """Yield samples in the order of `plan_batches`, some rows at a time.

        Whoever has the first of these lists may ask for the other rows alone: they are computed by the same passes.
        """
        ...


def plan_batches(requests: Sequence[Request], batch_size: int) -> list[list[int]]:
    """Return the indices of each batch: rows with prompts of similar length together, longest first.

    Longest first, so that a batch that does not fit in memory shows at once. Of equal length in the order given, so
    that rows which were given side by side because they ask the same question stay so.
    """
    order = sorted(range(len(requests)), key=lambda row: (-len(requests[row].prompt_ids), row))
    return [order[first : first + batch_size] for first in range(0, len(order), batch_size)]


def rule_out(logits_BV: torch.Tensor, token: int, banned_B: Sequence[bool] | NDArray[np.bool_]) -> None:
    """Let a token not be chosen in the rows that ban it; changes the logits."""
    banned_B = np.asarray(banned_B)
    if banned_B.all():
        logits_BV[:, token] = -torch.inf
    elif banned_B.any():
        logits_BV[torch.from_numpy(banned_B).to(logits_BV.device), token] = -torch.inf


class TransformersSampler:
    """The reference engine: one forward pass per token for a whole batch.

    Args:
        model: causal language model, in eval mode.
        prompting: of the same model's tokenizer.
        rules: what holds for every row.
        decoding: how tokens are chosen.
        context_length: most tokens the model takes, None when unlimited.
    """

    # A batch waits for its longest row, so rows of the same kind had better stay among themselves.
    shares = False

    def __init__(
        self,
        model: Any,
        prompting: Prompting,
        rules: ThoughtRules,
        decoding: Decoding,
        context_length: int | None = None,
    ) -> None:
        self._model = model
        self._prompting = prompting
        self._rules = rules
        self._decoding = decoding
        self._context_length = context_length
        self._piece = lru_cache(maxsize=None)(prompting.piece)
        self.name = "reference"
        self._accepts = frozenset(inspect.signature(model.forward).parameters)
        self.backed_off_to: int | None = None

    def sample(self, requests: Sequence[Request], batch_size: int) -> list[Sampled]:
        """Sample every request, in the order given.

        Raises:
            QuestionError: when a row cannot fit in the model's context.
        """
        order = [row for batch in plan_batches(requests, batch_size) for row in batch]
        samples = [sampled for batch in self.batches(requests, batch_size) for sampled in batch]
        found = dict(zip(order, samples, strict=True))
        return [found[row] for row in range(len(requests))]

    def batches(self, requests: Sequence[Request], batch_size: int) -> Iterator[list[Sampled]]:
        """Yield the samples of each of `plan_batches`, in its order.

        Raises:
            QuestionError: when a row cannot fit in the model's context.
        """
        self.check_fits(requests)
        for batch in plan_batches(requests, batch_size):
            yield self._sample_within_memory([requests[row] for row in batch])

    def check_fits(self, requests: Sequence[Request]) -> None:
        """Refuse rows whose prompt, thoughts and answer together exceed the context."""
        if self._context_length is None:
            return
        for request in requests:
            need = self.room_for(request)
            if need > self._context_length:
                raise QuestionError(
                    f"a row needs up to {need} tokens (prompt {len(request.prompt_ids)}) but the model takes "
                    f"{self._context_length}; lower max_thought_length or max_answer_tokens, or drop long questions"
                )

    def room_for(self, request: Request) -> int:
        """Return the most tokens that a row can come to, prompt, thoughts and answer together."""
        return request.length + self._most_steps(request.script)

    def _most_steps(self, script: Script) -> int:
        rules = self._rules
        thoughts = rules.max_thoughts if script.free or script.thinking else 0
        per_thought = rules.max_thought_length + len(script.elicit_ids) + 2
        answer = rules.max_answer_tokens + script.extra_answer_tokens + len(script.close_ids)
        return thoughts * per_thought + answer

    def _sample_within_memory(self, requests: list[Request]) -> list[Sampled]:
        """Sample one batch, halving it for as long as the device runs out of memory."""
        try:
            return self._sample_batch(requests)
        except (MemoryError, RuntimeError) as error:
            if len(requests) == 1 or not is_out_of_memory(error):
                raise
        # Outside of the handler, which would keep the tensors of the failed batch alive.
        give_back_memory()
        half = (len(requests) + 1) // 2
        self.backed_off_to = min(half, self.backed_off_to or half)
        return self._sample_within_memory(requests[:half]) + self._sample_within_memory(requests[half:])

    @torch.inference_mode()
    def _sample_batch(self, requests: list[Request]) -> list[Sampled]:
        rows = [self._state(request) for request in requests]
        uniforms_BN = self._uniforms(requests)
        logits_BV = self._steps(requests)
        fed: list[int] | None = None
        while not all(row.done for row in rows):
            logits = logits_BV.send(fed) if fed is not None else next(logits_BV)
            numbers_B = torch.tensor(
                [
                    stream[min(row.sampled_tokens, len(stream) - 1)]
                    for row, stream in zip(rows, uniforms_BN, strict=True)
                ]
            )
            self._ban(logits, rows)
            proposed = choose_tokens(logits, numbers_B.to(logits.device), self._decoding).tolist()
            fed = [self._feed(row, token) for row, token in zip(rows, proposed, strict=True)]
        logits_BV.close()
        return [self._outcome(row) for row in rows]

    def _feed(self, row: RowState, proposed: int) -> int:
        token = row.advance(proposed)
        return self._padding_id if token is None else token

    @property
    def _padding_id(self) -> int:
        tokenizer = self._prompting.tokenizer
        return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)

    def _state(self, request: Request) -> RowState:
        return RowState(
            rules=self._rules,
            script=request.script,
            decode=self._prompting.decode,
            piece=self._piece,
            uniforms=np.random.default_rng([request.seed, 1]) if self._rules.placement == "sentence" else None,
        )

    def _uniforms(self, requests: list[Request]) -> list[np.ndarray]:
        return [
            np.random.default_rng([request.seed, 0]).random(self._most_steps(request.script) + 1)
            for request in requests
        ]

    def _ban(self, logits_BV: torch.Tensor, rows: list[RowState]) -> None:
        rule_out(logits_BV, self._rules.start_id, [row.bans_start for row in rows])
        rule_out(logits_BV, self._rules.end_id, [row.bans_end for row in rows])

    def _steps(self, requests: list[Request]) -> Generator[torch.Tensor, list[int], None]:
        """Yield the next-token logits (B, V; float32); send the tokens to feed, get the logits after them."""
        device = self._model.device
        ids_BT, mask_BT = self._left_padded(requests, device)
        # transformers 5.24 gave it its new name; models that bring code of their own keep the old one.
        called = "cache" if "cache" in self._accepts else "past_key_values"
        cache = None
        last = None if self._context_length is None else self._context_length - 1
        while True:
            # A finished row waits for the others: its positions must not run past those that the model has.
            positions_BT = (mask_BT.cumsum(dim=-1) - 1).clamp(min=0, max=last)[:, -ids_BT.shape[1] :]
            # Some architectures have no positions to give (ALiBi) or always return every position's logits.
            optional = {"position_ids": positions_BT, "logits_to_keep": 1, called: cache}
            output = self._model(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                use_cache=True,
                **{name: value for name, value in optional.items() if name in self._accepts},
            )
            cache = getattr(output, called)
            fed = yield output.logits[:, -1].float()
            ids_BT = torch.tensor(fed, device=device)[:, None]
            mask_BT = torch.cat([mask_BT, torch.ones_like(ids_BT)], dim=-1)

    def _left_padded(self, requests: list[Request], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(request.length for request in requests)
        ids = [[*request.prompt_ids, *request.script.prefix_ids] for request in requests]
        ids_BT = torch.tensor([[self._padding_id] * (longest - len(row)) + row for row in ids], device=device)
        mask_BT = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=device)
        return ids_BT, mask_BT

    def _outcome(self, row: RowState) -> Sampled:
        prompting = self._prompting
        answer = row.answer_text()
        return Sampled(
            completion=prompting.without_cue(answer) if row.script.extra_answer_tokens else answer,
            thought="\n".join(row.thought_texts()),
            text=row.transcript(prompting.start_token, prompting.end_token, "" if row.script.free else prompting.cue),
            tokens=row.sampled_tokens,
            thought_tokens=row.thought_tokens,
            truncated=row.truncated,
            well_formed=row.well_formed,
        )
