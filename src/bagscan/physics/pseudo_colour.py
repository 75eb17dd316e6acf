"""Conventional pseudo-colour: orange organics, green mixtures and light metals, blue metals.

Hue is a continuous function of effective Z. Lightness follows attenuation as in coloured glass:
doubling the depth of a material squares its colour.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bagscan.physics.effective_z import ZImage, log_attenuation

# RGB at a mean log attenuation of DEPTH, by effective Z.
ANCHORS = {
    7.4: (0.90, 0.52, 0.15),
    9.8: (0.58, 0.60, 0.18),
    12.6: (0.20, 0.60, 0.36),
    16.0: (0.14, 0.50, 0.62),
    20.5: (0.17, 0.36, 0.76),
    30.0: (0.14, 0.27, 0.76),
}
DEPTH = 1.3
BLACK_FROM, BLACK_AT = 2.0, 5.5
METAL_Z = 24.0
N_Z, N_ATTENUATION = 128, 512
SIGMA_Z = 0.5  # assumed for a stored Z
DENSE = 0.05  # low transmission below which an unknown Z means that almost nothing passes


def colour_table() -> np.ndarray:
    """Return the (N_Z, N_ATTENUATION, 3) uint8 colours of Z 5-32 and mean log attenuation 0-6."""
    z = np.linspace(5, 32, N_Z)
    attenuation = np.linspace(0, 6, N_ATTENUATION)
    anchors = np.array(list(ANCHORS.values()))
    glass = np.stack([np.interp(z, list(ANCHORS), anchors[:, c]) for c in range(3)], -1)
    colour = glass[:, None] ** (attenuation / DEPTH)[None, :, None]
    dark = np.clip((attenuation - BLACK_FROM) / (BLACK_AT - BLACK_FROM), 0, 1)
    colour *= 1 - (dark * dark * (3 - 2 * dark))[None, :, None]
    return np.rint(colour * 255).astype(np.uint8)


TABLE = colour_table()


def pseudo_colour(low: np.ndarray, high: np.ndarray, z: ZImage, sharpen: float = 1.0) -> np.ndarray:
    """Return the (3, H, W) uint8 colours of low and high transmission and their Z.

    Args:
        low: (H, W) transmission of the low channel, air = 1.
        high: (H, W) transmission of the high channel, air = 1.
        z: effective Z of the view.
        sharpen: strength of the edge enhancement on the mean log attenuation; 0 to disable it.
    """
    attenuation = (log_attenuation(low, 3e-4) + log_attenuation(high, 3e-4)) / 2
    if sharpen:
        detail = attenuation - ndimage.gaussian_filter(attenuation, 1.6)
        attenuation = np.maximum(
            ndimage.gaussian_filter(attenuation, 0.5) + np.clip(sharpen * detail, -0.3, 0.6), 0
        )
    display_z = np.where(z.impenetrable, np.maximum(z.z, METAL_Z), smooth_z(z))
    i = np.clip(np.rint((display_z - 5) / 27 * (N_Z - 1)), 0, N_Z - 1).astype(int)
    j = np.clip(np.rint(attenuation / 6 * (N_ATTENUATION - 1)), 0, N_ATTENUATION - 1).astype(int)
    return np.ascontiguousarray(TABLE[i, j].transpose(2, 0, 1))


def colour_stored(low: np.ndarray, high: np.ndarray, zeff: np.ndarray) -> np.ndarray:
    """Return the (3, H, W) uint8 colours of a stored view.

    Args:
        low: (H, W) transmission of the low channel, air = 1.
        high: (H, W) transmission of the high channel, air = 1.
        zeff: (H, W) effective Z, 0 where unknown: in air and behind impenetrable objects.
    """
    return pseudo_colour(
        low, high, ZImage(zeff, np.full_like(zeff, SIGMA_Z), (zeff <= 0) & (low < DENSE))
    )


def smooth_z(z: ZImage) -> np.ndarray:
    """Return Z averaged over neighbours by confidence; noisy pixels take the surrounding hue."""
    weight = z.confidence + 1e-4
    return np.asarray(
        ndimage.gaussian_filter(z.z * weight, 1.0) / ndimage.gaussian_filter(weight, 1.0)
    )
