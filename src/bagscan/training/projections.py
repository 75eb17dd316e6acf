"""Augmentation: an anomaly of another scene, projected into both views of a bag.

Log attenuations add up along a ray (Beer-Lambert law), so the difference between the scans of a
scene with and without its anomaly can be added to another scan. On a device in both views, the
object is hidden in the device or taped to it. On the device in one view and beside it in the other,
it is a loose thing in the bag. Both look the same in one of the views, so a network can only
distinguish them by comparing the views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_dilation

from bagscan.datasets.packed import LABEL_STRIDE, PackedScene
from bagscan.detector.features import CELL_PX
from bagscan.detector.sampling import AIR_COUNTS, Pose, cut
from bagscan.detector.together import VIEWS
from bagscan.training.overlay import superpose

if TYPE_CHECKING:
    from bagscan.training.windows import Window

# Ways of hiding that add something, and neither remove a part of the device nor take its shape.
ADDING = ("cavity_insert", "taped_outside", "between_layers")
SAME_ROW_PX = 8  # two points in different views with rows this close can be the same place
BAG_TRANSMISSION = 0.97  # more is air
BESIDE_PX = 16  # least distance between a loose thing and the device


@dataclass(frozen=True)
class Projection:
    """An anomaly to add.

    Attributes:
        scene: scene of the anomaly.
        poses: map the window to each view of that scene.
        device: number of the device.
        hidden: True if the object lies on the device in both views.
    """

    scene: PackedScene
    poses: tuple[Pose, Pose]
    device: int
    hidden: bool


def can_be_projected(scene: PackedScene) -> bool:
    """Return whether the scene's anomaly only adds something, and both views show it."""
    return scene.about["way"] in ADDING and all(
        view.about["visible"] and len(view.anomaly_points) for view in scene.views[:VIEWS]
    )


def draw_pair(
    window: Window, device: int, scene: PackedScene, rng: np.random.Generator
) -> tuple[Projection, Projection] | None:
    """Draw two places of an anomaly in a window: beside a device, and on it.

    Args:
        window: window of a benign scan with both views.
        device: number of a device within the window.
        scene: scene of the anomaly, see :func:`can_be_projected`.
        rng: random generator.

    Returns:
        The loose and the hidden projection; None if there is no place.
    """
    on_device = [_points_in(window, device, v) for v in range(VIEWS)]
    first = int(rng.integers(VIEWS))  # the view in which both lie on the device
    if not len(on_device[first]):
        return None
    row, column = on_device[first][int(rng.integers(len(on_device[first])))]
    other = on_device[1 - first]
    places = other[np.abs(other[:, 0] - row) <= SAME_ROW_PX, 1]
    spans = _spans(scene)
    bag = _bag_span(window, 1 - first, row)
    beside = _draw_beside(other, row, spans[1 - first], bag, rng)
    if not len(places) or beside is None:
        return None
    flips = rng.choice([-1.0, 1.0], 1 + VIEWS)
    projections = []
    for is_hidden, there in ((False, beside), (True, float(rng.choice(places)))):
        columns = (column, there) if first == 0 else (there, column)
        poses = [_pose(spans[v], row, columns[v], flips[0], flips[1 + v]) for v in range(VIEWS)]
        projections.append(Projection(scene, (poses[0], poses[1]), device, is_hidden))
    return projections[0], projections[1]


def _points_in(window: Window, device: int, v: int) -> np.ndarray:
    """Return rows and columns, in the window, of the device's points that it shows."""
    matrix = window.poses[v].matrix
    points = window.scene.views[v].device_points[device].astype(float) * LABEL_STRIDE
    points = np.asarray((points - matrix[:, 2]) / np.diag(matrix))
    sides = (window.box.rows, window.box.columns[v][1])
    return np.asarray(points[((points >= 0) & (points < sides)).all(1)])


def _bag_span(window: Window, v: int, row: float) -> tuple[float, float]:
    """Return the first and last column of the window at which a row of the view is not air."""
    matrix, width = window.poses[v].matrix, window.box.columns[v][1]
    low = window.scene.views[v].pixels[0]
    line = low[int(np.clip(matrix[0, 0] * row + matrix[0, 2], 0, len(low) - 1))]
    filled = np.flatnonzero(line < BAG_TRANSMISSION * AIR_COUNTS)
    columns = (filled - matrix[1, 2]) / matrix[1, 1]
    columns = columns[(columns >= 0) & (columns < width)]
    return (float(columns.min()), float(columns.max())) if len(columns) else (0.0, 0.0)


