"""Laws of the bake: it learns, keeps the best weights, and an interruption changes nothing."""

import math
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from out_of_memory import ERRORS
from tiny_finetune import TOKEN_IDS, counting_examples, logits_of, random_examples, tiny_model

from agent_forge.config import QuietSTaRConfig
from agent_forge.errors import ForgeError, InputError, OutputError
from agent_forge.models.adapters import TokenRows
from agent_forge.models.finetune import BakeSettings, TrainingExample, bake
from agent_forge.models.settings import learning_rate_at
from agent_forge.models.target_loss import TargetLoss

SETTINGS = BakeSettings(
    rank=4,
    alpha=8.0,
    learning_rate=1e-2,
    num_epochs=3,
    pack_length=32,
    train_batch_size=2,
    evaluate_every=2,
    early_stop_patience=10,
    checkpoint_every=2,
)
FULL = {"method": "full", "learning_rate": 3e-3}


class StopError(Exception):
    """What an interrupted caller raises from the progress callback."""


def settings_with(**values):
    return BakeSettings.model_validate({**SETTINGS.model_dump(), **values})


def baked(directory, settings=SETTINGS, model=None, train=None, heldout=None, on_progress=lambda _: None, key="k"):
    model = model or tiny_model("llama", tied=True)
    train, heldout = train or counting_examples(24), heldout or counting_examples(6, seed=1)
    report = bake(model, train, heldout, settings, directory, on_progress, token_ids=TOKEN_IDS, key=key)
    return model, report


@cache
def llama_baked(**values):
    """The weights and the report of the small Llama's bake that nothing disturbs, with other settings."""
    with TemporaryDirectory() as directory:
        model, report = baked(Path(directory), settings_with(**values))
    return weights_of(model), report


def weights_of(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def contradiction():
    """Held out is another answer to the very prompt trained on: every step makes it less likely."""
    ids, supervised = (5, 6, 7), (False, False, False, True)
    return [TrainingExample((*ids, 8), supervised)] * 16, [TrainingExample((*ids, 9), supervised)]


def stop_at(*steps):
    left = set(steps)

    def on_progress(event):
        if event.step in left:
            left.remove(event.step)
            raise StopError

    return on_progress


def mean_loss(model, examples):
    """Nats per supervised token, each example run alone."""
    total = targets = 0.0
    for example in examples:
        scores_TV = logits_of(model, example.input_ids).log_softmax(-1)
        for position in range(1, len(example.input_ids)):
            if example.supervised[position]:
                total -= float(scores_TV[position - 1, example.input_ids[position]])
                targets += 1
    return total / targets


def test_settings_are_the_configurations():
    config = QuietSTaRConfig(model_path="m", output_path="o", lora_rank=3, bake_method="full", num_epochs=7, seed=5)
    settings = BakeSettings.of(config)
    assert (settings.rank, settings.method, settings.num_epochs, settings.seed) == (3, "full", 7, 5)
    assert BakeSettings.of(QuietSTaRConfig(model_path="m", output_path="o")) == BakeSettings()


@given(st.integers(1, 300), st.floats(0, 0.99), st.floats(1e-6, 1.0))
def test_learning_rate_rises_to_its_peak_and_falls_towards_zero(planned, warmup_fraction, peak):
    rates = [learning_rate_at(step, planned, peak, warmup_fraction) for step in range(planned)]
    warmup = math.ceil(warmup_fraction * planned)
    top = max(warmup - 1, 0)
    assert all(0 < rate <= peak for rate in rates) and math.isclose(rates[top], peak)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if planned - warmup >= 10:
        assert rates[-1] < 0.03 * peak


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("method", "rate", "share"), [("lora", 3e-2, 0.85), ("full", 1e-2, 0.5)])
def test_a_bake_learns_and_leaves_a_plain_model(method, rate, share, tied, tmp_path):
    # The frozen random head of so small a model keeps its logits small: LoRA alone cannot become certain.
    model = tiny_model("llama", tied)
    names = [name for name, _ in model.named_parameters()]
    model, report = baked(
        tmp_path, settings_with(num_epochs=10, method=method, learning_rate=rate), model, counting_examples(40)
    )
    assert report.best_heldout_loss < share * report.first_heldout_loss
    assert [name for name, _ in model.named_parameters()] == names
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied
    assert all(value.requires_grad for value in model.parameters()) and not model.training
    assert not report.warnings


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "gemma3", "phi"])
def test_the_reported_losses_are_those_of_the_model_before_and_after(architecture, tmp_path):
    model, heldout = tiny_model(architecture, tied=architecture == "gpt2"), random_examples(7, seed=3)
    first = mean_loss(model, heldout)
    model, report = baked(tmp_path, settings_with(num_epochs=1), model, random_examples(24), heldout)
    assert math.isclose(report.first_heldout_loss, first, rel_tol=1e-5)
    assert math.isclose(report.best_heldout_loss, mean_loss(model, heldout), rel_tol=1e-5)


