"""Random windows of bags for the training on whole bags, see :mod:`bagscan.training.windows`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bagscan.datasets.packed import PackedScene
from bagscan.detector.features import CELL_PX
from bagscan.detector.sampling import GAIN
from bagscan.detector.together import VIEWS
from bagscan.training.pixel_batches import PixelBatch, build_pixel_batch
from bagscan.training.projections import can_be_projected, pair_windows
from bagscan.training.windows import Box, Window, box_around, enlarge, select_window

if TYPE_CHECKING:
    from bagscan.training.whole_bags import WholeBagsConfig

# Windows are drawn for this many batches at once, and those of similar size form one batch.
SIZES = 3


@dataclass(frozen=True)
class Place:
    """A device to look at: its scene, its number and the box around it."""

    scene: PackedScene
    device: int
    box: Box


class WindowSampler:
    """Source of random batches of windows, each around a device.

    Args:
        config: settings.
        scenes: packed scenes with two views and a device under test.
        kinds: number of kinds of anomalies, the first categories.
        images: ``raw`` or ``colour``.
    """

    def __init__(
        self, config: WholeBagsConfig, scenes: Sequence[PackedScene], kinds: int, images: str
    ) -> None:
        self.config, self.scenes, self.kinds, self.images = config, scenes, kinds, images
        self.projectable = [scene for scene in scenes if can_be_projected(scene)]

    def draw(self, rng: np.random.Generator) -> PixelBatch:
        """Draw bags. Each appears twice with the same window: without and with an anomaly."""
        bags = self.config.bags
        places = [self._draw(rng) for _ in range(SIZES * bags)]
        places.sort(key=lambda item: item.box.area)
        first = int(rng.integers(SIZES)) * bags
        similar = places[first : first + bags]
        size = Box(
            0,
            max(item.box.rows for item in similar),
            tuple((0, max(item.box.columns[v][1] for item in similar)) for v in range(VIEWS)),
        )
        pairs = [self._pair(item, size, rng) for item in similar]
        return build_pixel_batch(
            [window for pair in pairs for window in pair],
            self.kinds,
            self.images,
            self.config.noise,
            rng,
        )

    def _pair(self, place: Place, size: Box, rng: np.random.Generator) -> tuple[Window, Window]:
        """Return the same window of two scans; only the second one has an anomaly."""
        window = self._window(place, size, rng)
        if rng.random() < self.config.overlay:
            window = replace(window, over=self._window(self._draw(rng), size, rng))
        if rng.random() < self.config.projected:
            pair = pair_windows(window, place.device, self.projectable, rng)
            if pair is not None:
                return pair
        return window, replace(window, anomalous=True)

    def _draw(self, rng: np.random.Generator) -> Place:
        """Draw a scene, and the box around one of its devices."""
        scene = self.scenes[int(rng.integers(len(self.scenes)))]
        view = scene.views[0]
        is_host = rng.random() < self.config.host
        device = view.host if is_host else int(rng.integers(len(view.devices)))
        return Place(scene, device, box_around(scene, device, self.config.margin * CELL_PX))

    def _window(self, place: Place, size: Box, rng: np.random.Generator) -> Window:
        flips = rng.random(3) < 0.5
        one_view = rng.random() < self.config.one_view_share
        return select_window(
            place.scene,
            enlarge(place.box, size, place.scene, rng),
            (bool(flips[0]), bool(flips[1]), bool(flips[2])),
            1 + rng.normal(0, GAIN, (VIEWS, 2)),
            int(rng.integers(VIEWS)) if one_view else None,
        )
