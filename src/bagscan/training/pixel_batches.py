"""Batches of pixels of bags, for the training of all weights of a two-view detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscan.datasets.packed import LABEL_STRIDE, PackedScene, PackedView
from bagscan.detector.features import CELL_PX, N_FEATURES, convert_features
from bagscan.detector.sampling import N_BITS, Pose, cut
from bagscan.detector.together import VIEWS
from bagscan.training.detector_crops import degrade
from bagscan.training.detector_targets import CropBatch
from bagscan.training.map_batches import MIN_CELLS, WHOLE, BagBatch
from bagscan.training.overlay import overlay
from bagscan.training.seen_maps import HALF_CELL, TRUTHS, truth_of

MULTIPLE_PX = 64  # sides of the network's input are multiples of this


@dataclass(frozen=True)
class PixelBatch:
    """Batch of bags.

    Attributes:
        views: features, label counts and device under test of each view.
        bags: truth over both views; its maps are empty.
    """

    views: tuple[CropBatch, ...]
    bags: BagBatch


@dataclass(frozen=True)
class Rows:
    """Rows of pixels of a scan.

    Attributes:
        scene: packed scene.
        anomalous: True for the scan with the anomaly.
        poses: poses of both views.
        only_view: number of the only view that is used; None for both.
        devices: numbers of the devices that lie within the rows.
        over: rows of another scan to lay on top; None for none.
    """

    scene: PackedScene
    anomalous: bool
    poses: tuple[Pose, Pose]
    only_view: int | None
    devices: tuple[int, ...]
    over: Rows | None = None


def select_rows(
    scene: PackedScene,
    first_px: int,
    rows_px: int,
    mirrored: tuple[bool, bool, bool],
    gains: np.ndarray,
    only_view: int | None = None,
) -> Rows:
    """Select rows of both views of the benign scan.

    Args:
        scene: packed scene with two views.
        first_px: first row in pixels.
        rows_px: number of rows in pixels.
        mirrored: whether to mirror the first view, the second view, and both along the belt.
        gains: (2, 2) factors of log attenuation, by view and energy (low, high).
        only_view: number of the only view to use; None for both.
    """
    poses = []
    for view, is_mirrored, gain in zip(scene.views, mirrored, gains, strict=False):
        width = view.pixels.shape[2]
        down = (-1.0, first_px + rows_px - 1.0) if mirrored[2] else (1.0, float(first_px))
        across = (-1.0, width - 1.0) if is_mirrored else (1.0, 0.0)
        matrix = np.array([[down[0], 0, down[1]], [0, across[0], across[1]]])
        poses.append(Pose(matrix, (float(gain[0]), float(gain[1]))))
    devices = [
        k
        for k in range(len(scene.views[0].devices))
        if all(_share(view, k, first_px, rows_px) >= WHOLE for view in scene.views[:VIEWS])
    ]
    return Rows(scene, False, (poses[0], poses[1]), only_view, tuple(devices))


def _share(view: PackedView, device: int, first_px: int, rows_px: int) -> float:
    """Return the share of a device within the rows, in [0, 1]."""
    rows = view.device_points[device][:, 0].astype(int) * LABEL_STRIDE
    return float(((rows >= first_px) & (rows < first_px + rows_px)).mean()) if len(rows) else 0.0


def build_pixel_batch(
    shown: Sequence[Rows],
    rows_px: int,
    kinds: int,
    images: str,
    noise: float,
    rng: np.random.Generator,
) -> PixelBatch:
    """Build a batch of rows of scans.

    Args:
        shown: rows of each scan.
        rows_px: number of rows in pixels, rounded up to a multiple of 64.
        kinds: number of kinds of anomalies, the first categories.
        images: ``raw`` or ``colour``.
        noise: largest standard deviation of noise on the features; 0 for none.
        rng: generator of the noise.
    """
    n = len(shown)
    rows_px = _round_up(rows_px)
    widths = [
        max(_round_up(item.scene.views[v].pixels.shape[2]) for item in shown) for v in range(VIEWS)
    ]
    h, w = rows_px // CELL_PX, max(widths) // CELL_PX
    truth = np.zeros((VIEWS * n, TRUTHS, h, w), np.float32)
    has_cell = np.zeros((VIEWS * n, 1, h, w), np.float32)
    views = []
    for v, width in enumerate(widths):
        features = np.zeros((n, N_FEATURES, rows_px, width), np.float32)
        counts = np.zeros((n, N_BITS, h, width // CELL_PX), np.uint8)
        for k, item in enumerate(shown):
            view = item.scene.views[v]
            cut(view, item.anomalous, item.poses[v], features[k], counts[k])
            if item.over:
                overlay(features[k], counts[k], item.over.scene.views[v], item.over.poses[v])
            if item.only_view in (None, v):
                truth[v * n + k, :, :, : counts.shape[3]] = truth_of(counts[k], kinds)
                has_cell[v * n + k, :, :, : -(-view.pixels.shape[2] // CELL_PX)] = 1
        if noise:
            degrade(features, noise, rng)
        host = torch.tensor([item.scene.views[v].host for item in shown])
        views.append(
            CropBatch(
                torch.from_numpy(convert_features(features, images)), torch.from_numpy(counts), host
            )
        )
    bags = _build_truth(shown, torch.from_numpy(truth), torch.from_numpy(has_cell))
    return PixelBatch(tuple(views), bags)


def _round_up(side_px: int) -> int:
    return -(-side_px // MULTIPLE_PX) * MULTIPLE_PX


def _build_truth(shown: Sequence[Rows], truth: Tensor, has_cell: Tensor) -> BagBatch:
    n, masks, bag, hidden = len(shown), [], [], []
    for k, item in enumerate(shown):
        is_visible = [
            item.only_view in (None, v) and bool(view.about["visible"])
            for v, view in enumerate(item.scene.views[:VIEWS])
        ]
        for d in item.devices:
            mask = truth[k::n, 2 + d] > HALF_CELL
            is_hidden = item.anomalous and d == item.scene.views[0].host
            has_truth = any(is_visible) or not is_hidden  # an invisible anomaly has none
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
