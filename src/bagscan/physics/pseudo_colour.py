"""Pseudo-colour as operators know it: orange organics, green mixtures and light metals, blue metals.

Hue follows effective Z without steps, lightness follows attenuation, as light through coloured glass:
every material has one colour at one depth, and twice the depth is that colour multiplied by itself.
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
SIGMA_Z, DENSE = (
    0.5,
    0.05,
)  # of a stored Z; low transmission below which one that is not known means that next to nothing passes


def colour_table() -> np.ndarray:
    """(N_Z, N_ATTENUATION, 3) uint8 over Z 5-32 and mean log attenuation 0-6."""
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
    """(H, W) low and high transmission and their Z -> (3, H, W) uint8.

    Args:
        sharpen: strength of the edge enhancement on the mean log attenuation; 0 for none.
    """
    attenuation = (log_attenuation(low, 3e-4) + log_attenuation(high, 3e-4)) / 2
    if sharpen:
        detail = attenuation - ndimage.gaussian_filter(attenuation, 1.6)
        attenuation = np.maximum(
            ndimage.gaussian_filter(attenuation, 0.5) + np.clip(sharpen * detail, -0.3, 0.6), 0
        )
    shown = np.where(z.impenetrable, np.maximum(z.z, METAL_Z), steadied(z))
    i = np.clip(np.rint((shown - 5) / 27 * (N_Z - 1)), 0, N_Z - 1).astype(int)
    j = np.clip(np.rint(attenuation / 6 * (N_ATTENUATION - 1)), 0, N_ATTENUATION - 1).astype(int)
    return np.ascontiguousarray(TABLE[i, j].transpose(2, 0, 1))


def colour_again(low: np.ndarray, high: np.ndarray, zeff: np.ndarray) -> np.ndarray:
    """(3, H, W) uint8 of what a stored scan holds: transmissions and an effective Z of 0 where it is not known.

    It is not known through air, or through what lets nothing pass.
    """
    return pseudo_colour(
        low, high, ZImage(zeff, np.full_like(zeff, SIGMA_Z), (zeff <= 0) & (low < DENSE))
    )


def steadied(z: ZImage) -> np.ndarray:
    """Z averaged over neighbours by confidence: where it is noise, the surroundings' hue is shown."""
    weight = z.confidence + 1e-4
    return np.asarray(
        ndimage.gaussian_filter(z.z * weight, 1.0) / ndimage.gaussian_filter(weight, 1.0)
    )
