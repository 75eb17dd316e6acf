"""Threat image projection: insertion of a simulated threat into an existing scan.

In raw scans, the threat is projected in the basis-material domain, accurate to half a per cent. In
colour images, the threat can only be multiplied in, which is inaccurate where the beam is hardened.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from bagscan.core.errors import DataError
from bagscan.imaging.channels import Calibration, image
from bagscan.imaging.scanner import Profile
from bagscan.physics.basis import overlaid
from bagscan.physics.scatter import remove_scatter
from bagscan.simulate.assembly import Assembly
from bagscan.simulate.forward import line_positions, transmission
from bagscan.simulate.noise import blur
from bagscan.simulate.raster import Rasteriser

log = logging.getLogger(__name__)

COLOUR_ALONE = (
    "colour alone: the threat is multiplied in, which is wrong by up to a third in dense "
    "surroundings and distorts hue; use raw low and high channels for accurate results"
)

NOTHING = 1e-4


@dataclass(frozen=True)
class Threat:
    """View of a threat without surroundings.

    Attributes:
        transmission: (2, h, w) noise-free low and high transmission.
        mask: (h, w) bool, pixels of the threat.
    """

    transmission: np.ndarray
    mask: np.ndarray


def render_threat(threat: Assembly, profile: Profile, height_mm: float = 120.0) -> Threat:
    """Render a threat alone in the middle of the tunnel, cropped to the threat.

    Args:
        threat: the threat.
        profile: scanner profile; its first view is used.
        height_mm: height of the centre of the threat in the tunnel.
    """
    low, high = threat.bounds
    place = np.array([profile.tunnel_mm[0] / 2, 0, height_mm]) - (low + high) / 2
    place[1] = 6 * profile.line_pitch_mm - low[1]
    alone = threat.moved(None, place)
    y_mm = (0.0, float(high[1] - low[1] + 12 * profile.line_pitch_mm))
    view = profile.views[0].cropped(*alone.bounds, margin=4)
    clean = transmission(alone, profile, view, y_mm)
    raster = Rasteriser(
        alone.solids([]), view.fan(line_positions(y_mm, profile.line_pitch_mm, 2), 2)
    )
    mask = (
        raster.silhouettes(np.zeros(len(alone), np.int64), 1)[0]
        .coarser(2)
        .full((clean.shape[1], clean.shape[2]))
    )
    return Threat(np.stack([blur(t, profile.blur_px) for t in clean]), mask)


def project(
    raw: np.ndarray, threat: Threat, at: tuple[int, int], profile: Profile, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Project a threat into raw transmissions.

    Args:
        raw: (2, H, W) measured transmission, air = 1.
        threat: threat to project.
        at: row and column of the first pixel of the threat.
        profile: scanner profile.
        rng: source of the added noise.

    Returns:
        The new (2, H, W) float32 transmissions, changed only at the threat, and the (H, W) bool
        mask of the threat.

    Raises:
        DataError: the threat extends beyond the scan.
    """
    window = _window(raw.shape[1:], threat, at)
    share, reach = profile.scatter.share, profile.scatter.sigma_px
    primary = (
        np.stack([remove_scatter(t, share, reach)[window] for t in raw])
        if share
        else raw[(slice(None), *window)]
    )
    covered = (threat.transmission < 1 - NOTHING).any(0)
    before = np.clip(primary[:, covered].T.astype(float), 1e-5, 1.5)
    after = overlaid(before, threat.transmission[:, covered].T.astype(float), profile.spectral())
    photons = np.array([profile.response.low_photons, profile.response.high_photons])
    noisy = add_missing_noise(before, after, photons, rng)
    out, mask = np.array(raw, np.float32), np.zeros(raw.shape[1:], bool)
    patch = out[(slice(None), *window)]
    patch[:, covered] += ((noisy - before) / (1 + share)).T
    np.maximum(patch, 0, out=patch)
    mask[window] = threat.mask
    return out, mask


def add_missing_noise(
    before: np.ndarray, after: np.ndarray, photons: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Add the noise that is missing after an object has been projected into the beam.

    The noise of the measured signal shrinks with the signal. The difference to the photon noise of
    the reduced signal is added.

    Args:
        before: transmission before the projection.
        after: noise-free transmission after it, of the same shape.
        photons: effective number in air, broadcast against the transmissions.
        rng: source of the noise.

    Returns:
        ``after`` with noise.
    """
    missing = np.maximum(after * (1 - after / before), 0) / photons
    return np.asarray(after + np.sqrt(missing) * rng.standard_normal(after.shape))


def project_colour(
    rgb: np.ndarray, threat: Threat, at: tuple[int, int], profile: Profile
) -> tuple[np.ndarray, np.ndarray]:
    """Multiply the colour of a threat into a (3, H, W) pseudo-colour image in [0, 1].

    A warning is logged, because the result is inaccurate.

    Returns:
        The new (3, H, W) float32 image and the (H, W) bool mask of the threat.

    Raises:
        DataError: the threat extends beyond the image.
    """
    log.warning(COLOUR_ALONE)
    window = _window(rgb.shape[1:], threat, at)
    low, high = threat.transmission
    colour = image(low, high, Calibration.of_profile(profile)).colour / 255
    out, mask = np.array(rgb, np.float32), np.zeros(rgb.shape[1:], bool)
    covered = (threat.transmission < 1 - NOTHING).any(0)
    out[(slice(None), *window)] *= np.where(covered, colour, 1)
    mask[window] = threat.mask
    return out, mask


def _window(shape: tuple[int, ...], threat: Threat, at: tuple[int, int]) -> tuple[slice, slice]:
    h, w = threat.mask.shape
    if min(at) < 0 or at[0] + h > shape[0] or at[1] + w > shape[1]:
        raise DataError(
            f"the threat covers {h} × {w} pixels from row {at[0]}, column {at[1]}, and extends "
            f"beyond the scan of {shape[0]} × {shape[1]} pixels; place it elsewhere"
        )
    return slice(at[0], at[0] + h), slice(at[1], at[1] + w)
