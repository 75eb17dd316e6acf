"""Batches of pixels of bags, for the training of all weights of a two-view detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscan.datasets.packed import IGNORED
from bagscan.detector.features import CELL_PX, N_FEATURES, convert_features, round_up
from bagscan.detector.sampling import LABEL_PIXELS_PER_CELL, N_BITS, cut
from bagscan.detector.together import VIEWS
from bagscan.training.detector_crops import degrade
from bagscan.training.detector_targets import CropBatch
from bagscan.training.map_batches import MIN_CELLS, BagBatch
from bagscan.training.overlay import overlay
from bagscan.training.projections import project
from bagscan.training.seen_maps import HALF_CELL, TRUTHS, truth_of
from bagscan.training.windows import Window, columns_shown


@dataclass(frozen=True)
class PixelBatch:
    """Batch of bags.

    Attributes:
        views: features, label counts and device under test of each view.
        bags: truth over both views; its maps are empty.
    """

    views: tuple[CropBatch, ...]
    bags: BagBatch


def build_pixel_batch(
    windows: Sequence[Window],
    kinds: int,
    images: str,
    noise: float,
    rng: np.random.Generator,
) -> PixelBatch:
    """Build a batch of windows of scans.

    Args:
        windows: window of each scan, all of one size.
        kinds: number of kinds of anomalies, the first categories.
        images: ``raw`` or ``colour``.
        noise: largest standard deviation of noise on the features; 0 for none.
        rng: generator of the noise.
    """
    n = len(windows)
    rows_px = max(round_up(item.box.rows) for item in windows)
    widths = [max(round_up(item.box.columns[v][1]) for item in windows) for v in range(VIEWS)]
    h, w = rows_px // CELL_PX, max(widths) // CELL_PX
    truth = np.zeros((VIEWS * n, TRUTHS, h, w), np.float32)
    has_cell = np.zeros((VIEWS * n, 1, h, w), np.float32)
    views = []
    for v, width in enumerate(widths):
        features = np.zeros((n, N_FEATURES, rows_px, width), np.float32)
        counts = np.zeros((n, N_BITS, h, width // CELL_PX), np.uint8)
        for k, item in enumerate(windows):
            view = item.scene.views[v]
            cut(view, item.anomalous, item.poses[v], features[k], counts[k])
            if item.over:
                overlay(features[k], counts[k], item.over.scene.views[v], item.over.poses[v])
            if item.projected:
                cells = project(features[k], counts[k], item.projected, v, kinds)
            if item.only_view in (None, v):
                truth[v * n + k, :, :, : counts.shape[3]] = truth_of(counts[k], kinds)
                shown_cells = -(-columns_shown(view, item.box, v) // CELL_PX)
                has_cell[v * n + k, :, :, :shown_cells] = 1
            if item.projected:  # ambiguous in one view
                counts[k, IGNORED][cells] = LABEL_PIXELS_PER_CELL
        if noise:
            degrade(features, noise, rng)
        host = [-1 if item.projected else item.scene.views[v].host for item in windows]
        shown = torch.from_numpy(convert_features(features, images))
        views.append(CropBatch(shown, torch.from_numpy(counts), torch.tensor(host)))
    bags = _build_truth(windows, torch.from_numpy(truth), torch.from_numpy(has_cell))
    return PixelBatch(tuple(views), bags)


def _build_truth(windows: Sequence[Window], truth: Tensor, has_cell: Tensor) -> BagBatch:
    n, masks, bag, hidden = len(windows), [], [], []
    for k, item in enumerate(windows):
        is_visible = [
            item.only_view in (None, v) and bool(view.about["visible"])
            for v, view in enumerate(item.scene.views[:VIEWS])
        ]
        for d in item.devices:
            mask = truth[k::n, 2 + d] > HALF_CELL
            is_host = item.anomalous and d == item.scene.views[0].host
            is_hidden = is_host or _is_projected_into(item, d)
            has_truth = any(is_visible) or not is_host  # an invisible anomaly has none
            if mask.sum() >= MIN_CELLS and has_truth:
                masks.append(mask)
                bag.append(k)
                hidden.append(float(is_hidden))
    empty = truth.new_zeros(0)
    devices = torch.stack(masks) if masks else truth.new_zeros((0, VIEWS, *truth.shape[2:]))
    return BagBatch(
        empty,
        empty,
        truth,
        has_cell,
        devices.float(),
        torch.tensor(bag, dtype=torch.long),
        torch.tensor(hidden),
        empty,
    )


def _is_projected_into(item: Window, device: int) -> bool:
    return item.projected is not None and item.projected.hidden and item.projected.device == device
