"""How the best weights of a run are stored, each time that a step is better than all before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from bagscan.datasets.splits import Split
from bagscan.model import Model

Keep = Callable[[dict[str, float]], None]


def model_keeper(model: Model, split: Split, out: Path) -> Keep:
    """Stores a model folder, with its scores and the data that it was trained on."""

    def keep(scores: dict[str, float]) -> None:
        model.about = {
            "training data": split.data_hash,
            "validation": {k: round(v, 4) for k, v in scores.items()},
        }
        model.save(out / "model")

    return keep


def weights_keeper(module: nn.Module, path: Path) -> Keep:
    """Stores a module's weights as safetensors."""

    def keep(scores: dict[str, float]) -> None:
        save_file({k: v.contiguous() for k, v in module.state_dict().items()}, path)

    return keep
