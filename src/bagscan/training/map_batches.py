"""Batches of stored maps of bags, for the training of a two-view network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bagscan.detector.together import VIEWS
from bagscan.training.seen_maps import HALF_CELL, TRUTHS, ScanMaps, SceneMaps

MIN_CELLS = 8  # area of a device from which it gets a verdict
WHOLE = 0.9  # share of a device that must lie within the rows
FAR_BELOW = -8.0  # log-odds of cells outside a view


@dataclass(frozen=True)
class BagBatch:
    """Batch of B bags, padded to one size; all first views precede all second views.

    Attributes:
        merged: (2 B, n, h, w) features.
        anomaly: (2 B, 1, h, w) logits.
        truth: (2 B, 10, h, w), see :func:`bagscan.training.seen_maps.truth_of`.
        there: (2 B, 1, h, w), 1 for cells that the view has, else 0.
        devices: (D, 2, h, w) masks of devices in both views.
        bag: (D,) int64 number of the bag of each device.
        hidden: (D,) 1 if an anomaly is hidden in the device, else 0.
        of_view: (D, 2) log-odds of each device from single views.
    """

    merged: Tensor
    anomaly: Tensor
    truth: Tensor
    there: Tensor
    devices: Tensor
    bag: Tensor
    hidden: Tensor
    of_view: Tensor


@dataclass(frozen=True)
class Shown:
    """Rows of cells of a scan.

    Attributes:
        scene: stored maps.
        anomalous: True for the scan with the anomaly.
        first_row: first row of cells.
        rows: number of rows.
        mirrored: whether to mirror the first view, the second view, and both along the belt.
        only_view: number of the only view that is used; None for both.
    """

    scene: SceneMaps
    anomalous: bool
    first_row: int
    rows: int
    mirrored: tuple[bool, bool, bool] = (False, False, False)
    only_view: int | None = None


def bags_of(shown: Sequence[Shown]) -> BagBatch:
    """Build a batch of rows of scans."""
    scans = [item.scene.scans(item.anomalous) for item in shown]
    n, features = len(shown), scans[0][0].merged.shape[0]
    rows = max(item.rows for item in shown)
    width = max(w for item in shown for _, w in item.scene.shapes)
    merged = np.zeros((VIEWS * n, features, rows, width), np.float16)
    anomaly = np.full((VIEWS * n, 1, rows, width), FAR_BELOW, np.float16)
    truth = np.zeros((VIEWS * n, TRUTHS, rows, width), np.float16)
    has_cell = np.zeros((VIEWS * n, 1, rows, width), np.float32)
    for k, (item, views) in enumerate(zip(shown, scans, strict=True)):
        for v, view in enumerate(views):
            if item.only_view in (None, v):
                row = v * n + k
                _copy_view(item, view, v, (merged[row], anomaly[row], truth[row], has_cell[row]))
    devices = [
        device
        for k, (item, views) in enumerate(zip(shown, scans, strict=True))
        for device in _devices(k, item, views, truth[k::n])
    ]
    masks = np.array([mask for mask, *_ in devices], bool).reshape(-1, VIEWS, rows, width)
    return BagBatch(
        torch.from_numpy(merged).float(),
        torch.from_numpy(anomaly).float(),
        torch.from_numpy(truth).float(),
        torch.from_numpy(has_cell).float(),
        torch.from_numpy(masks).float(),
        torch.tensor([k for _, k, *_ in devices], dtype=torch.long),
        torch.tensor([hidden for _, _, hidden, _ in devices], dtype=torch.float32),
        torch.tensor([verdicts for *_, verdicts in devices], dtype=torch.float32).reshape(
            -1, VIEWS
        ),
    )


def _copy_view(item: Shown, view: ScanMaps, v: int, targets: tuple[np.ndarray, ...]) -> None:
    h, w = view.merged.shape[1:]
    rows = slice(item.first_row, min(h, item.first_row + item.rows))
    sources = (view.merged, view.anomaly, view.truth, np.ones((1, h, w), np.float32))
    for target, source in zip(targets, sources, strict=True):
        cells = source[:, rows, :: -1 if item.mirrored[v] else 1]
        target[:, : cells.shape[1], :w] = cells[:, :: -1 if item.mirrored[2] else 1]


def _devices(
    k: int, item: Shown, views: Sequence[ScanMaps], truth: np.ndarray
) -> list[tuple[np.ndarray, int, float, list[float]]]:
    """Return mask, bag, truth and single-view verdicts of each device within the rows.

    A device whose anomaly is invisible in the used views is left out, since it has no truth.
    """
    devices = []
    for d in range(len(views[0].verdicts)):
        whole = np.array([(view.truth[2 + d] > HALF_CELL).sum() for view in views])
        mask = truth[:, 2 + d] > HALF_CELL
        is_used = np.array([item.only_view in (None, v) for v in range(VIEWS)])
        if (whole < MIN_CELLS).any() or (mask.sum((1, 2)) < WHOLE * whole)[is_used].any():
            continue
        hidden = item.anomalous and d == item.scene.host
        if hidden and not (np.array(item.scene.visible) & is_used).any():
            continue
        devices.append((mask, k, float(hidden), [view.verdicts[d] for view in views]))
    return devices
