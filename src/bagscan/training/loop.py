"""Training loop of all tasks: seeded per step, resumable, with validation and early stopping.

All random draws of step ``i`` come from ``SeedSequence(seed, spawn_key=(0, i))``. On a CPU, a run
that was killed and resumed therefore gives the same weights as an uninterrupted one. Among
processes that train together, each but the first adds its rank to the key.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bagscan.core.errors import TrainingError
from bagscan.core.files import atomic_write_text
from bagscan.training.checkpoint import load_checkpoint, read_progress, save_checkpoint
from bagscan.training.compute import Compute, compute, move_batch
from bagscan.training.drawing import loaders, prefetch_batches
from bagscan.training.loop_config import LoopConfig, learning_rate_at

log = logging.getLogger(__name__)

CHECKPOINT_S = 120.0  # a single process also saves after so many seconds
STABLE = "stable.safetensors"


class Task(Protocol):
    """Training task: supplies batches and losses, and validates.

    Attributes:
        modules: modules to train, by name.
        can_draw_in_processes: optional, default True; False if ``batch`` uses the accelerator,
            so that other processes cannot draw.
    """

    modules: dict[str, nn.Module]

    def batch(self, rng: np.random.Generator) -> Any:
        """Draw a batch, in a thread or another process; must not change the modules."""

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """Return the loss to minimise, and terms to log."""

    def validate(self) -> dict[str, float]:
        """Return scores on validation data; ``monitor`` is maximised."""


def build_optimizer(task: Task, config: LoopConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a task's modules."""
    parameters = [
        p for module in task.modules.values() for p in module.parameters() if p.requires_grad
    ]
    # Vectors are biases and normalisation weights. Their decay would only move the scale elsewhere.
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


@torch.no_grad()
def _update_average(
    averaged: dict[str, nn.Module], live: dict[str, nn.Module], decay: float
) -> None:
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
    """JSON lines of a run, one per event; only rank 0 writes them.

    Lines after the checkpoint are removed when a run is resumed.
    """

    def __init__(self, path: Path, from_step: int, writes: bool) -> None:
        self.path, self.writes = path, writes
        if not writes:
            return
        lines = []
        if path.exists() and from_step:
            lines = [line for line in path.read_text().splitlines() if _step_of(line) <= from_step]
        atomic_write_text(path, "".join(f"{line}\n" for line in lines))

    def write(self, **record: Any) -> None:
        if not self.writes:
            return
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


def _step_of(line: str) -> float:
    """Return the step of a log line, or infinity for an incomplete line."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class _SwappedWeights:
    """Context in which the task's modules have the averaged weights."""

    def __init__(self, live: dict[str, nn.Module], averaged: dict[str, nn.Module]) -> None:
        self.live, self.averaged = live, averaged

    def __enter__(self) -> None:
        self.original = {name: deepcopy(module.state_dict()) for name, module in self.live.items()}
        for name, module in self.live.items():
            module.load_state_dict(self.averaged[name].state_dict())

    def __exit__(self, *_: object) -> None:
        for name, module in self.live.items():
            module.load_state_dict(self.original[name])


def run(
    task: Task,
    config: LoopConfig,
    out: Path,
    on_best: Callable[[dict[str, float]], None],
) -> dict[str, float]:
    """Train to the last step, from the checkpoint in ``out`` if there is one.

    Args:
        task: what to train.
        config: settings.
        out: directory for ``checkpoint.safetensors`` and ``log.jsonl``.
        on_best: called with the scores while the task's modules hold the best weights so far.

    Returns:
        The best validation scores.

    Raises:
        TrainingError: the loss or the monitor became NaN or infinite.
        ModelError: the checkpoint is incomplete or belongs to other modules.
    """
    process = compute()
    out.mkdir(parents=True, exist_ok=True)
    optimizer = build_optimizer(task, config)
    averaged = deepcopy(task.modules) if config.ema else {}
    state = task.modules | {f"ema-{name}": module for name, module in averaged.items()}
    path = out / "checkpoint.safetensors"
    progress = _resume(path, out / STABLE, config, state, optimizer)
    if _has_stalled(config, progress):
        log.info(f"stopped early: no improvement in {config.patience} validations")
        stopped: dict[str, float] = progress["best"]
        return stopped
    if progress.get("processes", process.count) != process.count:
        log.info(
            f"the run started with {progress['processes']} processes and continues with "
            f"{process.count}: the number of batches per step changes"
        )
    process.broadcast_state(state, progress["step"])
    progress |= {"processes": process.count, "steps": config.steps}
    saved = time.monotonic()
    curves = _Log(out / "log.jsonl", progress["step"], process.writes)
    started, first_step = time.monotonic() - progress["seconds"], progress["step"]
    processes = loaders(process.device) if getattr(task, "can_draw_in_processes", True) else 0
    steps = range(first_step, config.steps)
    with closing(
        prefetch_batches(task.batch, config.seed, steps, process.rank, processes)
    ) as batches:
        for step, host_batch in enumerate(batches, first_step):
            batch = move_batch(host_batch, process.device)
            terms = train_step(task, optimizer, batch, step, config, process)
            if averaged:
                _update_average(averaged, task.modules, min(config.ema, (1 + step) / (10 + step)))
            done = step + 1
            progress |= {"step": done, "seconds": time.monotonic() - started}
            curves.write(step=done, **terms)
            if config.cooldown and done == config.steps - config.cooldown:
                _save(process, out / STABLE, state, optimizer, progress)
            if done % config.validate_every == 0 or done == config.steps:
                process.average_buffers(state)
                if process.writes:
                    scores = _validate(task, averaged, progress, on_best)
                    curves.write(step=done, validation=scores)
                    log.info(_progress_line(done, config.steps, progress["seconds"], terms, scores))
                if process.broadcast_from_rank0(_has_stalled(config, progress)):
                    log.info(f"stopped early: no improvement in {config.patience} validations")
                    break
            elif done % 20 == 0 and process.writes:
                log.info(_progress_line(done, config.steps, progress["seconds"], terms))
            # Several processes would have to agree on the clock, a single one need not.
            if done % config.checkpoint_every == 0 or (
                process.count == 1 and time.monotonic() - saved > CHECKPOINT_S
            ):
                _save(process, path, state, optimizer, progress)
                saved = time.monotonic()
    _save(process, path, state, optimizer, progress)
    process.broadcast_from_rank0(True)  # processes end after rank 0 has saved
    best: dict[str, float] = progress["best"] or {}
    return best


