"""Which engine samples from a model: the sharing one wherever it is shown to compute what the model computes.

The sharing engine replaces a model's attention. Rather than trust a list of architectures, a few passes of it are
compared with the model as it stands, on the model at hand; where that fails, the reference samples and says why.
"""

import inspect
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agent_forge.models.choosing import Decoding
from agent_forge.models.engine import SharingSampler
from agent_forge.models.passes import Pass
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import TransformersSampler
from agent_forge.models.slots import SlotCache, feed, running
from agent_forge.models.steps import CHOSEN, Ahead, Choice, Record, Steps, graphs_for
from agent_forge.thoughts import ThoughtRules

# Largest difference of logits, as a share of their spread: rounding is far below, another attention far above.
TOLERANCE = {torch.float32: 1e-3}
HALF_TOLERANCE = 5e-2
_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
# Rotations that change with the length of the longest row of a pass.
_LENGTH_ROTATIONS = frozenset({"dynamic", "longrope"})
_HEAD, _TAILS, _STEPS = 9, (5, 1, 3), 2


def open_sampler(
    model: Any, prompting: Prompting, rules: ThoughtRules, decoding: Decoding, context_length: int | None
) -> tuple[TransformersSampler, str | None]:
    """Return the fastest engine that fits a model, and a warning where that is not the fastest there is."""
    given = (model, prompting, rules, decoding, context_length)
    if (why := fault(model)) is not None:
        return TransformersSampler(*given), f"rows are sampled by the slower reference engine: {why}"
    record = graphs_for(model)
    engine = SharingSampler(*given, record)
    if record is not None and (why := _differs(model, (record, engine.choice))) is not None:
        return SharingSampler(*given), f"passes are launched by Python, slower, and not as CUDA graphs: {why}"
    return engine, None


def fault(model: Any) -> str | None:
    """Return why the sharing engine cannot be used for a model, None when it can."""
    name = type(model).__name__
    if not {"position_ids", "use_cache"} <= inspect.signature(model.forward).parameters.keys():
        return f"{name} takes no positions"
    if not model._can_set_attn_implementation():
        return f"{name} does not let its attention be replaced"
    config = model.config.get_text_config()
    if others := set(getattr(config, "layer_types", None) or ()) - _LAYER_TYPES:
        return f"{name} has layers of type {', '.join(sorted(others))}"
    if _values(getattr(config, "rope_parameters", None)) & _LENGTH_ROTATIONS:
        return f"{name} rotates positions by the length of the longest row"
    return _differs(model)


def _values(found: Any) -> set[str]:
    if isinstance(found, dict):
        return set().union(*map(_values, found.values()))
    return {found} if isinstance(found, str) else set()


def _differs(model: Any, recorded: tuple[Record, Choice] | None = None) -> str | None:
    """Compare passes over a shared head and rows of several lengths with the model run row by row."""
    # Where passes are recorded, one is made when they are and the others repeat it.
    steps = _STEPS if recorded is None else 2 * _STEPS
    generator = torch.Generator().manual_seed(0)
    width = model.get_input_embeddings().weight.shape[0]
    rows = [torch.randint(width, (_HEAD + tail + steps,), generator=generator).tolist() for tail in _TAILS]
    rows = [rows[0][:_HEAD] + row[_HEAD:] for row in rows]
    try:
        found_BV = _by_passes(model, rows, recorded)
    # Whatever a model's own code makes of another attention: it is not used.
    except Exception as error:
        return f"{type(model).__name__} fails with it ({type(error).__name__}: {error})".splitlines()[0]
    expected_BV = _row_by_row(model, rows)
    spread = (expected_BV - expected_BV.mean(dim=-1, keepdim=True)).abs().amax()
    apart = ((found_BV - expected_BV).abs().amax() / spread).item()
    allowed = TOLERANCE.get(model.dtype, HALF_TOLERANCE)
    return None if apart <= allowed else f"its logits differ by {apart:.1%} from those of {type(model).__name__}"


@torch.inference_mode()
def _by_passes(model: Any, rows: list[list[int]], recorded: tuple[Record, Choice] | None) -> torch.Tensor:
    cache = SlotCache()
    with running(model, cache):
        feed(model, cache, Pass(0, [0], [_HEAD]), rows[0][:_HEAD])
        cache.take_head(_HEAD)
        tails = [token for row, tail in zip(rows, _TAILS, strict=True) for token in row[_HEAD : _HEAD + tail]]
        feed(model, cache, Pass(_HEAD, [0] * len(rows), _TAILS, together=recorded is not None), tails)
        last_KR = np.array([row[_HEAD + tail :] for row, tail in zip(rows, _TAILS, strict=True)]).T
        if recorded is not None:
            return _by_recorded_passes(Steps(model, cache, *recorded), last_KR)
        for step, tokens in enumerate(last_KR):
            logits_BV = feed(model, cache, Pass(_HEAD, np.array(_TAILS) + step, [1] * len(rows)), tokens)
    return logits_BV


def _by_recorded_passes(steps: Steps, tokens_KR: NDArray[np.int64]) -> torch.Tensor:
    count = tokens_KR.shape[1]
    for first in range(0, len(tokens_KR), _STEPS):
        part_KR = tokens_KR[first : first + _STEPS]
        given_KR = np.concatenate([part_KR[1:], np.full((1, count), CHOSEN)])
        steps.make(
            Ahead(np.array(_TAILS) + first, part_KR[0], given_KR, np.zeros(part_KR.shape), np.zeros((2, count), bool))
        )
    return steps.logits[:count]


@torch.inference_mode()
def _row_by_row(model: Any, rows: list[list[int]]) -> torch.Tensor:
    # Without a cache, and so without anything that the engine relies on.
    alone = [model(input_ids=torch.tensor([row], device=model.device), use_cache=False) for row in rows]
    return torch.stack([output.logits[0, -1].float() for output in alone])
