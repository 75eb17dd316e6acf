"""Threat image projection as augmentation: simulated threats put into crops, more of them than any set holds.

Sources: Bhowmik et al., "The good, the bad and the ugly: evaluating convolutional neural networks for
prohibited item detection using real and synthetically composited X-ray imagery" (2019); the physics
is that of :mod:`bagscan.simulate.tip`. Threats are kept as thicknesses of two basis materials, which
add, so that turning, scaling and thickening one stays right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.formats.quantities import RGB, ZEFF_PER_COUNT
from bagscan.physics.basis import compose, decompose
from bagscan.physics.transmission import Spectral
from bagscan.simulate.anomalies import KINDS, build_anomaly, wanted_size
from bagscan.simulate.imaging import Calibration, image
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.scanner import Scatter, load_profile
from bagscan.simulate.tip import render_threat

BANK = 240
SIZES = (0.8, 1.5)
LEAST_PX = 60
LEAST_SHOWN_PX = 12
THICKER = (0.6, 1.5)
LEAST_TRANSMISSION = 1e-3
MOST_MM = np.array([600.0, 60.0])  # of plastic and iron: more lets nothing through


@dataclass(frozen=True)
class Threat:
    """A threat alone, at 1 mm a pixel: (2, h, w) mm of the basis materials, and its (h, w) bool mask."""

    thickness_mm: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Projector:
    """Threats and the scanner that sees them."""

    threats: tuple[Threat, ...]
    spectral: Spectral
    calibration: Calibration

    def __call__(self, pixels: Tensor, names: Sequence[str], onto: Tensor, rng: np.random.Generator, scale: tuple[float, float]) -> tuple[Tensor, Tensor]:
        """Put one threat into a crop.

        Args:
            pixels: (C, P, P): transmissions, effective Z and colours, told by ``names``; colours alone are
                multiplied, which misjudges dense surroundings. onto: (P, P) bool, where its middle may
                lie; anywhere where that is nowhere. scale: pixels a mm, from and to.

        Returns:
            The new pixels and the threat's (P, P) bool mask; empty where it is larger than the crop.
        """
        thickness, mask = _turned(self.threats[int(rng.integers(len(self.threats)))], rng, scale)
        full = torch.zeros(pixels.shape[-2:], dtype=torch.bool)
        places = onto.nonzero().numpy()
        (height, width), (rows, columns) = mask.shape, full.shape
        if height >= rows or width >= columns or mask.sum() < LEAST_SHOWN_PX:
            return pixels, full
        middle = places[int(rng.integers(len(places)))] if len(places) else rng.integers(min(rows, columns), size=2)
        top, left = (int(np.clip(m - s // 2, 0, p - s)) for m, s, p in zip(middle, mask.shape, full.shape, strict=True))
        window = (slice(top, top + height), slice(left, left + width))
        pixels = pixels.clone()
        patch = pixels[(slice(None), *window)]
        patch[:, mask] = torch.from_numpy(self._seen(patch.numpy(), names, thickness, mask))
        full[window] = torch.from_numpy(mask)
        return pixels, full

    def _seen(self, patch: np.ndarray, names: Sequence[str], thickness_mm: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(C, n) values of a (C, h, w) patch under the mask, with the threat in it."""
        index = {name: k for k, name in enumerate(names)}
        if not {"low", "high"} <= set(names):
            alone = np.ones((2, *mask.shape), np.float32)
            alone[:, mask] = compose(thickness_mm[:, mask].T, self.spectral).T
            return np.asarray(patch[:, mask] * image(alone[0], alone[1], self.calibration).colour[:, mask] / np.float32(255), np.float32)
        pair = patch[[index["low"], index["high"]]].copy()
        under = np.clip(pair[:, mask], LEAST_TRANSMISSION, 1.0)
        there = np.clip(decompose(under[0], under[1], self.spectral), -MOST_MM, MOST_MM)
        pair[:, mask] = compose(there + thickness_mm[:, mask].T, self.spectral).T.clip(LEAST_TRANSMISSION, 1.5)
        imaged = image(pair[0], pair[1], self.calibration)
        found = {"low": pair[0], "high": pair[1], "zeff": imaged.zeff_counts * np.float32(ZEFF_PER_COUNT)}
        found |= dict(zip(RGB, imaged.colour / np.float32(255), strict=True))
        return np.stack([found[name][mask] for name in names]).astype(np.float32)


def _turned(threat: Threat, rng: np.random.Generator, scale: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A threat turned any way, scaled, thickened: (2, h, w) mm and (h, w) bool, cut to what is left of it."""
    angle, size = rng.uniform(0, 2 * np.pi), float(np.exp(rng.uniform(*np.log(scale))))
    flip, thicker = (1 if rng.random() < 0.5 else -1), float(np.exp(rng.uniform(*np.log(THICKER))))
    height, width = threat.mask.shape
    side = int(np.ceil(np.hypot(height, width) * size)) + 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([flip, 1])
    theta = np.diag([side / size / width, side / size / height]) @ turn
    grid = F.affine_grid(torch.tensor(np.concatenate([theta, np.zeros((2, 1))], 1), dtype=torch.float32)[None], [1, 1, side, side], align_corners=False)
    planes = torch.from_numpy(np.concatenate([threat.thickness_mm, threat.mask[None]]).astype(np.float32))[None]
    # What is made smaller is averaged first: sampling alone would drop thin parts.
    if size < 0.75:
        planes = F.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)
    found = F.grid_sample(planes, grid, align_corners=False)[0].numpy()
    mask = found[2] > 0.3
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros((2, 1, 1)), np.zeros((1, 1), bool)
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return thicker * found[(slice(0, 2), *window)].astype(float), mask[window]


@lru_cache(maxsize=2)
def projector(seed: int = 0, count: int = BANK, profile_name: str = "g640") -> Projector:
    """Threats of every kind in turn, from any side; some seconds of rendering, once a process."""
    profile = load_profile(profile_name)
    spectral = profile.spectral()
    found: list[Threat] = []
    index = 0
    while len(found) < count:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        kind = KINDS[index % len(KINDS)]
        index += 1
        built = build_anomaly(kind, wanted_size(kind, rng, SIZES), rng)
        if built is None:
            continue
        turn = rotation_xyz(rng.normal(0, 0.3), rng.normal(0, 0.3), rng.uniform(0, 2 * np.pi))
        threat = render_threat(built.moved(turn), profile)
        if threat.mask.sum() >= LEAST_PX:
            seen = threat.transmission.clip(LEAST_TRANSMISSION, 1.0)
            thickness = np.clip(decompose(seen[0], seen[1], spectral), -MOST_MM, MOST_MM).transpose(2, 0, 1)
            found.append(Threat((thickness * threat.mask).astype(np.float32), threat.mask))
    # Of a crop the scatter is not known, and its own is left in.
    calibration = dataclasses.replace(Calibration.of_profile(profile), scatter=Scatter(share=0.0))
    return Projector(tuple(found), spectral, calibration)