def _has_stalled(config: LoopConfig, progress: dict[str, Any]) -> bool:
    return bool(config.patience) and progress["stale"] >= config.patience


def _resume(
    path: Path,
    stable: Path,
    config: LoopConfig,
    state: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Restore modules and optimizer if there is a checkpoint, and return the progress."""
    if not path.exists():
        return {"step": 0, "best": None, "stale": 0, "seconds": 0.0}
    progress = load_checkpoint(_checkpoint_to_resume(path, stable, config), state, optimizer)
    log.info(f"resuming at step {progress['step']} of {config.steps}")
    return progress


def _checkpoint_to_resume(path: Path, stable: Path, config: LoopConfig) -> Path:
    """Return the checkpoint to continue from.

    If the run was planned with fewer steps, it is the one from before its cooldown.
    """
    if not (config.cooldown and stable.exists()):
        return path
    return stable if read_progress(path).get("steps", config.steps) < config.steps else path


def _save(
    process: Compute,
    path: Path,
    state: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """Save the state of all processes.

    Buffers are averaged first, since all processes resume with those of rank 0.
    """
    process.average_buffers(state)
    if process.writes:
        save_checkpoint(path, state, optimizer, progress)


def _validate(
    task: Task,
    averaged: dict[str, nn.Module],
    progress: dict[str, Any],
    on_best: Callable[[dict[str, float]], None],
) -> dict[str, float]:
    """Return scores of the averaged weights, and store these if they are the best so far."""
    with _SwappedWeights(task.modules, averaged or task.modules):
        scores = task.validate()
        if not math.isfinite(scores["monitor"]):
            raise TrainingError(
                f"validation at step {progress['step']} scored {scores['monitor']}; "
                "the validation split needs positives and negatives"
            )
        improved = progress["best"] is None or scores["monitor"] > progress["best"]["monitor"]
        if improved:
            on_best(scores)
    progress["stale"] = 0 if improved else progress["stale"] + 1
    progress["best"] = scores if improved else progress["best"]
    return scores


def train_step(
    task: Task,
    optimizer: torch.optim.Optimizer,
    batch: Any,
    step: int,
    config: LoopConfig,
    process: Compute,
) -> dict[str, float]:
    """Train one step on a batch, together with the other processes, and return its terms.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    torch.manual_seed((config.seed * 1_000_003 + step) * process.count + process.rank)  # dropout
    for module in task.modules.values():
        module.train()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate_at(step, config)
    optimizer.zero_grad(set_to_none=True)
    loss, terms = task.loss(batch)
    if not torch.isfinite(loss):
        raise TrainingError(
            f"the loss became {loss.item()} at step {step}; "
            "lower loop.learning_rate, or check model.input.std"
        )
    torch.autograd.backward(loss)
    parameters = [p for g in optimizer.param_groups for p in g["params"]]
    process.average_gradients(parameters)
    torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
    optimizer.step()
    return {"loss": float(loss.detach()), **terms}


def _progress_line(done: int, steps: int, seconds: float, *scores: dict[str, float]) -> str:
    left = seconds / done * (steps - done)
    text = "  ".join(f"{k} {v:.4f}" for part in scores for k, v in part.items())
    return f"step {done}/{steps}  {left / 60:.0f} min left  {text}"
