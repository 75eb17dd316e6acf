"""Checkpoints as one safetensors file, without pickle, from which a run resumes exactly."""

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
    restored = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        _, index, name = key.split(".", 2)
        state.setdefault(int(index), {})[name] = value
    restored["state"] = state
    optimizer.load_state_dict(restored)


def save_checkpoint(
    path: Path,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """Write modules, optimizer state and progress atomically.

    Args:
        path: file to write.
        modules: by name; names must not contain a dot.
        optimizer: optimizer of the modules.
        progress: JSON-serialisable.
    """
    tensors = _optimizer_tensors(optimizer)
    for name, module in modules.items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata={"progress": json.dumps(progress)})


def read_progress(path: Path) -> dict[str, Any]:
    """Return the progress stored in a checkpoint.

    Raises:
        ModelError: the file is not a complete checkpoint.
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
    """Restore modules and optimizer in place, and return the progress.

    Raises:
        ModelError: the file is not a complete checkpoint, or it belongs to other modules.
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
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise ModelError(
                f"{path} was written with another configuration: {error}; use another run folder"
            ) from error
    _restore_optimizer(optimizer, {k: v for k, v in tensors.items() if k.startswith("optimizer.")})
    return progress