@dataclass(frozen=True)
class _Span:
    """Centre and half sides of an anomaly in a view, in pixels."""

    row: float
    column: float
    half_rows: float
    half_columns: float


def _spans(scene: PackedScene) -> list[_Span]:
    """Return the anomaly's span in each view; the rows are the same."""
    points = [view.anomaly_points.astype(float) * LABEL_STRIDE for view in scene.views[:VIEWS]]
    rows = np.concatenate([view_points[:, 0] for view_points in points])
    middle, half = (rows.min() + rows.max()) / 2, np.ptp(rows) / 2
    columns = [view_points[:, 1] for view_points in points]
    return [_Span(middle, (c.min() + c.max()) / 2, half, np.ptp(c) / 2) for c in columns]


def _draw_beside(
    on_device: np.ndarray,
    row: float,
    span: _Span,
    bag: tuple[float, float],
    rng: np.random.Generator,
) -> float | None:
    """Draw a column in the bag, beside the device, for an anomaly; None if there is none."""
    near = on_device[np.abs(on_device[:, 0] - row) <= span.half_rows + BESIDE_PX, 1]
    if not len(near):
        return None
    away = span.half_columns + BESIDE_PX
    left = (bag[0] + span.half_columns, near.min() - away)
    right = (near.max() + away, bag[1] - span.half_columns)
    free = [(low, high) for low, high in (left, right) if high > low]
    if not free:
        return None
    lengths = np.array([high - low for low, high in free])
    low, high = free[int(rng.choice(len(free), p=lengths / lengths.sum()))]
    return float(rng.uniform(low, high))


def _pose(span: _Span, row: float, column: float, down: float, across: float) -> Pose:
    """Return the pose that shows the anomaly's centre at a place of the window."""
    matrix = np.array(
        [[down, 0, span.row - down * row], [0, across, span.column - across * column]]
    )
    return Pose(matrix, (1.0, 1.0))


def project(
    features: np.ndarray, counts: np.ndarray, projection: Projection, v: int, kinds: int
) -> np.ndarray:
    """Add the anomaly to one view of a window, in place.

    Args:
        features: (4, H, W) features, see :mod:`bagscan.detector.features`.
        counts: (128, H / 8, W / 8) label counts; a hidden anomaly is added to its kind.
        projection: what to add.
        v: number of the view.
        kinds: number of kinds of anomalies, the first labels.

    Returns:
        (H / 8, W / 8) bool, True for cells that the anomaly touches.
    """
    view, pose = projection.scene.views[v], projection.poses[v]
    without, added = np.zeros_like(features), np.zeros_like(features)
    added_counts = np.zeros_like(counts)
    cut(view, False, pose, without, added_counts)
    cut(view, True, pose, added, added_counts)
    cells = np.asarray(added_counts[:kinds].max(0) > 0)
    # Other differences between the two scans, such as scatter, are left out.
    mask = binary_dilation(cells).repeat(CELL_PX, 0).repeat(CELL_PX, 1)
    z3 = added[0] * added[3] ** 3 - without[0] * without[3] ** 3
    difference = np.maximum(added[:2] - without[:2], 0) * mask
    superpose(features, difference, np.maximum(z3, 0) * mask)
    if projection.hidden:
        counts[:kinds] = np.maximum(counts[:kinds], added_counts[:kinds])
    return cells


def pair_windows(
    window: Window, device: int, scenes: Sequence[PackedScene], rng: np.random.Generator
) -> tuple[Window, Window] | None:
    """Return a benign window with a loose and with a hidden object; None if there is no place.

    Args:
        window: window of a benign scan.
        device: number of the device.
        scenes: scenes whose anomalies can be projected.
        rng: random generator.
    """
    if window.only_view is not None or device not in window.devices or not scenes:
        return None
    pair = draw_pair(window, device, scenes[int(rng.integers(len(scenes)))], rng)
    if pair is None:
        return None
    return replace(window, projected=pair[0]), replace(window, projected=pair[1])
