"""Stored outputs of every part with weights from a formula, to detect changes of behaviour.

python -m tests.test_golden      # writes tests/golden.json anew; say in the commit why it changed
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bagscan.contracts import Finder
from bagscan.core import View
from bagscan.regions.sub_components import SubComponents
from bagscan.registry import KINDS, builtin_names, part

STORED = Path(__file__).parent / "golden.json"
PARTS = [(kind, name) for kind in KINDS for name in builtin_names(kind)]


@torch.no_grad()
def by_formula(module: torch.nn.Module) -> torch.nn.Module:
    """Weights that do not depend on a random generator or its version."""
    for value in module.parameters():
        wave = torch.sin(1.7 * torch.arange(value.numel(), dtype=torch.float64)).reshape(
            value.shape
        )
        fan_in = value[0].numel() if value.ndim > 1 else 0
        value.copy_(wave * (3 / fan_in) ** 0.5 if fan_in else 1 + 0.1 * wave)
    return module.eval()


def pixels() -> np.ndarray:
    """(3, 48, 64): a bright background with a dark bar and a gradient."""
    image = np.full((3, 48, 64), 0.9, np.float32)
    image *= np.linspace(0.7, 1, 64, dtype=np.float32)
    image[:, 14:30, 20:44] *= np.array([0.2, 0.4, 0.8], np.float32)[:, None, None]
    return image


def grid_of_regions(labels: np.ndarray) -> list[float]:
    """Regions at 6 x 8 places of the view, numbered in the order in which they are met.

    Unlike areas, they change if regions are mirrored or exchanged.
    """
    order: dict[int, int] = {}
    return [float(order.setdefault(int(k), len(order))) for k in labels[4::8, 4::8].ravel()]


@torch.no_grad()
def output(kind: str, name: str) -> list[float]:
    """At most 49 numbers that represent the output of a part."""
    module = part(kind, name)
    torch.manual_seed(0)  # buffers of spectral norm
    built = by_formula(module.build(module.tiny()))
    view = View(pixels(), ("red", "green", "blue"), "pseudo_colour")
    if isinstance(built, Finder):
        # With such weights it is sure of nothing, so the input of its proposals is stored.
        maps = built.detector.backbone(
            built.prepare(torch.from_numpy(pixels())[None], view.channels)
        )
        found = torch.cat([o.flatten() for o in built.detector.rpn.head(list(maps.values()))[0]])
        return [float(v) for v in found[:: max(1, len(found) // 32)][:32]]
    if kind == "regions":
        # Of items and parts, take the parts, since no item is found.
        cutter = built.parts if isinstance(built, SubComponents) else built
        regions = cutter.regions(view)
        return [float(regions.n), *grid_of_regions(regions.labels)]
    if kind == "encoders":
        labels = torch.from_numpy(
            (np.arange(48)[:, None] // 12 * 4 + np.arange(64)[None] // 16).astype(np.int64)
        )[None]
        found = built(torch.from_numpy(pixels())[None], labels, torch.tensor([[0, 5], [0, 9]]))
        step = (found.numel() // 32) | 1  # odd, to take values of every column
        return [float(v) for v in found.flatten()[::step][:32]]
    dim = built.config.dim
    return [float(v) for v in built.score(torch.sin(torch.arange(dim * 4.0)).reshape(4, dim))]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_output_is_the_stored_one(kind, name):
    stored = json.loads(STORED.read_text())
    assert f"{kind}.{name}" in stored, "a new part: run python -m tests.test_golden"
    assert output(kind, name) == pytest.approx(stored[f"{kind}.{name}"], rel=2e-3, abs=1e-4)


def test_stored_outputs_are_small_and_of_parts_that_exist():
    assert STORED.stat().st_size < 50_000
    stored = json.loads(STORED.read_text())
    assert set(stored) == {f"{kind}.{name}" for kind, name in PARTS}
    assert all(
        np.ptp(values) > 0
        for key, values in stored.items()
        if key not in ("regions.whole_image", "scorers.isolation")
    )  # an empty forest gives a constant


if __name__ == "__main__":
    STORED.write_text(
        json.dumps(
            {f"{kind}.{name}": [round(v, 6) for v in output(kind, name)] for kind, name in PARTS},
            indent=1,
        )
        + "\n"
    )