def test_a_steps_loss_is_the_mean_over_all_its_supervised_tokens(tmp_path):
    # One long and several short examples in forward passes of their own: a mean of means would differ.
    long = TrainingExample(tuple(range(3, 33)), (True,) * 30)
    train = [long, *(TrainingExample((5, 6 + index), (True, True)) for index in range(3))]
    model = tiny_model("llama")
    expected = mean_loss(model, train)
    assert not math.isclose(expected, sum(mean_loss(model, [example]) for example in train) / 4, rel_tol=1e-2)
    settings = settings_with(pack_length=30, train_batch_size=1, gradient_accumulation=4, num_epochs=1)
    _, report = baked(tmp_path, settings, model, train)
    assert report.steps == 1
    assert math.isclose(report.curve[1].loss, expected, rel_tol=1e-5)


def test_accumulating_four_passes_equals_one_pass_of_four_rows(tmp_path):
    outcomes = []
    for rows, passes in ((4, 1), (1, 4), (2, 2)):
        settings = settings_with(train_batch_size=rows, gradient_accumulation=passes, **FULL)
        model = tiny_model("llama", dtype=torch.float64)
        outcomes.append(baked(tmp_path / str(rows), settings, model, random_examples(24)))
    for model, report in outcomes[1:]:
        assert report.steps == outcomes[0][1].steps
        for name, value in weights_of(outcomes[0][0]).items():
            torch.testing.assert_close(model.get_parameter(name), value, atol=1e-6, rtol=0, check_stride=False)


def test_the_curve_and_the_events_tell_the_same_story(tmp_path):
    events, train = [], random_examples(24)
    _, report = baked(tmp_path, train=train, on_progress=events.append)
    assert [event.step for event in events] == list(range(1, report.steps + 1))
    assert {event.planned_steps for event in events} == {report.planned_steps}
    assert events[-1].tokens == SETTINGS.num_epochs * sum(len(example.input_ids) for example in train)
    points = {point.step: point for point in report.curve}
    for event in events:
        point = points[event.step]
        assert (event.loss, event.learning_rate, event.tokens) == (point.loss, point.learning_rate, point.tokens)
    judged = {point.step for point in report.curve if point.heldout_loss is not None}
    assert judged == {step for step in points if step % 2 == 0 or step == report.planned_steps}
    best = min(point.heldout_loss for point in report.curve if point.heldout_loss is not None)
    assert report.best_heldout_loss == best == points[report.best_step].heldout_loss
    assert report.replay_examples == 8 and report.examples == 24 and report.heldout_examples == 6
    assert 0.5 < report.packing_efficiency <= 1


def test_the_best_weights_are_kept_and_not_the_last(tmp_path):
    train, heldout = contradiction()
    model = tiny_model("llama")
    before = weights_of(model)
    model, report = baked(tmp_path, settings_with(early_stop_patience=2, evaluate_every=1), model, train, heldout)
    assert report.best_step == 0 and report.best_heldout_loss == report.first_heldout_loss
    assert report.stopped_early and report.steps == 2 < report.planned_steps
    assert same_weights(weights_of(model), before)
    assert any("never fell" in warning for warning in report.warnings)


