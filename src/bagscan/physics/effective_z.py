"""Effective atomic number from low and high transmission.

Wedges of known materials give the ratio R = ln L / ln H of each Z at every high log attenuation.
:class:`ZTable` inverts this relation: it looks up Z from (ln H, R) by bilinear interpolation.

R rises from light to heavy elements only up to about Z = 40. Elements with a K-edge inside the
spectrum read wrong: Pb and W like a light material, Sn and Nd like another metal. Attenuation
reveals some of them. A pixel that absorbs more than a bag full of plastic and still reads light is
marked as impenetrable; this holds from about 1 mm of lead. Two energies alone cannot separate
thinner lead from plastic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bagscan.core.errors import DataError
from bagscan.physics.detector import Response
from bagscan.physics.look_up import median_3x3, read_z
from bagscan.physics.materials import material
from bagscan.physics.transmission import exact

WEDGES = (
    "graphite",
    "polyethylene",
    "pmma",
    "water",
    "ptfe",
    "magnesia",
    "aluminium",
    "silicon",
    "titanium",
    "iron",
    "copper",
    "zinc",
    "zirconium",
)
LOG_H_MIN, LOG_H_MAX = 0.005, 8.0
IMPENETRABLE_LOG_LOW = 6.2  # 0.2 % left: scatter and electronic noise outweigh the signal
# The attenuation of 20 cm of water at a light Z: a bag never holds that along a ray, but a
# millimetre of lead or tungsten reads like it.
TOO_DENSE_LOG_LOW, LIGHT_Z = 4.2, 14.0


@dataclass(frozen=True)
class ZImage:
    """Effective Z of an image.

    Attributes:
        z: (H, W) float32, 0 where the beam is almost unattenuated.
        sigma_z: (H, W) float32, standard deviation expected from the noise. On flat material the
            real deviation is 1.3 to 1.6 times larger, because the median sees pixels that the
            smoothing has just correlated.
        impenetrable: (H, W) bool, True where too little signal is left for a meaningful Z, or where
            the attenuation is too high for the Z that was read.
    """

    z: np.ndarray
    sigma_z: np.ndarray
    impenetrable: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """(H, W) in [0, 1]: 1 / (1 + σ²), one half for σ = 1; 0 where impenetrable or unknown."""
        return np.where(
            self.impenetrable | (self.z == 0), 0, 1 / (1 + np.square(self.sigma_z))
        ).astype(np.float32)


@dataclass(frozen=True)
class ZTable:
    """Effective Z as a function of (ln H, R).

    Attributes:
        log_h: (P,) log attenuation of the high channel, ascending, spaced by a constant ratio.
        ratio: (Q,) R, ascending, evenly spaced.
        z: (P, Q) float32 effective Z.
        span: (P, 2) minimum and maximum R of the wedges; beyond them Z is constant.
    """

    log_h: np.ndarray
    ratio: np.ndarray
    z: np.ndarray
    span: np.ndarray

    def __call__(self, log_low: np.ndarray, log_high: np.ndarray) -> np.ndarray:
        """Return Z of log attenuations; 0 where the high one is below the range of the table."""
        return self.read(log_low, log_high)[0]

    def read(self, log_low: np.ndarray, log_high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Z and ∂Z/∂R.

        Beyond the wedges, the slope is that of the outermost wedge, because Z is not more certain
        there.
        """
        log_low, log_high = np.broadcast_arrays(
            np.asarray(log_low, float), np.asarray(log_high, float)
        )
        step = float(self.ratio[1] - self.ratio[0])
        first, last = (np.ascontiguousarray((s - self.ratio[0]) / step) for s in self.span.T)
        flat = (np.ascontiguousarray(a).ravel() for a in (log_low, log_high))
        z, slope = read_z(self.z, self.log_h, float(self.ratio[0]), step, first, last, *flat)
        return z.reshape(log_low.shape), slope.reshape(log_low.shape)


