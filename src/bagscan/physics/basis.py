"""Basis-material decomposition: equivalent thicknesses of plastic and iron for each pixel.

Any material absorbs, to good approximation, like a mixture of two (Alvarez and Macovski 1976).
Thicknesses of overlapping objects add. Their transmissions do not multiply, because the first
object hardens the beam that reaches the second. Threats are therefore projected in this domain.
"""

from __future__ import annotations

import numpy as np

from bagscan.physics.materials import material
from bagscan.physics.transmission import Spectral

BASIS = ("pmma", "iron")
ROUNDS = 30


def compose(thickness_mm: np.ndarray, spectral: Spectral) -> np.ndarray:
    """Return the (..., 2) low and high transmission of (..., 2) thicknesses of ``BASIS`` in mm."""
    return spectral.transmission(
        np.asarray(thickness_mm, float), [material(name) for name in BASIS]
    )


def decompose(low: np.ndarray, high: np.ndarray, spectral: Spectral) -> np.ndarray:
    """Return the (..., 2) thicknesses of ``BASIS`` in mm; a thickness can be negative.

    Newton's method on the log attenuations. Steps are limited to the range in which the linear
    model is accurate.

    Args:
        low: (...) transmission of the low channel.
        high: (...) transmission of the high channel.
        spectral: energies at which transmission is evaluated.
    """
    target = -np.log(np.clip(np.stack([low, high], -1).astype(float), 1e-6, 4.0))
    mu = spectral.attenuation_per_mm([material(name) for name in BASIS])
    thickness = np.zeros_like(target)
    thickness[..., 0] = target[..., 1] / (mu[0] @ spectral.weights[:, 1])
    for _ in range(ROUNDS):
        passed = np.exp(-thickness @ mu)
        signal = passed @ spectral.weights
        slope = (
            np.einsum("...g,bg,gc->...cb", passed, mu, spectral.weights, optimize=True)
            / signal[..., None]
        )
        step = np.linalg.solve(slope, (target + np.log(signal))[..., None])[..., 0]
        limit = np.array([20.0, 2.0])
        thickness += step * np.minimum(
            1, np.min(limit / np.maximum(np.abs(step), 1e-12), -1, keepdims=True)
        )
        if np.abs(step).max() < 1e-7:
            break
    return np.asarray(thickness)


def overlaid(first: np.ndarray, second: np.ndarray, spectral: Spectral) -> np.ndarray:
    """Return the (..., 2) transmission of two overlapping objects from that of each."""
    return compose(
        decompose(first[..., 0], first[..., 1], spectral)
        + decompose(second[..., 0], second[..., 1], spectral),
        spectral,
    )