def gpt2_settings(method):
    return settings_with(method=method, dropout=0.1)


@cache
def gpt2_never_interrupted(method):
    with TemporaryDirectory() as directory:
        model, report = baked(Path(directory), gpt2_settings(method), tiny_model("gpt2", tied=True))
    return weights_of(model), report


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("stops", [(1,), (2,), (3, 5), (4, 7, 8)])
def test_an_interrupted_bake_ends_with_the_same_bits(method, stops, tmp_path):
    settings = gpt2_settings(method)
    whole, whole_report = gpt2_never_interrupted(method)
    assert whole_report.steps >= 9
    on_progress = stop_at(*stops)
    for _ in stops:
        with pytest.raises(StopError):
            baked(tmp_path / "cut", settings, tiny_model("gpt2", tied=True), on_progress=on_progress)
    seen = []
    resumed, report = baked(tmp_path / "cut", settings, tiny_model("gpt2", tied=True), on_progress=seen.append)
    assert seen[0].step == stops[-1] // 2 * 2 + 1
    assert same_weights(weights_of(resumed), whole)
    assert report == whole_report


def test_an_early_stop_survives_an_interruption(tmp_path):
    train, heldout = contradiction()
    settings = settings_with(early_stop_patience=2, evaluate_every=1)
    _, whole = baked(tmp_path / "whole", settings, train=train, heldout=heldout)
    with pytest.raises(StopError):
        baked(tmp_path / "cut", settings, train=train, heldout=heldout, on_progress=stop_at(2))
    _, report = baked(tmp_path / "cut", settings, train=train, heldout=heldout)
    assert report == whole and report.stopped_early


@pytest.mark.parametrize("problem", [StopError, KeyboardInterrupt])
def test_what_the_callback_raises_reaches_the_caller_and_lora_leaves_no_trace(problem, tmp_path):
    model = tiny_model("llama", tied=True)
    before, names = weights_of(model), [name for name, _ in model.named_modules()]
    raised = problem("now")

    def on_progress(event):
        raise raised

    with pytest.raises(problem) as caught:
        baked(tmp_path, model=model, on_progress=on_progress)
    assert caught.value is raised
    assert same_weights(weights_of(model), before)
    assert [name for name, _ in model.named_modules()] == names


def interrupted(directory, step=5, **values):
    with pytest.raises(StopError):
        baked(directory, on_progress=stop_at(step), **values)
    return directory / f"step-{step // 2 * 2:08d}"


