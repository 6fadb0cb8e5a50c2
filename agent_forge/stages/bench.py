"""Opening a model to put questions to it: its prompts, the rules of its rows, and the engine that samples them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import ConfigError
from agent_forge.models.choosing import Decoding
from agent_forge.models.device import resolve_device
from agent_forge.models.engine_fit import open_sampler
from agent_forge.models.load import LoadedModel, load_champion
from agent_forge.models.prompting import Prompting
from agent_forge.models.sample import TransformersSampler
from agent_forge.models.vocabulary import ending_ids
from agent_forge.records import Exemplar
from agent_forge.stages.context import StageContext
from agent_forge.storage.question_files import read_exemplars
from agent_forge.thoughts import ThoughtRules

M = TypeVar("M")


@dataclass(frozen=True)
class Bench:
    """A loaded model with everything needed to put questions to it."""

    loaded: LoadedModel
    prompting: Prompting
    rules: ThoughtRules
    sampler: TransformersSampler


def open_bench(context: StageContext, model: Path, temperature: float | None = None) -> Bench:
    """Open a model and prepare a sampler for it.

    Args:
        context: of the running stage.
        model: directory of an extended or baked model.
        temperature: instead of the configured one.
    """
    exemplars = read_exemplars(context.input("questions"))
    if context.config.engine == "vllm":
        return _vllm_bench(context, model, exemplars, temperature)
    return bench_of(context, open_model(context, model), exemplars, temperature)


def bench_of(
    context: StageContext, loaded: LoadedModel, exemplars: Sequence[Exemplar], temperature: float | None = None
) -> Bench:
    """Prepare a sampler for a model in memory; see `open_bench`.

    Raises:
        ConfigError: when the engine is one that takes models from disk only.
    """
    config = context.config
    if config.engine == "vllm":
        raise ConfigError("engine vllm samples from models on disk, and this one is in memory; use engine sharing")
    prompting, rules, decoding = _asking(config, loaded, exemplars, temperature)
    fitted = (loaded.model, prompting, rules, decoding, loaded.context_length)
    found = computed_by(loaded)
    if config.engine == "reference":
        sampler, warning = TransformersSampler(*fitted), None
    else:
        sampler, warning = open_sampler(*fitted)
    if warning is not None:
        context.warn(warning)
    if sampler.shares:
        # Compared, on this very model, with the attention that stands here.
        found["attention"] = f"the engine's own, checked against {loaded.attention}"
    context.computed_by.update(found, engine=sampler.name)
    return Bench(loaded, prompting, rules, sampler)


def open_model(context: StageContext, model: Path) -> LoadedModel:
    """Load a model, or take it from the run's shelf."""
    config = context.config
    return _shelved(
        context,
        str(model.resolve()),
        lambda: load_champion(str(model), config.device, config.dtype, config.attention),
    )


def computed_by(loaded: LoadedModel) -> dict[str, str]:
    """Return what a model runs on."""
    dtype = str(loaded.dtype).removeprefix("torch.")
    return {"device": str(loaded.model.device), "arithmetic": dtype, "attention": loaded.attention}


def require_room(config: QuietSTaRConfig, context_length: int | None) -> None:
    """Refuse a thought and an answer that leave no room for a prompt.

    Raises:
        ConfigError: naming the two lengths and the model's context, all in tokens.
    """
    if context_length is not None and config.max_thought_length + config.max_answer_tokens >= context_length:
        raise ConfigError(
            f"max_thought_length {config.max_thought_length} and max_answer_tokens {config.max_answer_tokens} "
            f"do not fit in the model's context of {context_length} tokens; lower them"
        )


def _vllm_bench(context: StageContext, path: Path, exemplars: Sequence[Exemplar], temperature: float | None) -> Bench:
    from agent_forge.models.vllm_engine import VllmModel, VllmSampler

    config = context.config
    model = _shelved(context, f"vllm {path.resolve()}", lambda: VllmModel(path, config.device, config.dtype))
    prompting, rules, decoding = _asking(config, model.loaded, exemplars, temperature)
    # The model itself lives in vLLM, which chooses its attention.
    found = {"device": str(resolve_device(config.device)), "attention": "vLLM's choice", "engine": "vllm"}
    context.computed_by.update(computed_by(model.loaded) | found)
    return Bench(model.loaded, prompting, rules, VllmSampler(model, prompting, rules, decoding))


def _asking(
    config: QuietSTaRConfig, loaded: LoadedModel, exemplars: Sequence[Exemplar], temperature: float | None
) -> tuple[Prompting, ThoughtRules, Decoding]:
    prompting = Prompting.of(config, loaded.tokenizer, exemplars)
    decoding = Decoding(config.temperature if temperature is None else temperature, config.top_p, config.top_k)
    return prompting, _rules(config, prompting, loaded), decoding


def _shelved(context: StageContext, key: str, load: Callable[[], M]) -> M:
    """Return what is on the run's shelf under a key; there is room for one model."""
    if key not in context.models:
        context.models.clear()
        context.models[key] = load()
    loaded: M = context.models[key]
    return loaded


def _rules(config: QuietSTaRConfig, prompting: Prompting, loaded: LoadedModel) -> ThoughtRules:
    start, end = prompting.thought_token_ids
    require_room(config, loaded.context_length)
    return ThoughtRules(
        start_id=start,
        end_id=end,
        eos_ids=ending_ids(loaded.model) | prompting.stop_ids | {int(loaded.tokenizer.eos_token_id)},
        max_thought_length=config.max_thought_length,
        max_answer_tokens=config.max_answer_tokens,
        max_thoughts=1 if config.thought_placement == "start" else config.max_thoughts,
        placement=config.thought_placement,
        probability=config.thought_probability,
        answer_stops=prompting.answer_stops,
        thought_stops=prompting.thought_stops,
    )
