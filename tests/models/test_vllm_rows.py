"""What stands between vLLM and a row: whatever vLLM does with places and batches, rows become the reference's.

vLLM itself is not here; `Fickle` does what its interface allows, and more of it. `test_vllm_engine.py` is the real one.
"""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import SHARED
from tiny_sampling import CONTEXT, END_ID, GREEDY, RANDOM, extended, prompting, request, rules, sampler, scripts

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import ConfigError, EngineError, QuestionError
from agent_forge.models import vllm_engine
from agent_forge.models.choosing import Decoding
from agent_forge.models.sample import plan_batches
from agent_forge.models.vllm_engine import VllmSampler, require_vllm
from agent_forge.models.vllm_rows import Places
from agent_forge.quietstar_baker import QuietSTaRBaker

BUNDLED = "agent_forge/demo/champion"


class Fickle:
    """Decodes rows as vLLM may: few at a time, moved about, put aside, and some of its tokens thrown away again.

    Args:
        whims: numbers that decide what happens next.
        few: places.
    """

    def __init__(self, whims, few):
        self.loaded = SimpleNamespace(model=extended().model, context_length=CONTEXT)
        self.whims = iter(whims)
        self.few = few

    def decode(self, rows):
        places, lists = Places(), [[] for _ in rows]
        waiting, running = list(range(len(rows))), []
        while waiting or running:
            waiting, running = self.rearrange(places, rows, lists, waiting, running)
            logits_BV = torch.stack([self.logits(rows[k], lists[k]) for k in running])
            places.choose(logits_BV)
            # The last pass of the batch is thrown away now and then, as that over a part of a prompt.
            if next(self.whims, 1) % 4 == 0:
                continue
            for k, token in zip(list(running), logits_BV.argmax(dim=-1).tolist(), strict=True):
                lists[k].append(token)
            over = [k for k in running if lists[k][-1] == rows[k][2].stop_id]
            for k in over:
                assert rows[k][2].state.done and rows[k][2].fed == lists[k] and len(lists[k]) <= rows[k][1]
            places.update([running.index(k) for k in over], [], [])
            left = [k for k in running if k not in over]
            places.update([], [], [(running.index(k), new, False) for new, k in enumerate(left) if running[new] != k])
            running = left

    def rearrange(self, places, rows, lists, waiting, running):
        """Put the first aside, exchange first and last, and let others in, as whim has it."""
        if len(running) > 1 and next(self.whims, 1) % 3 == 0:
            aside, last = running[0], running.pop()
            places.update([0], [], [(len(running), 0, False)])
            running[0] = last
            waiting = [*waiting, aside]
        if len(running) > 1 and next(self.whims, 1) % 2 == 0:
            places.update([], [], [(0, len(running) - 1, True)])
            running[0], running[-1] = running[-1], running[0]
        entering, waiting = waiting[: self.few - len(running)], waiting[self.few - len(running) :]
        places.update([], [(len(running) + n, rows[k][2], lists[k]) for n, k in enumerate(entering)], [])
        return waiting, [*running, *entering]

    @torch.inference_mode()
    def logits(self, row, tokens):
        return self.loaded.model(torch.tensor([[*row[0], *tokens]]), use_cache=False).logits[0, -1].float()


def through(whims=(), few=4, decoding: Decoding = GREEDY, **changes) -> VllmSampler:
    return VllmSampler(Fickle(whims, few), prompting(), rules(**changes), decoding)


DECODINGS = (GREEDY, RANDOM, Decoding(0.8, top_p=0.9, top_k=20))
SENTENCES = {"placement": "sentence", "max_thoughts": 2, "probability": 0.5, "eos_ids": frozenset(range(0, 300, 10))}


@settings(max_examples=12, deadline=None)
@given(
    chosen=st.lists(st.integers(0, len(SHARED) - 1), min_size=1, max_size=6, unique=True),
    whims=st.lists(st.integers(0, 11), max_size=60),
    few=st.integers(1, 4),
    decoding=st.sampled_from(DECODINGS),
    changes=st.sampled_from([{}, SENTENCES]),
)
def test_whatever_becomes_of_places_rows_are_the_references(chosen, whims, few, decoding, changes):
    rows = [SHARED[k] for k in chosen]
    assert through(whims, few, decoding, **changes).sample(rows, 2) == sampler(decoding=decoding, **changes).sample(
        rows, len(rows)
    )


def test_stretches_come_in_the_order_of_the_plan_and_what_cannot_fit_is_refused():
    rows = [request(scripts()["direct"], SHARED[k].prompt_ids, k) for k in range(9)]
    found = list(through().batches(rows, 1))
    order = [k for batch in plan_batches(rows, 1) for k in batch]
    assert [len(stretch) for stretch in found] == [8, 1]
    assert [row for stretch in found for row in stretch] == sampler().sample([rows[k] for k in order], 9)
    with pytest.raises(QuestionError):
        through().sample([request(scripts()["direct"], SHARED[0].prompt_ids * 20)], 1)


def test_tokens_that_were_never_fed_are_an_error():
    row = through()._row(request(scripts()["direct"]))
    places = Places()
    places.update([], [(0, row, [1, 2])], [])
    with pytest.raises(EngineError, match="2 tokens of a row that was fed 0"):
        places.choose(torch.zeros(1, 300))


@pytest.mark.parametrize(("finished", "fed"), [("length", [5]), ("stop", [5, 6])])
def test_a_row_that_vllm_ends_early_or_otherwise_is_not_used(monkeypatch, finished, fed):
    row = through()._row(request(scripts()["direct"]))
    row.advance(5)
    output = SimpleNamespace(token_ids=fed, finish_reason=finished)
    model = vllm_engine.VllmModel.__new__(vllm_engine.VllmModel)
    model._llm = SimpleNamespace(
        generate=lambda *_, **__: [SimpleNamespace(outputs=[output])], reset_prefix_cache=lambda: None
    )
    monkeypatch.setitem(__import__("sys").modules, "vllm", SimpleNamespace(SamplingParams=lambda **_: None))
    with pytest.raises(EngineError, match=f"ended a row after {len(fed)} tokens \\({finished}\\)"):
        model.decode([((1,), 3, row)])
    assert not vllm_engine.RUNNING and END_ID not in row.fed


def test_without_vllm_a_run_is_refused_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(vllm_engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'agent-forge\[vllm\]'"):
        require_vllm()
    config = QuietSTaRConfig(model_path=BUNDLED, output_path=str(tmp_path / "out"), engine="vllm")
    with pytest.raises(ConfigError, match="engine is vllm but vllm is not installed"):
        QuietSTaRBaker(config).run()
    assert not (tmp_path / "out").exists()
