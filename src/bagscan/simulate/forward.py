"""Noise-free transmission through solids: path lengths, energy groups, average over a pixel.

A single kernel sums attenuation × length over the materials along a ray, for every energy group,
and adds up the groups. It works in single precision: its error is far below the noise of a pixel.
"""

from __future__ import annotations

import numba
import numpy as np

from bagscan.imaging.scanner import Profile, ViewGeometry
from bagscan.physics.materials import material
from bagscan.physics.transmission import Spectral
from bagscan.simulate.assembly import AIR, Assembly
from bagscan.simulate.raster import Rasteriser

TILE_LINES = 16
NOTHING_MM = np.float32(1e-5)  # shorter path lengths are rounding errors
# If the optical depths of a pixel's rays differ by less, they are averaged before the exponential.
# The error is half their variance, at most 1e-4, a fraction of the noise of a pixel.
EVEN = np.float32(0.03)


def line_positions(y_mm: tuple[float, float], pitch_mm: float, per_line: int = 1) -> np.ndarray:
    """Return the belt positions of the rays of all lines, in mm.

    Args:
        y_mm: belt positions where the scan starts and ends.
        pitch_mm: distance between lines.
        per_line: rays per line.

    Returns:
        (lines · per_line,) float64.
    """
    lines = max(1, round((y_mm[1] - y_mm[0]) / pitch_mm))
    return y_mm[0] + pitch_mm * ((np.arange(lines * per_line) + 0.5) / per_line)


def transmission(
    scene: Assembly,
    profile: Profile,
    view: ViewGeometry,
    y_mm: tuple[float, float],
    per_pixel: int = 2,
    mode: str = "groups",
    lines: tuple[int, int] | None = None,
) -> np.ndarray:
    """Return the low and high transmission of a view, without scatter, blur or noise.

    Args:
        scene: solids in the frame of the tunnel.
        profile: scanner.
        view: one of the scanner's views.
        y_mm: belt positions where the scan starts and ends.
        per_pixel: rays of a pixel along each of its two axes.
        mode: ``groups`` (fitted energy groups) or ``exact`` (1 keV bins).
        lines: range of lines to compute, end exclusive; all by default.

    Returns:
        (2, lines, channels) float32, 1 for air.
    """
    y = line_positions(y_mm, profile.line_pitch_mm, per_pixel)
    first, end = lines or (0, len(y) // per_pixel)
    names = sorted(set(scene.material) - {AIR})
    raster = Rasteriser(
        scene.solids(names), view.fan(y[first * per_pixel : end * per_pixel], per_pixel)
    )
    spectral = profile.spectral(mode)
    attenuation = (
        spectral.attenuation_per_mm([material(n) for n in names])
        if names
        else np.zeros((0, len(spectral.weights)))
    )
    return _transmit(raster, attenuation, spectral, end - first, view.width, per_pixel)


def _transmit(
    raster: Rasteriser,
    attenuation: np.ndarray,
    spectral: Spectral,
    n_lines: int,
    n_channels: int,
    per_pixel: int,
) -> np.ndarray:
    out = np.ones((2, n_lines, n_channels), np.float32)
    paths = np.zeros(
        (TILE_LINES * per_pixel, max(1, len(attenuation)), n_channels * per_pixel), np.float32
    )
    weights = np.ascontiguousarray(spectral.weights.T, np.float32)
    # Attenuation in the spectrum of air gives the differences between rays to first order.
    typical = np.ascontiguousarray(attenuation @ spectral.weights[:, 0], np.float32)
    fine = np.ascontiguousarray(attenuation, np.float32)
    for start in range(0, n_lines, TILE_LINES):
        end = min(start + TILE_LINES, n_lines)
        block = paths[: (end - start) * per_pixel]
        block[:] = 0
        raster.paths(start * per_pixel, end * per_pixel, block)
        _spectral_sum(
            block, fine, typical, weights, per_pixel, out[0, start:end], out[1, start:end]
        )
    return out


@numba.njit(cache=True, error_model="numpy")
def _spectral_sum(paths, attenuation, typical, weights, per_pixel, low, high):  # type: ignore[no-untyped-def]
    """Average exp(−Σ µ t) over energies and over the rays of every pixel.

    If the rays of a pixel hardly differ, a single sum at their mean path replaces their average.
    """
    n_materials, n_groups = attenuation.shape
    n_rays, n_channels = per_pixel * per_pixel, low.shape[1]
    share = np.float32(1.0 / n_rays)
    optical = np.empty(n_groups, np.float32)
    depth = np.empty((n_rays, n_channels), np.float32)
    mean = np.empty((n_materials, n_channels), np.float32)
    met = np.empty(n_materials, np.int64)
    for line in range(low.shape[0]):
        depth[:] = 0
        n = 0
        for m in range(n_materials):
            longest = np.float32(0)
            for a in range(per_pixel):
                row = paths[line * per_pixel + a, m]
                for u in range(len(row)):
                    longest = max(longest, abs(row[u]))
            if longest < NOTHING_MM:
                continue
            met[n] = m
            mean[n] = 0
            for a in range(per_pixel):
                row = paths[line * per_pixel + a, m]
                for b in range(per_pixel):
                    for c in range(n_channels):
                        length = row[c * per_pixel + b]
                        mean[n, c] += length * share
                        depth[a * per_pixel + b, c] += length * typical[m]
            n += 1
        for c in range(n_channels):
            smallest, largest = depth[0, c], depth[0, c]
            for r in range(1, n_rays):
                smallest, largest = min(smallest, depth[r, c]), max(largest, depth[r, c])
            if largest < NOTHING_MM and smallest > -NOTHING_MM:
                continue
            if largest - smallest < EVEN:
                optical[:] = 0
                for k in range(n):
                    if abs(mean[k, c]) > NOTHING_MM:
                        for g in range(n_groups):
                            optical[g] += mean[k, c] * attenuation[met[k], g]
                low[line, c], high[line, c] = _sum_groups(optical, weights)
                continue
            sum_low, sum_high = np.float32(0), np.float32(0)
            for a in range(per_pixel):
                for b in range(per_pixel):
                    optical[:] = 0
                    for k in range(n):
                        length = paths[line * per_pixel + a, met[k], c * per_pixel + b]
                        if abs(length) > NOTHING_MM:
                            for g in range(n_groups):
                                optical[g] += length * attenuation[met[k], g]
                    ray_low, ray_high = _sum_groups(optical, weights)
                    sum_low += ray_low
                    sum_high += ray_high
            low[line, c], high[line, c] = sum_low * share, sum_high * share


@numba.njit(cache=True, fastmath=True)
def _sum_groups(optical, weights):  # type: ignore[no-untyped-def]
    low, high = np.float32(0), np.float32(0)
    for g in range(len(optical)):
        passed = _exp_minus(optical[g])
        low += passed * weights[0, g]
        high += passed * weights[1, g]
    return low, high


@numba.njit(cache=True, inline="always")
def _exp_minus(x):  # type: ignore[no-untyped-def]
    """Return e^−x to 1e-5 relative: the Taylor series of x / 128, squared seven times.

    Unlike a call of ``exp``, the loop over groups vectorises. Below 0, where a solid sticks out of
    the one that encloses it, x counts as 0: a power of a few mm of metal would overflow.
    """
    y = -min(max(x, np.float32(0)), np.float32(80.0)) * np.float32(1 / 128)
    e = np.float32(1) + y * (
        np.float32(1)
        + y
        * (
            np.float32(1 / 2)
            + y * (np.float32(1 / 6) + y * (np.float32(1 / 24) + y * np.float32(1 / 120)))
        )
    )
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    return e
