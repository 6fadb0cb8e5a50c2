"""How to bake: the settings of a training run, and the learning rate of each of its steps.

The rate warms up linearly and falls along a half cosine to 0 (Loshchilov and Hutter, 2017, arXiv:1608.03983).
"""

import math
from typing import Literal

from pydantic import Field

from agent_forge.config import QuietSTaRConfig
from agent_forge.records import Record


class BakeSettings(Record):
    """How to bake; the meaning of each field is that of its name in `QuietSTaRConfig`."""

    method: Literal["lora", "full"] = "lora"
    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    num_epochs: int = Field(default=3, ge=1)
    pack_length: int = Field(default=1024, ge=2)
    train_batch_size: int = Field(default=4, ge=1)
    gradient_accumulation: int = Field(default=1, ge=1)
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    evaluate_every: int = Field(default=25, ge=1)
    early_stop_patience: int = Field(default=3, ge=1)
    checkpoint_every: int = Field(default=50, ge=1)
    gradient_checkpointing: bool = False
    seed: int = Field(default=0, ge=0)

    @classmethod
    def of(cls, config: QuietSTaRConfig) -> "BakeSettings":
        """Take the fields from a configuration."""
        renamed = {"method": "bake_method", "rank": "lora_rank", "alpha": "lora_alpha", "dropout": "lora_dropout"}
        return cls.model_validate({name: getattr(config, renamed.get(name, name)) for name in cls.model_fields})


def learning_rate_at(step: int, planned_steps: int, peak: float, warmup_fraction: float) -> float:
    """Return the learning rate of one step.

    Args:
        step: counted from 0.
        planned_steps: of the whole run.
        peak: reached at the end of the warm-up.
        warmup_fraction: share of the steps in which the rate rises linearly; it falls to 0 along a half cosine after.
    """
    warmup = math.ceil(warmup_fraction * planned_steps)
    if step < warmup:
        return peak * ((step + 1) / warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (planned_steps - warmup)))
