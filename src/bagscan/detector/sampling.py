"""Crops of packed scenes, rotated, mirrored and scaled, with their labels. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from bagscan.datasets.packed import EMPTY, LABEL_STRIDE, PackedView
from bagscan.detector.features import (
    CELL_PX,
    HIGH_SCALE,
    LOW_SCALE,
    MIN_TRANSMISSION,
    N_FEATURES,
    RATIO_OF_AIR,
    RATIO_SCALE,
    Z_SCALE,
    ratio_of,
    round_up,
)

N_BITS = 128
LABEL_PIXELS_PER_CELL = (CELL_PX // LABEL_STRIDE) ** 2
AIR_COUNTS, Z_PER_COUNT = 60000.0, 1e-3
GAIN = 0.03


def _log_table() -> np.ndarray:
    counts = np.arange(65536, dtype=np.float64)
    return (-np.log(np.clip(counts / AIR_COUNTS, MIN_TRANSMISSION, 1.0))).astype(np.float32)


LOG_TABLE = _log_table()


@dataclass(frozen=True)
class Pose:
    """Placement and gains of a crop.

    Attributes:
        matrix: (2, 3) affine map from (row, column) of the crop to (row, column) of the view.
        gains: factors on the log attenuation of the low and the high channel.
    """

    matrix: np.ndarray
    gains: tuple[float, float]


def draw_pose(
    place: np.ndarray,
    side_px: int,
    rng: np.random.Generator,
    scale: float,
    off_centre: float = 0.35,
) -> Pose:
    """Draw a random pose whose crop contains a point of the view.

    Args:
        place: row and column of the point.
        side_px: side of the crop.
        rng: random generator.
        scale: largest absolute log of the scale factor.
        off_centre: largest distance of the point from the crop's centre along each axis, as a share
            of the side.
    """
    size = math.exp(rng.uniform(-scale, scale))
    angle = rng.uniform(0, 2 * math.pi)
    flip = 1 if rng.random() < 0.5 else -1
    rotation = (
        np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        @ np.diag([1.0, flip])
        * size
    )
    offset = rotation @ (rng.uniform(-off_centre, off_centre, 2) * side_px)
    centre = np.asarray(place, float) - offset
    shift = centre - rotation @ np.full(2, side_px / 2 - 0.5)
    matrix = np.concatenate([rotation, shift[:, None]], 1)
    return Pose(matrix, (float(1 + rng.normal(0, GAIN)), float(1 + rng.normal(0, GAIN))))


def cut(view: PackedView, anomalous: bool, pose: Pose, out: np.ndarray, counts: np.ndarray) -> None:
    """Write the features and labels of a crop into arrays.

    Args:
        view: packed view.
        anomalous: True for the twin with the anomaly.
        pose: placement of the crop.
        out: (4, H, W) float32 output for the features.
        counts: (128, H / 8, W / 8) uint8 output. For each cell and category, the number of the
            cell's 16 label pixels that belong to the category.
    """
    patch = view.patch if anomalous and view.patch.size else view.pixels[:, :0, :0]
    _crop_pixels(
        view.pixels,
        patch,
        view.patch_at[0],
        view.patch_at[1],
        pose.matrix,
        pose.gains[0],
        pose.gains[1],
        LOG_TABLE,
        out,
    )
    counts[:] = 0
    _count_labels(view.labels[int(anomalous)], view.sets, pose.matrix, counts)


@njit(cache=True, nogil=True, fastmath=True)
def _crop_pixels(pixels, patch, top, left, matrix, gain_low, gain_high, log_table, out):  # type: ignore[no-untyped-def]
    height, width = pixels.shape[1], pixels.shape[2]
    bottom, right = top + patch.shape[1], left + patch.shape[2]
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            y = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2]
            x = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2]
            y0, x0 = math.floor(y), math.floor(x)
            if y0 < 0 or x0 < 0 or y0 + 1 >= height or x0 + 1 >= width:
                for k in range(out.shape[0]):
                    out[k, i, j] = 0
                continue
            fy, fx = np.float32(y - y0), np.float32(x - x0)
            a, b = (np.float32(1) - fy) * (np.float32(1) - fx), (np.float32(1) - fy) * fx
            c, d = fy * (np.float32(1) - fx), fy * fx
            if y0 >= top and y0 + 1 < bottom and x0 >= left and x0 + 1 < right:
                source, u, v = patch, y0 - top, x0 - left
            else:
                source, u, v = pixels, y0, x0
            low = (
                a * source[0, u, v]
                + b * source[0, u, v + 1]
                + c * source[0, u + 1, v]
                + d * source[0, u + 1, v + 1]
            )
            high = (
                a * source[1, u, v]
                + b * source[1, u, v + 1]
                + c * source[1, u + 1, v]
                + d * source[1, u + 1, v + 1]
            )
            log_low = log_table[int(low)] * np.float32(gain_low)
            log_high = log_table[int(high)] * np.float32(gain_high)
            out[0, i, j] = log_low * np.float32(LOW_SCALE)
            out[1, i, j] = log_high * np.float32(HIGH_SCALE)
            out[2, i, j] = (ratio_of(log_low, log_high) - np.float32(RATIO_OF_AIR)) * np.float32(
                RATIO_SCALE
            )
            out[3, i, j] = np.float32(source[2, u + (fy > 0.5), v + (fx > 0.5)]) * np.float32(
                Z_PER_COUNT * Z_SCALE
            )


@njit(cache=True, nogil=True)
def _count_labels(labels, sets, matrix, counts):  # type: ignore[no-untyped-def]
    height, width = labels.shape
    max_categories = sets.shape[1]
    step = CELL_PX // 4
    for i in range(counts.shape[1] * 4):
        for j in range(counts.shape[2] * 4):
            r, s = i * step + 0.5 * (step - 1), j * step + 0.5 * (step - 1)
            y = (matrix[0, 0] * r + matrix[0, 1] * s + matrix[0, 2]) / LABEL_STRIDE
            x = (matrix[1, 0] * r + matrix[1, 1] * s + matrix[1, 2]) / LABEL_STRIDE
            y0, x0 = math.floor(y + 0.5), math.floor(x + 0.5)
            if y0 < 0 or x0 < 0 or y0 >= height or x0 >= width:
                continue
            row = labels[y0, x0]
            for k in range(max_categories):
                category = sets[row, k]
                if category == EMPTY:
                    break
                counts[category, i // 4, j // 4] += 1


def whole_view(view: PackedView, anomalous: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return features and label counts of a full view, padded with air to multiples of 64 px.

    Args:
        view: packed view.
        anomalous: True for the twin with the anomaly.

    Returns:
        (4, H, W) float32 features and (128, H / 8, W / 8) uint8 counts, as :func:`cut`.
    """
    height, width = (round_up(side) for side in view.pixels.shape[1:])
    out = np.zeros((N_FEATURES, height, width), np.float32)
    counts = np.zeros((N_BITS, height // CELL_PX, width // CELL_PX), np.uint8)
    identity = Pose(np.array([[1.0, 0, 0], [0, 1.0, 0]]), (1.0, 1.0))
    cut(view, anomalous, identity, out, counts)
    return out, counts
