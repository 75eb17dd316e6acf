"""Hard places: parts of benign scenes that a detector takes for an anomaly.

Crops around them teach more than crops at random places (Sung & Poggio 1998; Felzenszwalb et al.
2010).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bagscan.datasets.packed import FIRST_DEVICE, PackedView
from bagscan.detector.features import CELL_PX, convert_features
from bagscan.detector.model import Detector
from bagscan.detector.sampling import whole_view
from bagscan.training.compute import autocast_bf16, compute

APART_CELLS = 5  # a peak is the maximum of a square of cells with this side
MAX_PER_DEVICE = 3
MIN_CHANCE = 0.05
REPORT_EVERY = 500


@dataclass(frozen=True)
class HardPlace:
    """Place in a benign view with a peak of the anomaly map.

    Attributes:
        view: view, without its anomaly.
        device: number of the device in the view.
        at: (2,) row and column in pixels.
        chance: probability of an anomaly according to the detector.
    """

    view: PackedView
    device: int
    at: np.ndarray
    chance: float


class HardPlaces:
    """Hard places, drawn in proportion to their chance."""

    def __init__(self, places: Sequence[HardPlace]) -> None:
        self.places = places
        self._cumulative = np.cumsum([place.chance for place in places])

    def draw(self, rng: np.random.Generator) -> HardPlace:
        """Draw a place."""
        return self.places[
            int(
                np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], side="right")
            )
        ]

    def __len__(self) -> int:
        return len(self.places)


@torch.inference_mode()
def hard_places(
    detector: Detector, views: Sequence[PackedView], report: Callable[[str], None]
) -> HardPlaces:
    """Find the peaks of a detector's anomaly map on devices of benign views."""
    network = detector.network.eval().to(memory_format=torch.channels_last)
    places: list[HardPlace] = []
    for done, view in enumerate(views, 1):
        features, counts = whole_view(view, False)
        image = convert_features(features[None], detector.images)
        with autocast_bf16(compute().device, True):
            logits = network(torch.from_numpy(np.ascontiguousarray(image))).anomaly.float()
        for device in range(len(view.device_points)):
            mask = torch.from_numpy(counts[FIRST_DEVICE + device] > 0)
            places += [HardPlace(view, device, at, chance) for at, chance in _peaks(logits, mask)]
        if done % REPORT_EVERY == 0 or done == len(views):
            report(f"searched {done} of {len(views)} views: {len(places)} hard places")
    return HardPlaces(places)


def _peaks(logits: Tensor, mask: Tensor) -> list[tuple[np.ndarray, float]]:
    """Return the highest peaks of a (1, 1, h, w) map on a (h, w) mask.

    Each is row and column in pixels, and its chance.
    """
    chance = logits.sigmoid() * mask
    is_peak = (chance == F.max_pool2d(chance, APART_CELLS, 1, APART_CELLS // 2)) & (
        chance > MIN_CHANCE
    )
    cells = is_peak[0, 0].nonzero().numpy()
    chances = chance[0, 0].numpy()[cells[:, 0], cells[:, 1]]
    best = np.argsort(-chances)[:MAX_PER_DEVICE]
    return [((cells[k] + 0.5) * CELL_PX, float(chances[k])) for k in best]
