"""Threat image projection: a simulated threat put into a scan that was taken.

Raw scans get it in the basis-material domain, right to half a per cent. Pictures that hold colour
alone can only be multiplied, which is wrong wherever the beam is hardened.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from bagscan.core.errors import DataError
from bagscan.imaging.channels import Calibration, image
from bagscan.imaging.scanner import Profile
from bagscan.physics.basis import overlaid
from bagscan.physics.scatter import remove_scatter
from bagscan.simulate.assembly import Assembly
from bagscan.simulate.forward import line_positions, transmission
from bagscan.simulate.noise import blurred
from bagscan.simulate.raster import Rasteriser

NOTHING = 1e-4


@dataclass(frozen=True)
class Threat:
    """A threat as the scanner would see it alone.

    Attributes:
        transmission: (2, h, w) noise-free. mask: (h, w) bool.
    """

    transmission: np.ndarray
    mask: np.ndarray


def render_threat(threat: Assembly, profile: Profile, height_mm: float = 120.0) -> Threat:
    """A threat alone in the middle of the tunnel, cut out."""
    low, high = threat.bounds
    place = np.array([profile.tunnel_mm[0] / 2, 0, height_mm]) - (low + high) / 2
    place[1] = 6 * profile.line_pitch_mm - low[1]
    alone = threat.moved(None, place)
    y_mm = (0.0, float(high[1] - low[1] + 12 * profile.line_pitch_mm))
    view = profile.views[0].cropped(*alone.bounds, margin=4)
    seen = transmission(alone, profile, view, y_mm)
    raster = Rasteriser(
        alone.solids([]), view.fan(line_positions(y_mm, profile.line_pitch_mm, 2), 2)
    )
    mask = (
        raster.silhouettes(np.zeros(len(alone), np.int64), 1)[0]
        .coarser(2)
        .full((seen.shape[1], seen.shape[2]))
    )
    return Threat(np.stack([blurred(t, profile.blur_px) for t in seen]), mask)


def project(
    raw: np.ndarray, threat: Threat, at: tuple[int, int], profile: Profile, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Put a threat into raw transmissions.

    Args:
        raw: (2, H, W) as measured, air = 1. at: row and column of the threat's first pixel.

    Returns:
        The new (2, H, W) transmissions, the same but where the threat is, and the threat's (H, W) mask.

    Raises:
        DataError: the threat reaches out of the scan.
    """
    window = _window(raw.shape[1:], threat, at)
    share, reach = profile.scatter.share, profile.scatter.sigma_px
    primary = (
        np.stack([remove_scatter(t, share, reach)[window] for t in raw])
        if share
        else raw[(slice(None), *window)]
    )
    there = (threat.transmission < 1 - NOTHING).any(0)
    before = np.clip(primary[:, there].T.astype(float), 1e-5, 1.5)
    after = overlaid(before, threat.transmission[:, there].T.astype(float), profile.spectral())
    photons = np.array([profile.response.low_photons, profile.response.high_photons])
    noisy = with_noise_of_fewer(before, after, photons, rng)
    out, mask = np.array(raw, np.float32), np.zeros(raw.shape[1:], bool)
    patch = out[(slice(None), *window)]
    patch[:, there] += ((noisy - before) / (1 + share)).T
    np.maximum(patch, 0, out=patch)
    mask[window] = threat.mask
    return out, mask


def with_noise_of_fewer(
    before: np.ndarray, after: np.ndarray, photons: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Transmission ``after`` something came into the beam that had ``before``, with noise.

    The bag's noise shrinks with its signal; what the fewer photons have more of is added.

    Args:
        photons: effective number in air, of whatever shape goes with the transmissions.
    """
    missing = np.maximum(after * (1 - after / before), 0) / photons
    return np.asarray(after + np.sqrt(missing) * rng.standard_normal(after.shape))


def project_colour(
    rgb: np.ndarray, threat: Threat, at: tuple[int, int], profile: Profile
) -> tuple[np.ndarray, np.ndarray]:
    """Multiply a threat's colour into a (3, H, W) pseudo-colour picture in [0, 1]; with a warning.

    Raises:
        DataError: the threat reaches out of the picture.
    """
    warnings.warn(
        "colour alone: the threat is multiplied in, which misjudges dense surroundings by up to a third and their hue; raw low and high channels do better",
        stacklevel=2,
    )
    window = _window(rgb.shape[1:], threat, at)
    colour = (
        image(
            threat.transmission[0], threat.transmission[1], Calibration.of_profile(profile)
        ).colour
        / 255
    )
    out, mask = np.array(rgb, np.float32), np.zeros(rgb.shape[1:], bool)
    there = (threat.transmission < 1 - NOTHING).any(0)
    out[(slice(None), *window)] *= np.where(there, colour, 1)
    mask[window] = threat.mask
    return out, mask


def _window(shape: tuple[int, ...], threat: Threat, at: tuple[int, int]) -> tuple[slice, slice]:
    h, w = threat.mask.shape
    if min(at) < 0 or at[0] + h > shape[0] or at[1] + w > shape[1]:
        raise DataError(
            f"the threat covers {h} × {w} pixels from row {at[0]}, column {at[1]}, and the scan has {shape[0]} × {shape[1]}: place it elsewhere"
        )
    return slice(at[0], at[0] + h), slice(at[1], at[1] + w)
