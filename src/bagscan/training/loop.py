"""One training loop for every task: seeded per step, resumable, validated, early-stopped.

Every random draw of step ``i`` comes from ``SeedSequence(seed, spawn_key=(0, i))``, so a run that
was killed and resumed gives, on CPU, the same weights as one that was not. Of several processes that train together each but
the first adds its number to the key.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bagscan.core.errors import TrainingError
from bagscan.core.files import atomic_write_text
from bagscan.training.checkpoint import load_checkpoint, read_progress, save_checkpoint
from bagscan.training.compute import Compute, compute, moved
from bagscan.training.drawing import drawn_ahead, loaders


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast to train.

    Attributes:
        steps: optimizer steps. learning_rate: the highest. warmup: steps in which it rises to that from 0; then it falls along a cosine to 0.
        cooldown: in place of the cosine the rate is constant, and falls linearly to 0 over so many steps at the end. What was reached before
            is kept in ``stable.safetensors``, from which a run with more steps goes on.
        optimizer: ``adamw`` or ``sgd`` (momentum 0.9, as paper A).
        weight_decay: of matrices and kernels. clip_norm: largest norm of the gradient.
        ema: decay of the averaged weights that are validated and kept; 0 for none.
        validate_every, checkpoint_every: steps. patience: validations without gain; 0 for never.
        seed: of weights, draws and dropout.
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
                "expected 0 <= ema < 1, learning_rate and clip_norm above 0, the others not below 0"
            )


CHECKPOINT_S = 120.0
MAX_SEED = 1 << 31
STABLE = "stable.safetensors"


class Task(Protocol):
    """What is trained: supplies batches and losses, and knows how good it is.

    Attributes:
        modules: whose weights are. draws_apart: False where drawing needs the accelerator, which other processes cannot share; True where it is not there.
    """

    modules: dict[str, nn.Module]

    def batch(self, rng: np.random.Generator) -> Any:
        """Draw one training batch; called in a thread or another process, must not change the modules."""

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The loss to minimise and its parts, to be logged."""

    def validate(self) -> dict[str, float]:
        """Scores on validation data; ``monitor`` is the one to maximise."""


def learning_rate_at(step: int, config: LoopConfig) -> float:
    """Linear warm-up, then half a cosine to 0 at ``config.steps``; or constant and a linear cooldown."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.cooldown:
        return config.learning_rate * min(1.0, (config.steps - step) / config.cooldown)
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _optimizer(task: Task, config: LoopConfig) -> torch.optim.Optimizer:
    parameters = [
        p for module in task.modules.values() for p in module.parameters() if p.requires_grad
    ]
    # Normalisation weights and biases are vectors; decaying them only moves the scale elsewhere.
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


@torch.no_grad()
def _average(averaged: dict[str, nn.Module], live: dict[str, nn.Module], decay: float) -> None:
    for name, module in live.items():
        pairs = list(
            zip(averaged[name].state_dict().values(), module.state_dict().values(), strict=True)
        )
        means, values = ([pair[k] for pair in pairs if pair[0].is_floating_point()] for k in (0, 1))
        torch._foreach_lerp_(means, values, 1 - decay)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)


class _Log:
    """``log.jsonl`` beside the weights: one line per event, cut back to the checkpoint on resume; of several processes the first writes."""

    def __init__(self, path: Path, from_step: int, writes: bool) -> None:
        self.path, self.writes, kept = path, writes, []
        if not writes:
            return
        if path.exists() and from_step:
            kept = [line for line in path.read_text().splitlines() if _step_of(line) <= from_step]
        atomic_write_text(path, "".join(f"{line}\n" for line in kept))

    def write(self, **record: Any) -> None:
        if not self.writes:
            return
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


def _step_of(line: str) -> float:
    """Step of a line of the log; beyond any of one that a kill or a full disk has torn."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class _Swap:
    """Put the averaged weights into the task's modules for a while."""

    def __init__(self, live: dict[str, nn.Module], averaged: dict[str, nn.Module]) -> None:
        self.live, self.averaged = live, averaged

    def __enter__(self) -> None:
        self.kept = {name: deepcopy(module.state_dict()) for name, module in self.live.items()}
        for name, module in self.live.items():
            module.load_state_dict(self.averaged[name].state_dict())

    def __exit__(self, *_: object) -> None:
        for name, module in self.live.items():
            module.load_state_dict(self.kept[name])


