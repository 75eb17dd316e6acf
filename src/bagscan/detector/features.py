"""Input features of the detector, 0 in air.

For raw scans: log attenuation of both channels, their ratio, and effective Z. For images in
pseudo-colour: the share of each colour that is absorbed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from bagscan.core import View
from bagscan.formats.quantities import CHANNEL_NAMES, RGB
from bagscan.imaging.display import Display
from bagscan.physics.pseudo_colour import colour_stored

MIN_TRANSMISSION = 1e-3
MIN_HIGH = 0.02  # log attenuation of the high channel at and below which the ratio is only noise
RATIO_OF_AIR, MIN_RATIO, MAX_RATIO = 1.3, 0.8, 3.0
LOW_SCALE, HIGH_SCALE, RATIO_SCALE, Z_SCALE = 0.6, 0.8, 2.0, 1 / 15
N_FEATURES, N_COLOURS = 4, 3  # of raw scans, of images in pseudo-colour
CELL_PX = 8  # side of a cell of the maps, in pixels of the view
MULTIPLE_PX = 64  # sides of the network's input are multiples of this
COLOUR_SCALE = 1.5
# Kinds of images that a detector takes: quantity, channels and number of features.
IMAGES = {
    "raw": ("dual_energy", CHANNEL_NAMES, N_FEATURES),
    "colour": ("pseudo_colour", RGB, N_COLOURS),
}


def round_up(side_px: int) -> int:
    """Round a side of the network's input up to a multiple of 64 px."""
    return -(-side_px // MULTIPLE_PX) * MULTIPLE_PX


def features_of(view: View) -> np.ndarray:
    """Return the (C, H, W) float32 features of a view.

    Args:
        view: in pseudo-colour (C = 3), or with the channels low, high and effective Z (C = 4).
    """
    if view.channels == RGB:
        return of_colours(view.pixels)
    low, high, zeff = (
        np.ascontiguousarray(view.pixels[view.channels.index(name)]) for name in CHANNEL_NAMES
    )
    return np.asarray(features(low, high, zeff))


def of_colours(pixels: np.ndarray) -> np.ndarray:
    """Return the (3, H, W) float32 features of (3, H, W) colours in [0, 1]."""
    return np.asarray((1 - pixels) * np.float32(COLOUR_SCALE), np.float32)


def convert_features(
    features: np.ndarray, images: str, displays: Sequence[Display | None] | None = None
) -> np.ndarray:
    """Convert (B, 4, H, W) raw features to a kind of images.

    Args:
        features: raw features.
        images: ``raw`` returns them unchanged, ``colour`` returns (B, 3, H, W) features.
        displays: display of each image in colour; None for pseudo-colour of this project.
    """
    if images == "raw":
        return features
    shown = displays or [None] * len(features)
    return np.stack([recolour(raw, d) for raw, d in zip(features, shown, strict=True)])


def recolour(raw: np.ndarray, display: Display | None = None) -> np.ndarray:
    """Return the (3, H, W) features of (4, H, W) raw features in pseudo-colour, or on a display."""
    low, high = np.exp(-raw[0] / LOW_SCALE), np.exp(-raw[1] / HIGH_SCALE)
    zeff = raw[3] / np.float32(Z_SCALE)
    colours = display.show(low, high, zeff) if display else colour_stored(low, high, zeff)
    return of_colours(colours / np.float32(255))


@njit(inline="always")
def ratio_of(log_low, log_high):  # type: ignore[no-untyped-def]
    """Return the ratio of log attenuations, clipped to [0.8, 3]; 1.3 if the high one is too low."""
    if log_high <= MIN_HIGH:
        return np.float32(RATIO_OF_AIR)
    return min(max(log_low / log_high, np.float32(MIN_RATIO)), np.float32(MAX_RATIO))


@njit(cache=True, nogil=True)
def features(low: np.ndarray, high: np.ndarray, zeff: np.ndarray) -> np.ndarray:
    """Compute the (4, H, W) float32 network input of a raw view.

    Transmission above 1 is noise in air. It is clipped to 1, so that scanners that clip air at full
    scale give the same features.

    Args:
        low: (H, W) transmission of the low-energy channel, 1 in air.
        high: (H, W) transmission of the high-energy channel, 1 in air.
        zeff: (H, W) effective Z, 0 where unknown.
    """
    height, width = low.shape
    out = np.empty((N_FEATURES, height, width), np.float32)
    for i in range(height):
        for j in range(width):
            log_low = -np.log(min(max(low[i, j], np.float32(MIN_TRANSMISSION)), np.float32(1)))
            log_high = -np.log(min(max(high[i, j], np.float32(MIN_TRANSMISSION)), np.float32(1)))
            out[0, i, j] = log_low * np.float32(LOW_SCALE)
            out[1, i, j] = log_high * np.float32(HIGH_SCALE)
            out[2, i, j] = (ratio_of(log_low, log_high) - np.float32(RATIO_OF_AIR)) * np.float32(
                RATIO_SCALE
            )
            out[3, i, j] = zeff[i, j] * np.float32(Z_SCALE)
    return out
