"""What the detector sees of a view, 0 in air: log attenuations, their ratio and effective Z of raw scans; what a pixel absorbs of each colour of others."""

from __future__ import annotations

import numpy as np
from numba import njit

from bagscan.core import View
from bagscan.formats.quantities import CHANNEL_NAMES, RGB
from bagscan.physics.pseudo_colour import colour_again

MIN_TRANSMISSION = 1e-3
MIN_HIGH = 0.02  # log attenuation of the high channel below which the ratio means nothing
RATIO_OF_NOTHING, MIN_RATIO, MAX_RATIO = 1.3, 0.8, 3.0
LOW_SCALE, HIGH_SCALE, RATIO_SCALE, Z_SCALE = 0.6, 0.8, 2.0, 1 / 15
N_FEATURES = 4  # of raw scans
CELL_PX = 8  # pixels of a view to a cell of the maps
COLOUR_SCALE = 1.5
# What detectors are made for: quantity, channels and number of features.
IMAGES = {"raw": ("dual_energy", CHANNEL_NAMES, N_FEATURES), "colour": ("pseudo_colour", RGB, 3)}


def features_of(view: View) -> np.ndarray:
    """(C, H, W) float32 of a view with low, high and effective Z, or of one in pseudo-colour."""
    if view.channels == RGB:
        return of_colours(view.pixels)
    return np.asarray(
        features(
            *(
                np.ascontiguousarray(view.pixels[view.channels.index(name)])
                for name in CHANNEL_NAMES
            )
        )
    )


def of_colours(pixels: np.ndarray) -> np.ndarray:
    """(3, H, W) float32 of colours in [0, 1]."""
    return np.asarray((1 - pixels) * np.float32(COLOUR_SCALE), np.float32)


def as_seen(features: np.ndarray, images: str) -> np.ndarray:
    """(B, 4, H, W) raw features as those of a kind of images, ``raw`` or ``colour``."""
    return features if images == "raw" else np.stack([recoloured(crop) for crop in features])


def recoloured(raw: np.ndarray) -> np.ndarray:
    """(3, H, W) features in pseudo-colour of the (4, H, W) features of a raw picture."""
    low, high = np.exp(-raw[0] / LOW_SCALE), np.exp(-raw[1] / HIGH_SCALE)
    return of_colours(colour_again(low, high, raw[3] / np.float32(Z_SCALE)) / np.float32(255))


@njit(inline="always")
def ratio_of(log_low, log_high):  # type: ignore[no-untyped-def]
    """Ratio of log attenuations where the high one is enough, else that of nothing."""
    if log_high <= MIN_HIGH:
        return np.float32(RATIO_OF_NOTHING)
    return min(max(log_low / log_high, np.float32(MIN_RATIO)), np.float32(MAX_RATIO))


@njit(cache=True, nogil=True)
def features(low: np.ndarray, high: np.ndarray, zeff: np.ndarray) -> np.ndarray:
    """(4, H, W) float32 network input of (H, W) transmissions (air = 1) and effective Z (0 where unknown).

    Transmission above 1 is noise of air and counts as 1, so that a scanner which clips air at full scale sees the same.
    """
    height, width = low.shape
    out = np.empty((N_FEATURES, height, width), np.float32)
    for i in range(height):
        for j in range(width):
            log_low = -np.log(min(max(low[i, j], np.float32(MIN_TRANSMISSION)), np.float32(1)))
            log_high = -np.log(min(max(high[i, j], np.float32(MIN_TRANSMISSION)), np.float32(1)))
            out[0, i, j] = log_low * np.float32(LOW_SCALE)
            out[1, i, j] = log_high * np.float32(HIGH_SCALE)
            out[2, i, j] = (
                ratio_of(log_low, log_high) - np.float32(RATIO_OF_NOTHING)
            ) * np.float32(RATIO_SCALE)
            out[3, i, j] = zeff[i, j] * np.float32(Z_SCALE)
    return out