def table_from_curves(
    z: Sequence[float], curves: Sequence[tuple[np.ndarray, np.ndarray]]
) -> ZTable:
    """Build a table from simulated or measured wedges.

    Args:
        z: effective Z of every wedge, ascending.
        curves: (ln L, ln H) of each wedge's steps as log attenuations, ascending in ln H.

    Raises:
        DataError: there are fewer than two wedges, their Z do not ascend, or a wedge has fewer
            than two ascending steps.
    """
    if len(z) < 2 or len(z) != len(curves) or not np.all(np.diff(z) > 0):
        raise DataError(
            "a table needs two or more wedges in ascending Z with a curve for each wedge; "
            f"got Z = {list(z)} and {len(curves)} curves"
        )
    log_h = np.geomspace(LOG_H_MIN, LOG_H_MAX, 256)
    ratios = []
    for number, (low, high) in zip(z, curves, strict=True):
        low, high = np.asarray(low, float), np.asarray(high, float)
        if (
            low.shape != high.shape
            or low.ndim != 1
            or len(low) < 2
            or not np.all(np.diff(high) > 0)
            or high[0] <= 0
        ):
            raise DataError(
                f"wedge of Z = {number}: ln L and ln H must have the same length of two or more "
                "steps, and ln H must be above 0 and ascending"
            )
        ratios.append(np.interp(log_h, high, low / high))
    # R must increase with Z so that the table can be inverted. Where R of a heavier wedge falls
    # below that of a lighter wedge (strong filtration, K-edges), the heavier wedge is ignored.
    rising = np.maximum.accumulate(np.array(ratios) + 1e-6 * np.arange(len(z))[:, None], axis=0)
    axis = np.linspace(1.0, max(1.5, float(rising.max())), 1024)
    by_ratio = np.array([np.interp(axis, column, z) for column in rising.T], np.float32)
    return ZTable(log_h, axis, by_ratio, np.stack([rising[0], rising[-1]], 1))


def table_from_response(response: Response, wedges: Sequence[str] = WEDGES) -> ZTable:
    """Build the table of a detector model from wedges computed with it."""
    spectral = exact(response)
    materials = sorted((material(name) for name in wedges), key=lambda m: m.effective_z)
    curves = []
    for wedge in materials:
        thickness_mm = np.geomspace(1e-4, 5e3, 900)[:, None]
        log = -np.log(np.maximum(spectral.transmission(thickness_mm, [wedge]), 1e-300))
        keep = np.append(True, np.diff(log[:, 1]) > 1e-12) & (log[:, 1] < 50)
        curves.append((log[keep, 0], log[keep, 1]))
    return table_from_curves([m.effective_z for m in materials], curves)


def log_attenuation(transmission: np.ndarray, floor: float = 1e-5) -> np.ndarray:
    """Return −ln T, with T clipped to [floor, 1]."""
    return np.asarray(-np.log(np.clip(transmission, floor, 1.0)))


def effective_z(
    low: np.ndarray,
    high: np.ndarray,
    table: ZTable,
    photons: tuple[float, float],
    electronic: float = 8.0,
    denoise_px: float = 0.7,
) -> ZImage:
    """Compute the effective Z of a view, its noise and its invalid pixels.

    Args:
        low: (H, W) transmission of the low channel, air = 1.
        high: (H, W) transmission of the high channel, air = 1.
        table: effective Z by (ln H, R).
        photons: effective number in air of the low and high channel; see
            :class:`bagscan.physics.detector.Response`.
        electronic: noise of the electronics in photons.
        denoise_px: σ of the smoothing before the ratio, which noise would bias; 0 to disable it.
    """
    smooth = [_denoise(np.asarray(t, np.float32), denoise_px) for t in (low, high)]
    log_low, log_high = (log_attenuation(t) for t in smooth)
    z, slope = table.read(log_low, log_high)
    variance = [
        (t + electronic**2 / n) / n / np.maximum(t, 1e-5) ** 2
        for t, n in zip(smooth, photons, strict=True)
    ]
    # Smoothing averages about 4πσ² pixels; the median averages 9, two thirds as efficiently.
    averaged = max(1.0, 4 * np.pi * denoise_px**2 * 6) if denoise_px else 1.0
    h = np.maximum(log_high, 1e-3)
    sigma_ratio = np.sqrt((variance[0] + np.square(log_low / h) * variance[1]) / averaged) / h
    impenetrable = (log_low > IMPENETRABLE_LOG_LOW) | (
        (log_low > TOO_DENSE_LOG_LOW) & (z < LIGHT_Z)
    )
    return ZImage(z, (np.abs(slope) * sigma_ratio).astype(np.float32), impenetrable)


def _denoise(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Smooth, then apply a 3 × 3 median, which preserves edges."""
    return np.asarray(median_3x3(ndimage.gaussian_filter(image, sigma_px))) if sigma_px else image
