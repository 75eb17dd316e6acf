"""Random crops of packed scenes for detector training.

Crops around anomalies are paired with the same crops of their benign twins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bagscan.datasets.packed import LABEL_STRIDE, PackedScene, PackedView
from bagscan.detector.features import CELL_PX, N_FEATURES, convert_features
from bagscan.detector.sampling import N_BITS, cut, draw_pose
from bagscan.imaging.display import Display, draw_display
from bagscan.training.detector_config import DetectorTaskConfig
from bagscan.training.detector_targets import CropBatch
from bagscan.training.overlay import overlay
from bagscan.training.prohibited_places import ProhibitedPlaces

NOISE = np.random.default_rng(0).standard_normal(1 << 21, np.float32)


class CropSampler:
    """Source of random batches of crops; see :class:`DetectorTaskConfig`.

    Args:
        config: settings.
        scenes: packed scenes.
        prohibited: numbers of the classes of prohibited items among the categories.
        images: ``raw`` or ``colour``; colours are computed from the raw crop.
    """

    def __init__(
        self,
        config: DetectorTaskConfig,
        scenes: Sequence[PackedScene],
        prohibited: Sequence[int],
        images: str,
    ) -> None:
        self.config, self.images = config, images
        self.views = [view for scene in scenes for view in scene.views]
        self.anomalous = [
            view for view in self.views if len(view.anomaly_points) and view.host >= 0
        ]
        self.with_devices = [
            (view, k)
            for view in self.views
            for k, points in enumerate(view.device_points)
            if len(points)
        ]
        self.places = ProhibitedPlaces(self.views, prohibited)

    def draw(self, rng: np.random.Generator) -> CropBatch:
        """Draw crops in the order twins, anomalous crops without their twin, benign crops."""
        config = self.config
        side, n = config.crop_px, config.batch
        if rng.random() < config.large:
            side, n = config.large_px, max(round(n * (side / config.large_px) ** 2), 2)
        features = np.empty((n, N_FEATURES, side, side), np.float32)
        counts = np.empty((n, N_BITS, side // CELL_PX, side // CELL_PX), np.uint8)
        device = np.full(n, -1)
        pairs, alone = round(n * config.twins / 2), round(n * config.alone)
        for k in range(n - pairs):
            is_pair, is_benign = k < pairs, k >= pairs + alone
            rows = [2 * k, 2 * k + 1] if is_pair else [pairs + k]
            if is_benign:
                view, number, place = self._draw_benign(rng)
            else:
                view = self.anomalous[int(rng.integers(len(self.anomalous)))]
                number, place = view.host, _draw_point(view.anomaly_points, rng)
            pose = draw_pose(place, side, rng, config.scale)
            for row, is_anomalous in zip(rows, (not is_benign, False), strict=False):
                cut(view, is_anomalous, pose, features[row], counts[row])
                device[row] = number
            if config.overlay and rng.random() < config.overlay:
                self._add_other(features, counts, rows, rng)
        degrade(features, config.noise, rng)
        displays = self._draw_displays(n, pairs, rng) if self.images == "colour" else None
        return CropBatch(
            torch.from_numpy(convert_features(features, self.images, displays)),
            torch.from_numpy(counts),
            torch.from_numpy(device),
        )

    def _draw_benign(self, rng: np.random.Generator) -> tuple[PackedView, int, np.ndarray]:
        """Draw a view, the number of the device that is looked at or -1, and a place in pixels."""
        view, number = self.with_devices[int(rng.integers(len(self.with_devices)))]
        if rng.random() < self.config.clutter:
            return view, -1, rng.random(2) * view.pixels.shape[1:]
        if len(self.places) and rng.random() < self.config.prohibited:
            view, place = self.places.draw(rng)
            return view, -1, place
        return view, number, _draw_point(view.device_points[number], rng)

    def _add_other(
        self,
        features: np.ndarray,
        counts: np.ndarray,
        rows: Sequence[int],
        rng: np.random.Generator,
    ) -> None:
        """Add the same benign contents of another view to some crops, in place."""
        view, number = self.with_devices[int(rng.integers(len(self.with_devices)))]
        place = _draw_point(view.device_points[number], rng)
        pose = draw_pose(place, features.shape[-1], rng, self.config.scale, off_centre=0.7)
        for row in rows:
            overlay(features[row], counts[row], view, pose)

    def _draw_displays(
        self, n: int, pairs: int, rng: np.random.Generator
    ) -> list[Display | None] | None:
        """Draw a display for some of ``n`` crops, the first of which are ``pairs`` of twins."""
        if not self.config.displays:
            return None
        drawn = [
            draw_display(rng) if rng.random() < self.config.displays else None
            for _ in range(n - pairs)
        ]
        return [display for display in drawn[:pairs] for _ in range(2)] + drawn[pairs:]


def _draw_point(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pick one of (n, 2) label points and return its row and column in pixels."""
    return np.asarray(points[int(rng.integers(len(points)))].astype(float) * LABEL_STRIDE)


def degrade(features: np.ndarray, noise: float, rng: np.random.Generator) -> None:
    """Add noise to (B, C, H, W) crops in place, with a random standard deviation up to ``noise``.

    The noise is a random stretch of one fixed field, since drawing a new field is slow. Only the
    first three features get noise.
    """
    for crop in features:
        start = int(rng.integers(len(NOISE) - crop[:3].size))
        crop[:3] += NOISE[start : start + crop[:3].size].reshape(crop[:3].shape) * np.float32(
            rng.uniform(0, noise)
        )
