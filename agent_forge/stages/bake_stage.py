"""bake: fine-tune the extended model on the traces and save it merged."""

from dataclasses import replace

import torch
from transformers import PreTrainedModel

from agent_forge.errors import InputError
from agent_forge.models.adapters import HALF_PRECISION
from agent_forge.models.finetune import BakeSettings, ProgressEvent, TrainingExample, bake
from agent_forge.models.load import LoadedModel
from agent_forge.models.memory import give_back_memory
from agent_forge.models.prompting import Prompting
from agent_forge.models.ranks import Ranks, joined, torchrun_device
from agent_forge.models.save import save_model
from agent_forge.models.throughput import Stopwatch, Throughput, flops_per_token
from agent_forge.records import BakeReport, rows_text
from agent_forge.stages.bench import computed_by, open_model
from agent_forge.stages.context import Meter, Silent, Stage, StageContext, StageOutcome
from agent_forge.stages.examples import replay_example, split_heldout, that_fit, trace_example
from agent_forge.storage.files import path_digest, write_atomic
from agent_forge.storage.question_files import EXEMPLARS, read_exemplars, read_split
from agent_forge.storage.trace_files import TraceSet, read_traces, write_traces


def bake_stage(context: StageContext) -> StageOutcome:
    """Train, then write the baked model, the report of the training and the whole trace set.

    Where torchrun started several processes they train together, and the first writes.
    """
    device = torchrun_device(context.config.device)
    with joined(device) as ranks:
        own = replace(context, config=context.config.model_copy(update={"device": device}))
        outcome = _bake(own if ranks.first else replace(own, progress=Silent(), warnings=[]), ranks)
    # Verification runs in another process on the same device.
    give_back_memory()
    return outcome


def _bake(context: StageContext, ranks: Ranks) -> StageOutcome:
    meter = Meter()
    loaded = open_model(context, context.input("extended"))
    exemplars = read_exemplars(context.input("questions"))
    prompting = Prompting.of(context.config, loaded.tokenizer, exemplars)
    found = read_traces(context.inputs["traces"])
    train, heldout = _examples(context, loaded, prompting, found)
    settings = BakeSettings.of(context.config)
    begun = False
    # Of each process its share: utilisation is that of one device.
    stopwatch = Stopwatch(flops_per_token(loaded.model, settings.method, train) / ranks.count)

    def tell(event: ProgressEvent) -> None:
        nonlocal begun
        stopwatch.tick(event.tokens)
        if not begun:
            context.progress.begin("bake", event.planned_steps, event.step - 1)
            begun = True
        context.progress.advance(event.step, event.tokens)

    def reload() -> PreTrainedModel:
        nonlocal loaded
        context.models.clear()
        loaded = open_model(context, context.input("extended"))
        model: PreTrainedModel = loaded.model
        return model

    report = bake(
        loaded.model,
        train,
        heldout,
        settings,
        context.scratch / "checkpoints",
        tell,
        token_ids=prompting.thought_token_ids,
        key=path_digest(context.input("extended")),
        ranks=ranks,
        reload=reload if context.config.bake_sharded and ranks.count > 1 else None,
    )
    if not ranks.first:
        return StageOutcome(cost=meter.cost())
    half = loaded.model.dtype in HALF_PRECISION and loaded.model.device.type == "cuda"
    speed = stopwatch.read(loaded.model.device, torch.bfloat16 if half else torch.float32)
    # The model on the shelf is the baked one from here on: no later stage may take it for the extended one.
    context.models.clear()
    save_model(loaded, context.outputs["baked"])
    if exemplars:
        # Published with the model, which is meant for use behind them.
        write_atomic(context.outputs["baked"] / EXEMPLARS, rows_text(exemplars))
    write_traces(context.outputs["trace_set"], found)
    write_atomic(context.outputs["bake_report"], report.model_dump_json(indent=2) + "\n")
    if speed is not None:
        context.progress.note(
            f"bake: {speed.tokens_per_second:,.0f} tokens/s, {speed.utilisation:.0%} of the flops that plain matrix "
            "products reach here"
        )
    context.computed_by.update(computed_by(loaded) | {"attention": report.attention})
    cost = meter.cost(report.curve[-1].tokens if report.curve else 0)
    return StageOutcome(cost=cost, metrics=_metrics(report, speed))


def _examples(
    context: StageContext, loaded: LoadedModel, prompting: Prompting, found: TraceSet
) -> tuple[list[TrainingExample], list[TrainingExample]]:
    config = context.config
    if len(found.traces) < config.min_traces:
        raise InputError(
            f"only {len(found.traces)} traces were collected but min_traces is {config.min_traces}; raise bake_samples "
            "or trace_samples, or see the report for why samples were rejected"
        )
    questions = {question.id: question for question in read_split(context.input("questions"), "bake")}
    held = split_heldout((trace.question_id for trace in found.traces), config.heldout_fraction)
    examples: dict[bool, list[TrainingExample]] = {True: [], False: []}
    for trace in found.traces:
        examples[trace.question_id in held].append(trace_example(prompting, questions[trace.question_id], trace))
    replay = [row for row in found.replay if row.question_id not in held]
    replayed = [replay_example(prompting, questions[row.question_id], row) for row in replay]
    train = examples[False] + [example for example in replayed if example is not None]
    row_length = min(config.pack_length, loaded.context_length or config.pack_length)
    return (
        _fitting(context, train, row_length, "training"),
        _fitting(context, examples[True], row_length, "held-out"),
    )


def _fitting(
    context: StageContext, examples: list[TrainingExample], row_length: int, what: str
) -> list[TrainingExample]:
    """Leave out, and say so, what no packed row can hold."""
    kept = that_fit(examples, row_length)
    if len(kept) < len(examples):
        context.warn(
            f"{len(examples) - len(kept)} of {len(examples)} {what} examples are longer than {row_length} tokens and "
            "were left out; raise pack_length"
        )
    if examples and not kept:
        raise InputError(f"every {what} example is longer than {row_length} tokens; raise pack_length")
    return kept


def _metrics(report: BakeReport, speed: Throughput | None) -> dict[str, float]:
    figures = {"steps": float(report.steps), "best_heldout_loss": report.best_heldout_loss}
    if speed is not None:
        figures["tokens_per_second"] = speed.tokens_per_second
        figures["model_flops_utilisation"] = speed.utilisation
    return figures


STAGE = Stage(
    "bake", bake_stage, inputs=("extended", "questions", "traces"), outputs=("baked", "bake_report", "trace_set")
)
