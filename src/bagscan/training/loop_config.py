"""Settings of the training loop, and its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_SEED = 1 << 31


@dataclass(frozen=True)
class LoopConfig:
    """Length and speed of a training.

    Attributes:
        steps: optimizer steps.
        learning_rate: highest learning rate.
        optimizer: ``adamw`` or ``sgd`` (momentum 0.9, as in Bhowmik & Breckon).
        weight_decay: weight decay of matrices and kernels.
        warmup: steps in which the learning rate rises from 0; it then falls to 0 along a cosine.
        cooldown: last steps, in which the learning rate falls linearly to 0; it is constant before,
            in place of the cosine. The state at their start is kept in ``stable.safetensors``, from
            which a run with more steps continues. 0 for the cosine.
        clip_norm: largest norm of the gradient.
        ema: decay of averaged weights, which are validated and kept; 0 for none.
        validate_every: steps from one validation to the next.
        checkpoint_every: steps from one checkpoint to the next.
        patience: validations without improvement after which the run stops; 0 for no limit.
        seed: seed of weights, draws and dropout.
    """

    steps: int = 1000
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 1e-4
    warmup: int = 50
    cooldown: int = 0
    clip_norm: float = 1.0
    ema: float = 0.0
    validate_every: int = 200
    checkpoint_every: int = 100
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < MAX_SEED:
            raise ValueError(f"seed must be 0 to {MAX_SEED - 1}, got {self.seed}")
        if self.optimizer not in ("adamw", "sgd"):
            raise ValueError(f"optimizer must be adamw or sgd, got {self.optimizer!r}")
        if (
            not 0 <= self.ema < 1
            or self.learning_rate <= 0
            or self.clip_norm <= 0
            or min(self.warmup, self.cooldown, self.patience, self.weight_decay) < 0
        ):
            raise ValueError(
                "ema must be in [0, 1), learning_rate and clip_norm above 0, "
                "warmup, cooldown, patience and weight_decay at least 0"
            )


def learning_rate_at(step: int, config: LoopConfig) -> float:
    """Return the learning rate of a step.

    After a linear warm-up it follows half a cosine to 0 at ``config.steps``. With a cooldown it is
    constant, then falls linearly to 0.
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.cooldown:
        return config.learning_rate * min(1.0, (config.steps - step) / config.cooldown)
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
