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
class Box:
    """Rows of both views, and columns of each, in pixels.

    Attributes:
        first_row: first row, the same in both views.
        rows: number of rows.
        columns: first column and number of columns, by view.
    """

    first_row: int
    rows: int
    columns: tuple[tuple[int, int], ...]

    @property
    def area(self) -> int:
        """Pixels of both views."""
        return self.rows * sum(number for _, number in self.columns)


@dataclass(frozen=True)
class Window:
    """Window of both views of a scan.

    Attributes:
        scene: packed scene.
        anomalous: True for the scan with the anomaly.
        box: rows and columns.
        poses: poses of both views.
        only_view: number of the only view that is used; None for both.
        devices: numbers of the devices that lie within the window.
        over: window of another scan to lay on top; None for none.
    """

    scene: PackedScene
    anomalous: bool
    box: Box
    poses: tuple[Pose, Pose]
    only_view: int | None
    devices: tuple[int, ...]
    over: Window | None = None


def whole_box(scene: PackedScene) -> Box:
    """Return the box of both whole views."""
    shapes = [view.pixels.shape[1:] for view in scene.views[:VIEWS]]
    return Box(0, max(h for h, _ in shapes), tuple((0, w) for _, w in shapes))


def box_around(scene: PackedScene, device: int, margin_px: int) -> Box:
    """Return the box around a device in both views, with a margin; it can exceed the views."""
    spans = [_span(view, device) for view in scene.views[:VIEWS]]
    first, last = (int(pick(span[end][0] for span in spans)) for end, pick in ((0, min), (1, max)))
    columns = [(int(low[1]), int(high[1] - low[1])) for low, high in spans]
    return Box(
        first - margin_px,
        last - first + 2 * margin_px,
        tuple((start - margin_px, number + 2 * margin_px) for start, number in columns),
    )


def _span(view: PackedView, device: int) -> np.ndarray:
    """Return first and last (row, column) of a device; the middle of the view for none."""
    points = view.device_points[device].astype(int) * LABEL_STRIDE
    if not len(points):
        points = np.array([view.pixels.shape[1:]]) // 2
    return np.stack([points.min(0), points.max(0) + LABEL_STRIDE])


def enlarge(box: Box, least: Box, scene: PackedScene, rng: np.random.Generator) -> Box:
    """Return a random box that contains a box, moved into the views where it fits.

    Args:
        box: box to contain.
        least: smallest size; sides become multiples of 64 px.
        scene: packed scene with the views.
        rng: random generator.
    """
    shapes = [view.pixels.shape[1:] for view in scene.views[:VIEWS]]
    sides = [(box.first_row, box.rows, least.rows, max(h for h, _ in shapes))]
    sides += [
        (first, number, at_least, width)
        for (first, number), (_, at_least), (_, width) in zip(
            box.columns, least.columns, shapes, strict=True
        )
    ]
    placed = []
    for first, number, at_least, available in sides:
        side = _round_up(max(number, at_least))
        start = first - int(rng.integers(side - number + 1))
        placed.append((int(np.clip(start, 0, max(0, available - side))), side))
    return Box(*placed[0], tuple(placed[1:]))


def select_window(
    scene: PackedScene,
    box: Box,
    mirrored: tuple[bool, bool, bool],
    gains: np.ndarray,
    only_view: int | None = None,
) -> Window:
    """Select a window of the benign scan.

    Args:
        scene: packed scene with two views.
        box: rows and columns of the window.
        mirrored: whether to mirror the first view, the second view, and both along the belt.
        gains: (2, 2) factors of log attenuation, by view and energy (low, high).
        only_view: number of the only view to use; None for both.
    """
    poses = []
    for v, (view, is_mirrored, gain) in enumerate(
        zip(scene.views[:VIEWS], mirrored, gains, strict=False)
    ):
        first, last = box.columns[v][0], box.columns[v][0] + _columns_shown(view, box, v) - 1
        top, bottom = float(box.first_row), box.first_row + box.rows - 1.0
        down = (-1.0, bottom) if mirrored[2] else (1.0, top)
        across = (-1.0, float(last)) if is_mirrored else (1.0, float(first))
        matrix = np.array([[down[0], 0, down[1]], [0, across[0], across[1]]])
        poses.append(Pose(matrix, (float(gain[0]), float(gain[1]))))
    devices = [
        k
        for k in range(len(scene.views[0].devices))
        if all(_share(view, k, box, v) >= WHOLE for v, view in enumerate(scene.views[:VIEWS]))
    ]
    return Window(scene, False, box, (poses[0], poses[1]), only_view, tuple(devices))


def _columns_shown(view: PackedView, box: Box, v: int) -> int:
    """Return the number of the box's columns that the view has."""
    first, number = box.columns[v]
    return int(min(number, view.pixels.shape[2] - first))


def _share(view: PackedView, device: int, box: Box, v: int) -> float:
    """Return the share of a device within the box, in [0, 1]."""
    points = view.device_points[device].astype(int) * LABEL_STRIDE
    if not len(points):
        return 0.0
    first, last = (box.first_row, box.columns[v][0]), (box.rows, box.columns[v][1])
    offset = points - np.array(first)
    return float(((offset >= 0) & (offset < np.array(last))).all(1).mean())


def build_pixel_batch(
    shown: Sequence[Window],
    kinds: int,
    images: str,
    noise: float,
    rng: np.random.Generator,
) -> PixelBatch:
    """Build a batch of windows of scans; smaller ones are padded with air.

    Args:
        shown: window of each scan.
        kinds: number of kinds of anomalies, the first categories.
        images: ``raw`` or ``colour``.
        noise: largest standard deviation of noise on the features; 0 for none.
        rng: generator of the noise.
    """
    n = len(shown)
    rows_px = max(_round_up(item.box.rows) for item in shown)
    widths = [max(_round_up(item.box.columns[v][1]) for item in shown) for v in range(VIEWS)]
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
                cells = -(-_columns_shown(view, item.box, v) // CELL_PX)
                has_cell[v * n + k, :, :, :cells] = 1
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


def _build_truth(shown: Sequence[Window], truth: Tensor, has_cell: Tensor) -> BagBatch:
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
