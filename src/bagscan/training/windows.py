"""Windows of both views of a bag: whole views, or the surroundings of a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bagscan.datasets.packed import LABEL_STRIDE, PackedScene, PackedView
from bagscan.detector.features import round_up
from bagscan.detector.sampling import Pose
from bagscan.detector.together import VIEWS
from bagscan.training.map_batches import WHOLE
from bagscan.training.projections import Projection


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
        projected: anomaly of another scene to add; None for none.
    """

    scene: PackedScene
    anomalous: bool
    box: Box
    poses: tuple[Pose, Pose]
    only_view: int | None
    devices: tuple[int, ...]
    over: Window | None = None
    projected: Projection | None = None


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


def enlarge(box: Box, min_size: Box, scene: PackedScene, rng: np.random.Generator) -> Box:
    """Return a random box that contains a box, moved into the views where it fits.

    Args:
        box: box to contain.
        min_size: smallest size; sides become multiples of 64 px.
        scene: packed scene with the views.
        rng: random generator.
    """
    shapes = [view.pixels.shape[1:] for view in scene.views[:VIEWS]]
    sides = [(box.first_row, box.rows, min_size.rows, max(h for h, _ in shapes))]
    sides += [
        (first, number, at_least, width)
        for (first, number), (_, at_least), (_, width) in zip(
            box.columns, min_size.columns, shapes, strict=True
        )
    ]
    placed = []
    for first, number, at_least, available in sides:
        side = round_up(max(number, at_least))
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
        first, last = box.columns[v][0], box.columns[v][0] + columns_shown(view, box, v) - 1
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


def columns_shown(view: PackedView, box: Box, v: int) -> int:
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
