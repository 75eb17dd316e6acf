"""Conventional pseudo-colour: orange organics, green mixtures and light metals, blue metals.

Hue is a continuous function of effective Z. Lightness follows attenuation as in coloured glass:
doubling the depth of a material squares its colour.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bagscan.physics.effective_z import ZImage, log_attenuation
from bagscan.physics.palettes import MAX_ATTENUATION, MAX_Z, MIN_Z, N_ATTENUATION, N_Z, Palette

METAL_Z = 24.0
SIGMA_Z = 0.5  # assumed for a stored Z
DENSE = 0.05  # low transmission below which an unknown Z means that almost nothing passes
TABLE = Palette().table()


def mean_attenuation(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the mean log attenuation of two (H, W) channels, given as transmission."""
    return np.asarray((log_attenuation(low, 3e-4) + log_attenuation(high, 3e-4)) / 2)


def pseudo_colour(
    low: np.ndarray,
    high: np.ndarray,
    z: ZImage,
    sharpen: float = 1.0,
    table: np.ndarray = TABLE,
) -> np.ndarray:
    """Return the (3, H, W) uint8 colours of low and high transmission and their Z.

    Args:
        low: (H, W) transmission of the low channel, air = 1.
        high: (H, W) transmission of the high channel, air = 1.
        z: effective Z of the view.
        sharpen: strength of the edge enhancement on the mean log attenuation; 0 to disable it.
        table: colours, see :meth:`bagscan.physics.palettes.Palette.table`.
    """
    attenuation = mean_attenuation(low, high)
    if sharpen:
        detail = attenuation - ndimage.gaussian_filter(attenuation, 1.6)
        attenuation = np.maximum(
            ndimage.gaussian_filter(attenuation, 0.5) + np.clip(sharpen * detail, -0.3, 0.6), 0
        )
    display_z = np.where(z.impenetrable, np.maximum(z.z, METAL_Z), smooth_z(z))
    z_share = (display_z - MIN_Z) / (MAX_Z - MIN_Z)
    i = np.clip(np.rint(z_share * (N_Z - 1)), 0, N_Z - 1).astype(int)
    depth = attenuation / MAX_ATTENUATION
    j = np.clip(np.rint(depth * (N_ATTENUATION - 1)), 0, N_ATTENUATION - 1).astype(int)
    return np.ascontiguousarray(table[i, j].transpose(2, 0, 1))


def colour_stored(
    low: np.ndarray,
    high: np.ndarray,
    zeff: np.ndarray,
    sharpen: float = 1.0,
    table: np.ndarray = TABLE,
) -> np.ndarray:
    """Return the (3, H, W) uint8 colours of a stored view.

    Args:
        low: (H, W) transmission of the low channel, air = 1.
        high: (H, W) transmission of the high channel, air = 1.
        zeff: (H, W) effective Z, 0 where unknown: in air and behind impenetrable objects.
        sharpen: see :func:`pseudo_colour`.
        table: see :func:`pseudo_colour`.
    """
    z = ZImage(zeff, np.full_like(zeff, SIGMA_Z), (zeff <= 0) & (low < DENSE))
    return pseudo_colour(low, high, z, sharpen, table)


def smooth_z(z: ZImage) -> np.ndarray:
    """Return Z averaged over neighbours by confidence; noisy pixels take the surrounding hue."""
    weight = z.confidence + 1e-4
    return np.asarray(
        ndimage.gaussian_filter(z.z * weight, 1.0) / ndimage.gaussian_filter(weight, 1.0)
    )
