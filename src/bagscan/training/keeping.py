"""Callbacks that store the best weights of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from bagscan.datasets.splits import Split
from bagscan.model import Model

Keep = Callable[[dict[str, float]], None]


def model_keeper(model: Model, split: Split, out: Path) -> Keep:
    """Return a callback that saves a model folder, with scores and the hash of its data."""

    def keep(scores: dict[str, float]) -> None:
        model.about = {
            "training data": split.data_hash,
            "validation": {k: round(v, 4) for k, v in scores.items()},
        }
        model.save(out / "model")

    return keep


def weights_keeper(module: nn.Module, path: Path) -> Keep:
    """Return a callback that saves the weights of a module as safetensors."""

    def keep(scores: dict[str, float]) -> None:
        save_file({k: v.contiguous() for k, v in module.state_dict().items()}, path)

    return keep
