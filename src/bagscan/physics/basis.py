"""Two basis materials: what thickness of plastic and of iron would look like a pixel does.

Any material absorbs, to good approximation, like a mixture of two (Alvarez and Macovski 1976). In
thicknesses, objects that lie over one another add; in transmissions they do not multiply, since what
the first hardens the second sees. That makes it the domain to project threats in.
"""

from __future__ import annotations

import numpy as np

from bagscan.physics.materials import material
from bagscan.physics.transmission import Spectral

BASIS = ("pmma", "iron")
ROUNDS = 30


def compose(thickness_mm: np.ndarray, spectral: Spectral) -> np.ndarray:
    """(..., 2) thicknesses of ``BASIS`` -> (..., 2) low and high transmission."""
    return spectral.transmission(
        np.asarray(thickness_mm, float), [material(name) for name in BASIS]
    )


def decompose(low: np.ndarray, high: np.ndarray, spectral: Spectral) -> np.ndarray:
    """(...) low and high transmission -> (..., 2) mm of ``BASIS``; either may be negative.

    Newton's method on the log attenuations, with steps held to where the linear model is good.
    """
    wanted = -np.log(np.clip(np.stack([low, high], -1).astype(float), 1e-6, 4.0))
    mu = spectral.attenuation_per_mm([material(name) for name in BASIS])
    at = np.zeros_like(wanted)
    at[..., 0] = wanted[..., 1] / (mu[0] @ spectral.weights[:, 1])
    for _ in range(ROUNDS):
        passed = np.exp(-at @ mu)
        signal = passed @ spectral.weights
        slope = (
            np.einsum("...g,bg,gc->...cb", passed, mu, spectral.weights, optimize=True)
            / signal[..., None]
        )
        step = np.linalg.solve(slope, (wanted + np.log(signal))[..., None])[..., 0]
        limit = np.array([20.0, 2.0])
        at += step * np.minimum(
            1, np.min(limit / np.maximum(np.abs(step), 1e-12), -1, keepdims=True)
        )
        if np.abs(step).max() < 1e-7:
            break
    return np.asarray(at)


def overlaid(first: np.ndarray, second: np.ndarray, spectral: Spectral) -> np.ndarray:
    """(..., 2) transmission of two things over one another, from that of each."""
    return compose(
        decompose(first[..., 0], first[..., 1], spectral)
        + decompose(second[..., 0], second[..., 1], spectral),
        spectral,
    )
