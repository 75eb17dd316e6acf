"""Checkpoints without pickle: one safetensors file that resumes a run exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bagscan.core.errors import ModelError
from bagscan.core.files import atomic_write


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, entry in state.items()
        for name, value in entry.items()
        if value is not None
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    whole = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        _, index, name = key.split(".", 2)
        state.setdefault(int(index), {})[name] = value
    whole["state"] = state
    optimizer.load_state_dict(whole)


def save_checkpoint(
    path: Path,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """Write modules, optimizer state and progress so that a kill at any moment leaves a whole file.

    Args:
        modules: by name; names must not contain a dot. progress: JSON-serialisable.
    """
    tensors = _optimizer_tensors(optimizer)
    for name, module in modules.items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    with atomic_write(path) as part:
        save_file(tensors, part, metadata={"progress": json.dumps(progress)})


def read_progress(path: Path) -> dict[str, Any]:
    """The progress alone of what :func:`save_checkpoint` wrote.

    Raises:
        ModelError: the file is torn.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress: dict[str, Any] = json.loads(file.metadata()["progress"])
    except (SafetensorError, OSError, KeyError) as error:
        raise ModelError(
            f"{path} is not a checkpoint: {error}; delete it to start again"
        ) from error
    return progress


def load_checkpoint(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Restore what :func:`save_checkpoint` wrote, in place; returns the progress.

    Raises:
        ModelError: the file is torn or belongs to other modules.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            progress: dict[str, Any] = json.loads(file.metadata()["progress"])
    except (SafetensorError, OSError, KeyError) as error:
        raise ModelError(
            f"{path} is not a checkpoint: {error}; delete it to start again"
        ) from error
    for name, module in modules.items():
        prefix = f"{name}."
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise ModelError(f"{path} was written by another configuration: {error}") from error
    _restore_optimizer(optimizer, {k: v for k, v in tensors.items() if k.startswith("optimizer.")})
    return progress