def test_only_the_newest_checkpoint_is_kept(tmp_path):
    (tmp_path / ".step-00000002.partial").mkdir()
    newest = interrupted(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [newest.name]
    names = {"state.json", "weights.safetensors", "best.safetensors", "optimizer.pt"}
    assert {path.name for path in newest.iterdir()} == names


@pytest.fixture(scope="module")
def interrupted_short(tmp_path_factory):
    """A bake of a few steps that ended at its first checkpoint."""
    directory = tmp_path_factory.mktemp("interrupted")
    interrupted(directory, step=2, **short())
    return directory


def short():
    """The inputs of a bake of a few steps, for what shows when it begins."""
    return {"settings": settings_with(num_epochs=2), "train": counting_examples(12)}


@pytest.mark.parametrize("name", ["state.json", "weights.safetensors", "best.safetensors", "optimizer.pt"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "empty"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(name, damage, tmp_path, interrupted_short):
    shutil.copytree(interrupted_short, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "step-00000002" / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        half = len(content) // 2
        flipped = content[:half] + bytes([content[half] ^ 0x80]) + content[half + 1 :]
        path.write_bytes({"truncated": content[:half], "flipped": flipped, "empty": b""}[damage])
    seen = []
    _, report = baked(tmp_path, **short(), on_progress=seen.append)
    assert seen[0].step == 1
    assert len(report.warnings) == 1 and "checkpoint step-00000002 was not used" in report.warnings[0]
    assert "\n" not in report.warnings[0]


def test_an_undamaged_checkpoint_of_the_same_bake_is_used(tmp_path, interrupted_short):
    shutil.copytree(interrupted_short, tmp_path, dirs_exist_ok=True)
    seen = []
    _, report = baked(tmp_path, **short(), on_progress=seen.append)
    assert seen[0].step == 3 and not report.warnings


@pytest.mark.parametrize("change", ["key", "settings", "examples", "heldout", "method"])
def test_a_checkpoint_of_another_bake_is_passed_over(change, tmp_path, interrupted_short):
    shutil.copytree(interrupted_short, tmp_path, dirs_exist_ok=True)
    other = {
        "key": {"key": "another model"},
        "settings": {"settings": settings_with(num_epochs=2, learning_rate=2e-2)},
        "examples": {"train": counting_examples(12, seed=9)},
        "heldout": {"heldout": counting_examples(6, seed=9)},
        "method": {"settings": settings_with(num_epochs=2, **FULL)},
    }[change]
    seen = []
    _, report = baked(tmp_path, on_progress=seen.append, **(short() | other))
    assert seen[0].step == 1 and "other inputs or settings" in report.warnings[0]


def test_how_often_to_checkpoint_may_change_between_runs(tmp_path):
    interrupted(tmp_path)
    seen = []
    _, report = baked(tmp_path, settings_with(checkpoint_every=3), on_progress=seen.append)
    assert seen[0].step == 5 and not report.warnings


def test_a_checkpoint_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write a checkpoint to .*file"):
        baked(tmp_path / "file")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_divergence_is_an_error_that_says_what_to_try(method, tmp_path):
    settings = settings_with(method=method, learning_rate=1e30, warmup_fraction=0.0)
    with pytest.raises(ForgeError, match=r"diverged.*lower learning_rate"):
        baked(tmp_path, settings)


def test_a_model_that_is_broken_from_the_start_is_reported_before_any_step(tmp_path):
    model = tiny_model("llama")
    with torch.no_grad():
        model.get_parameter("model.norm.weight")[0] = math.nan
    with pytest.raises(ForgeError, match="held-out loss is nan after 0 steps"):
        baked(tmp_path, model=model)


def test_too_few_and_too_long_examples_are_refused(tmp_path):
    model = tiny_model("llama")
    for train, heldout in (([], random_examples(2)), (random_examples(2), [])):
        with pytest.raises(InputError, match="at least one of each"):
            bake(model, train, heldout, SETTINGS, tmp_path, lambda _: None, token_ids=TOKEN_IDS)
    with pytest.raises(InputError, match="40 tokens but a row holds 32"):
        baked(tmp_path, train=[TrainingExample((5,) * 40, (True,) * 40)], model=model)
    assert not list(tmp_path.iterdir())


def test_the_callers_generator_and_mode_are_left_alone(tmp_path):
    model = tiny_model("gpt2").train()
    before = torch.get_rng_state()
    baked(tmp_path, settings_with(dropout=0.2), model)
    assert torch.equal(torch.get_rng_state(), before) and model.training


def test_the_seed_decides_the_outcome(tmp_path):
    one, _ = llama_baked()
    other, same = (weights_of(baked(tmp_path / str(seed), settings_with(seed=seed))[0]) for seed in (1, SETTINGS.seed))
    assert same_weights(one, same) and not same_weights(one, other)


def test_weight_decay_leaves_rows_alone_that_no_token_touches(tmp_path):
    model = tiny_model("llama")
    before = weights_of(model)
    train = [TrainingExample((5, 6, 7, 8), (False, True, True, True))] * 8
    model, _ = baked(tmp_path, settings_with(weight_decay=0.5, **FULL), model, train, train[:1])
    untouched = [row for row in range(48) if row not in (0, 5, 6, 7, 8)]  # 0 is the padding
    after = weights_of(model)
    assert torch.equal(after["model.embed_tokens.weight"][untouched], before["model.embed_tokens.weight"][untouched])
    assert not torch.equal(after["model.embed_tokens.weight"][5], before["model.embed_tokens.weight"][5])


@pytest.mark.parametrize("values", [{}, FULL])
def test_gradient_checkpointing_changes_no_weight_and_is_off_afterwards(values, tmp_path):
    plain, _ = llama_baked(**values)
    model, report = baked(tmp_path / "saving", settings_with(gradient_checkpointing=True, **values))
    for name, value in plain.items():
        torch.testing.assert_close(model.get_parameter(name), value, atol=1e-6, rtol=0)
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert not report.warnings


@pytest.mark.parametrize("error", [ERRORS["gpu"], ERRORS["cpu"]], ids=["gpu", "cpu"])
def test_memory_that_runs_out_turns_checkpointing_on_and_changes_no_weight(error, tmp_path, monkeypatch):
    values = {"dropout": 0.1, "gradient_accumulation": 2, "train_batch_size": 1}
    plain, whole = llama_baked(**values)
    backward, calls = TargetLoss.backward, iter(range(1000))

    def one_too_large(self, batch, share):
        found = backward(self, batch, share)
        if next(calls) == 3:
            raise error  # once, with the gradients of half a step there
        return found

    monkeypatch.setattr(TargetLoss, "backward", one_too_large)
    model, report = baked(tmp_path / "saving", settings_with(**values))
    assert report.warnings == ("memory ran out in step 2: gradients are checkpointed from there",)
    assert report.curve[-1].tokens == whole.curve[-1].tokens
    for name, value in plain.items():
        torch.testing.assert_close(model.get_parameter(name), value, atol=1e-6, rtol=0)
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def test_memory_that_runs_out_all_the_same_ends_the_bake(tmp_path, monkeypatch):
    def too_large(*_):
        raise torch.OutOfMemoryError("always")

    monkeypatch.setattr(TargetLoss, "backward", too_large)
    with pytest.raises(torch.OutOfMemoryError):
        baked(tmp_path)


def test_a_recurrent_model_bakes_with_one_example_per_row(tmp_path):
    model, heldout = tiny_model("mamba"), random_examples(3, seed=1)
    first = mean_loss(model, heldout)
    _, report = baked(tmp_path, settings_with(num_epochs=1, **FULL), model, random_examples(6), heldout)
    assert math.isclose(report.first_heldout_loss, first, rel_tol=1e-5)
    assert any("one example per row" in warning for warning in report.warnings)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("values", [{}, FULL])
def test_half_precision_models_learn_as_well_and_keep_their_dtype(values, dtype, tmp_path):
    _, exact = llama_baked(**values)
    model, report = baked(tmp_path / "half", settings_with(**values), tiny_model("llama", tied=True, dtype=dtype))
    assert math.isclose(report.best_heldout_loss, exact.best_heldout_loss, rel_tol=0.01)
    assert exact.best_heldout_loss < 0.95 * exact.first_heldout_loss
    assert {value.dtype for value in model.parameters()} == {dtype}


def test_gradients_are_clipped_to_the_norm_asked_for(tmp_path):
    # Far below AdamW's epsilon a gradient moves nothing to speak of, although AdamW forgets its scale otherwise.
    model = tiny_model("llama")
    before = weights_of(model)
    model, _ = baked(tmp_path, settings_with(max_grad_norm=1e-14, **FULL), model)
    for name, value in weights_of(model).items():
        torch.testing.assert_close(value, before[name], atol=1e-6, rtol=0)


def test_a_merge_that_changes_the_loss_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(TokenRows, "merge", lambda rows: None)
    _, report = baked(tmp_path, settings_with(learning_rate=3e-2))
    assert any("merging moved the held-out loss" in warning for warning in report.warnings)
