"""What a bake's speed is made of."""

import pytest
import torch
from tiny_finetune import tiny_model

from agent_forge.models.packing import TrainingExample
from agent_forge.models.throughput import Stopwatch, flops_per_token, product_rate

CPU = torch.device("cpu")
HALF_SUPERVISED = [TrainingExample((3, 4, 5, 6), (False, False, True, True))]


@pytest.mark.parametrize("tied", [True, False])
def test_flops_are_those_of_the_matrix_products(tied):
    model = tiny_model("llama", tied)
    # Per layer: queries and output 32 x 32, keys and values 32 x 16, three of 32 x 48; the head 48 x 32 for half.
    weights = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48) + 48 * 32 / 2
    assert flops_per_token(model, "lora", HALF_SUPERVISED) == 4 * weights
    assert flops_per_token(model, "full", HALF_SUPERVISED) == 6 * weights


def test_a_stopwatch_needs_two_steps_and_counts_from_the_first():
    stopwatch = Stopwatch(1e3)
    stopwatch.tick(10_000)
    assert stopwatch.read(CPU, torch.float32) is None
    stopwatch.tick(10_000)
    assert stopwatch.read(CPU, torch.float32).tokens_per_second == 0
    stopwatch.tick(10_500)
    found = stopwatch.read(CPU, torch.float32)
    assert found.tokens_per_second > 0 and found.utilisation > 0


def test_the_rate_of_products_is_a_rate():
    assert product_rate(CPU, torch.float32) > 1e6