def run(
    task: Task,
    config: LoopConfig,
    out: Path,
    on_best: Callable[[dict[str, float]], None],
    report: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train to the end, from the last checkpoint in ``out`` if there is one.

    Args:
        out: folder for ``checkpoint.safetensors`` and ``log.jsonl``.
        on_best: called with the scores while the task's modules hold the best weights so far.
        report: receives one line of progress at a time.

    Returns:
        The best validation scores.
    """
    where = compute()
    out.mkdir(parents=True, exist_ok=True)
    optimizer = _optimizer(task, config)
    averaged = deepcopy(task.modules) if config.ema else {}
    kept = task.modules | {f"ema-{name}": module for name, module in averaged.items()}
    path = out / "checkpoint.safetensors"
    progress: dict[str, Any] = {"step": 0, "best": None, "stale": 0, "seconds": 0.0}
    if path.exists():
        progress = load_checkpoint(_start_of(path, out / STABLE, config), kept, optimizer)
        report(f"resuming at step {progress['step']} of {config.steps}")
        if config.patience and progress["stale"] >= config.patience:
            report(f"it stopped early: no gain in {config.patience} validations")
            stopped: dict[str, float] = progress["best"]
            return stopped
    if progress.get("processes", where.count) != where.count:
        report(
            f"the run was begun by {progress['processes']} processes and goes on with {where.count}: each step sees another number of batches"
        )
    where.start_alike(kept, progress["step"])
    progress |= {"processes": where.count, "steps": config.steps}
    saved = time.monotonic()
    log = _Log(out / "log.jsonl", progress["step"], where.writes)
    started, first = time.monotonic() - progress["seconds"], progress["step"]
    processes = loaders(where.device) if getattr(task, "draws_apart", True) else 0
    with closing(
        drawn_ahead(task.batch, config.seed, range(first, config.steps), where.rank, processes)
    ) as batches:
        for step, upcoming in enumerate(batches, first):
            batch = moved(upcoming, where.device)
            parts = _one_step(task, optimizer, batch, step, config, where)
            if averaged:
                _average(averaged, task.modules, min(config.ema, (1 + step) / (10 + step)))
            done = step + 1
            progress |= {"step": done, "seconds": time.monotonic() - started}
            log.write(step=done, **parts)
            if config.cooldown and done == config.steps - config.cooldown:
                _save(where, out / STABLE, kept, optimizer, progress)
            if done % config.validate_every == 0 or done == config.steps:
                where.average_buffers(kept)
                if where.writes:
                    scores = _validate(task, averaged, progress, on_best)
                    log.write(step=done, validation=scores)
                    report(_line(done, config.steps, progress["seconds"], parts, scores))
                if where.broadcast_from_rank0(
                    bool(config.patience) and progress["stale"] >= config.patience
                ):
                    report(f"stopped early: no gain in {config.patience} validations")
                    break
            elif done % 20 == 0 and where.writes:
                report(_line(done, config.steps, progress["seconds"], parts))
            # By the clock too, where no other process would have to agree: of a piece that is cut short little is lost.
            if done % config.checkpoint_every == 0 or (
                where.count == 1 and time.monotonic() - saved > CHECKPOINT_S
            ):
                _save(where, path, kept, optimizer, progress)
                saved = time.monotonic()
    _save(where, path, kept, optimizer, progress)
    where.broadcast_from_rank0(True)  # no process ends before what it trained is written
    best: dict[str, float] = progress["best"] or {}
    return best


def _start_of(path: Path, stable: Path, config: LoopConfig) -> Path:
    """The checkpoint to go on from: where less was planned before, the one from before that plan's cooldown."""
    if not (config.cooldown and stable.exists()):
        return path
    return stable if read_progress(path).get("steps", config.steps) < config.steps else path


def _save(
    where: Compute,
    path: Path,
    kept: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """The state of all processes: buffers are averaged, since each would go on with those of the first."""
    where.average_buffers(kept)
    if where.writes:
        save_checkpoint(path, kept, optimizer, progress)


def _validate(
    task: Task,
    averaged: dict[str, nn.Module],
    progress: dict[str, Any],
    on_best: Callable[[dict[str, float]], None],
) -> dict[str, float]:
    """Scores of the averaged weights, which are kept where they are the best so far."""
    with _Swap(task.modules, averaged or task.modules):
        scores = task.validate()
        if not math.isfinite(scores["monitor"]):
            raise TrainingError(
                f"validation at step {progress['step']} scored {scores['monitor']}: the validation part needs positives and negatives"
            )
        improved = progress["best"] is None or scores["monitor"] > progress["best"]["monitor"]
        if improved:
            on_best(scores)
    progress["stale"] = 0 if improved else progress["stale"] + 1
    progress["best"] = scores if improved else progress["best"]
    return scores


def _one_step(
    task: Task,
    optimizer: torch.optim.Optimizer,
    batch: Any,
    step: int,
    config: LoopConfig,
    where: Compute,
) -> dict[str, float]:
    torch.manual_seed(
        (config.seed * 1_000_003 + step) * where.count + where.rank
    )  # dropout and the like
    for module in task.modules.values():
        module.train()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate_at(step, config)
    optimizer.zero_grad(set_to_none=True)
    loss, parts = task.loss(batch)
    if not torch.isfinite(loss):
        raise TrainingError(
            f"the loss became {loss.item()} at step {step}: lower loop.learning_rate, or look at model.input.std"
        )
    torch.autograd.backward(loss)
    parameters = [p for g in optimizer.param_groups for p in g["params"]]
    where.average_gradients(parameters)
    torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
    optimizer.step()
    return {"loss": float(loss.detach()), **parts}


def _line(done: int, steps: int, seconds: float, *scores: dict[str, float]) -> str:
    left = seconds / done * (steps - done)
    text = "  ".join(f"{k} {v:.4f}" for part in scores for k, v in part.items())
    return f"step {done}/{steps}  {left / 60:.0f} min left  {text}"
