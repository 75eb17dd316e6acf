"""Compiled inner loops of imaging: look-up in the table of Z, and the 3 × 3 median.

The general SciPy functions would take ten times as long.
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True)
def read_z(table, log_h, ratio_start, ratio_step, first, last, log_low, log_high):  # type: ignore[no-untyped-def]
    """Look up Z and ∂Z/∂R by bilinear interpolation.

    Args:
        table: (P, Q) effective Z.
        log_h: (P,) log attenuation of the rows, spaced by a constant ratio.
        ratio_start: R of the first column.
        ratio_step: step of R between columns.
        first: (P,) first column of the range in which the slope is evaluated.
        last: (P,) last column of that range.
        log_low: (N,) low log attenuation.
        log_high: (N,) high log attenuation.

    Returns:
        Two (N,) float32 arrays, both 0 where the high attenuation is below the first row.
    """
    n_rows, n_columns = table.shape
    z, slope = np.zeros(len(log_high), np.float32), np.zeros(len(log_high), np.float32)
    per_row = (n_rows - 1) / np.log(log_h[-1] / log_h[0])
    for k in range(len(log_high)):
        h = log_high[k]
        if h < log_h[0]:
            continue
        i = min(max(int(np.log(h / log_h[0]) * per_row), 0), n_rows - 2)
        if h < log_h[i] and i > 0:  # rounding of the logarithm
            i -= 1
        share = min(max((h - log_h[i]) / (log_h[i + 1] - log_h[i]), 0.0), 1.0)
        column = (log_low[k] / h - ratio_start) / ratio_step
        z[k] = _between(table, i, share, column, n_columns)
        low = first[i] + share * (first[i + 1] - first[i]) + 1
        high = max(last[i] + share * (last[i + 1] - last[i]) - 1, low)
        column = min(max(column, low), high)
        slope[k] = (
            _between(table, i, share, column + 1, n_columns)
            - _between(table, i, share, column - 1, n_columns)
        ) / (2 * ratio_step)
    return z, slope


@numba.njit(cache=True, inline="always")
def _between(table, i, share, column, n_columns):  # type: ignore[no-untyped-def]
    column = min(max(column, 0.0), n_columns - 1.0)
    j = min(int(column), n_columns - 2)
    part = column - j
    upper = table[i, j] + part * (table[i, j + 1] - table[i, j])
    lower = table[i + 1, j] + part * (table[i + 1, j + 1] - table[i + 1, j])
    return upper + share * (lower - upper)


@numba.njit(cache=True)
def median_3x3(image):  # type: ignore[no-untyped-def]
    """Return the median of the 3 × 3 neighbourhood of each pixel, with mirrored edges.

    A sorting network (Smith 1996) finds the fifth of nine values.
    """
    height, width = image.shape
    out = np.empty_like(image)
    p = np.empty(9, image.dtype)
    for y in range(height):
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        for x in range(width):
            left, right = max(x - 1, 0), min(x + 1, width - 1)
            p[0], p[1], p[2] = image[above, left], image[above, x], image[above, right]
            p[3], p[4], p[5] = image[y, left], image[y, x], image[y, right]
            p[6], p[7], p[8] = image[below, left], image[below, x], image[below, right]
            for a, b in (
                (1, 2),
                (4, 5),
                (7, 8),
                (0, 1),
                (3, 4),
                (6, 7),
                (1, 2),
                (4, 5),
                (7, 8),
                (0, 3),
                (5, 8),
                (4, 7),
                (3, 6),
                (1, 4),
                (2, 5),
                (4, 7),
                (4, 2),
                (6, 4),
                (4, 2),
            ):
                low, high = min(p[a], p[b]), max(p[a], p[b])
                p[a], p[b] = low, high
            out[y, x] = p[4]
    return out
