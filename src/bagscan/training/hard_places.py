"""Places of benign scenes that a detector takes for an anomaly: crops around them teach more than crops anywhere (Sung & Poggio 1998; Felzenszwalb et al. 2010)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bagscan.datasets.packed import FIRST_DEVICE, PackedView
from bagscan.detector.features import CELL_PX, as_seen
from bagscan.detector.model import Detector
from bagscan.detector.sampling import whole_view
from bagscan.training.compute import autocast_bf16, compute

APART_CELLS = 5  # peaks of the map that are nearer to a higher one are parts of it
MAX_A_DEVICE = 3
MIN_CHANCE = 0.05
REPORT_EVERY = 500


@dataclass(frozen=True)
class HardPlace:
    """Attributes: view: without its anomaly. device: its number there. at: row and column in pixels. chance: of an anomaly, as the detector has it."""

    view: PackedView
    device: int
    at: np.ndarray
    chance: float


class HardPlaces:
    """Places to draw from, the more often the surer the detector is of them."""

    def __init__(self, places: Sequence[HardPlace]) -> None:
        self.places = places
        self._up_to = np.cumsum([place.chance for place in places])

    def draw(self, rng: np.random.Generator) -> HardPlace:
        """One of them."""
        return self.places[
            int(np.searchsorted(self._up_to, rng.random() * self._up_to[-1], side="right"))
        ]

    def __len__(self) -> int:
        return len(self.places)


@torch.inference_mode()
def hard_places(
    detector: Detector, views: Sequence[PackedView], report: Callable[[str], None]
) -> HardPlaces:
    """Peaks of a detector's anomaly map on devices of views without their anomaly."""
    network = detector.network.eval().to(memory_format=torch.channels_last)
    found: list[HardPlace] = []
    for done, view in enumerate(views, 1):
        features, counts = whole_view(view, False)
        seen = as_seen(features[None], detector.images)
        with autocast_bf16(compute().device, True):
            logits = network(torch.from_numpy(np.ascontiguousarray(seen))).anomaly.float()
        for device in range(len(view.device_points)):
            mask = torch.from_numpy(counts[FIRST_DEVICE + device] > 0)
            found += [HardPlace(view, device, at, chance) for at, chance in _peaks(logits, mask)]
        if done % REPORT_EVERY == 0 or done == len(views):
            report(f"looked for hard places in {done} of {len(views)} views: {len(found)}")
    return HardPlaces(found)


def _peaks(logits: Tensor, mask: Tensor) -> list[tuple[np.ndarray, float]]:
    """Row and column in pixels, and chance, of the highest peaks of a (1, 1, h, w) map on a (h, w) mask."""
    chance = logits.sigmoid() * mask
    is_peak = (chance == F.max_pool2d(chance, APART_CELLS, 1, APART_CELLS // 2)) & (
        chance > MIN_CHANCE
    )
    cells = is_peak[0, 0].nonzero().numpy()
    chances = chance[0, 0].numpy()[cells[:, 0], cells[:, 1]]
    best = np.argsort(-chances)[:MAX_A_DEVICE]
    return [((cells[k] + 0.5) * CELL_PX, float(chances[k])) for k in best]
