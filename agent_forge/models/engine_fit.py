"""Which engine samples from a model: the sharing one wherever it is shown to compute what the model computes.

The sharing engine replaces a model's attention. Rather than trust a list of architectures, a few passes of it are
compared with the model as it stands, on the model at hand; where that fails, the reference samples and says why.
"""

import inspect
from typing import Any

import torch

from agent_forge.models.choosing import Decoding
from agent_forge.models.engine import SharingSampler
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import TransformersSampler
from agent_forge.models.slots import Pass, SlotCache, feed, running
from agent_forge.models.steps import UNRECORDED, Record, Steps, graphs_for
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
    why = None if record is None else _differs(model, record)
    if why is not None:
        return SharingSampler(*given), f"passes are launched by Python, slower, and not as CUDA graphs: {why}"
    return SharingSampler(*given, record), None


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


def _differs(model: Any, record: Record | None = None) -> str | None:
    """Compare passes over a shared head and rows of several lengths with the model run row by row."""
    # One that is recorded, and one that is the recording.
    steps = _STEPS if record is None else _STEPS + UNRECORDED
    generator = torch.Generator().manual_seed(0)
    width = model.get_input_embeddings().weight.shape[0]
    rows = [torch.randint(width, (_HEAD + tail + steps,), generator=generator).tolist() for tail in _TAILS]
    rows = [rows[0][:_HEAD] + row[_HEAD:] for row in rows]
    try:
        found_BV = _by_passes(model, rows, steps, record)
    # Whatever a model's own code makes of another attention: it is not used.
    except Exception as error:
        return f"{type(model).__name__} fails with it ({type(error).__name__}: {error})".splitlines()[0]
    expected_BV = _row_by_row(model, rows)
    spread = (expected_BV - expected_BV.mean(dim=-1, keepdim=True)).abs().amax()
    apart = ((found_BV - expected_BV).abs().amax() / spread).item()
    allowed = TOLERANCE.get(model.dtype, HALF_TOLERANCE)
    return None if apart <= allowed else f"its logits differ by {apart:.1%} from those of {type(model).__name__}"


@torch.inference_mode()
def _by_passes(model: Any, rows: list[list[int]], steps: int, record: Record | None) -> torch.Tensor:
    cache = SlotCache()
    cached = list(_TAILS)
    with running(model, cache):
        feed(model, cache, Pass(0, [0], [_HEAD]), rows[0][:_HEAD])
        cache.take_head(_HEAD)
        tails = [token for row, tail in zip(rows, _TAILS, strict=True) for token in row[_HEAD : _HEAD + tail]]
        feed(model, cache, Pass(_HEAD, [0] * len(rows), _TAILS), tails)
        recorded = None if record is None else Steps(model, cache, record)
        for _ in range(steps):
            tokens = [row[_HEAD + had] for row, had in zip(rows, cached, strict=True)]
            if recorded is not None:
                logits_BV = recorded.feed(cached, tokens)
            else:
                logits_BV = feed(model, cache, Pass(_HEAD, cached, [1] * len(rows)), tokens)
            cached = [had + 1 for had in cached]
    return logits_BV


@torch.inference_mode()
def _row_by_row(model: Any, rows: list[list[int]]) -> torch.Tensor:
    # Without a cache, and so without anything that the engine relies on.
    alone = [model(input_ids=torch.tensor([row], device=model.device), use_cache=False) for row in rows]
    return torch.stack([output.logits[0, -1].float() for output in alone])
