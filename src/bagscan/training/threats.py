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
from bagscan.imaging.channels import Calibration, image
from bagscan.imaging.scanner import Scatter, load_profile
from bagscan.physics.basis import compose, decompose
from bagscan.physics.scatter import remove_scatter
from bagscan.physics.transmission import Spectral
from bagscan.simulate.anomalies import KINDS, build_anomaly, wanted_size
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.tip import NOTHING, render_threat, with_noise_of_fewer

BANK = 240
MIN_PX = 60
MIN_SHOWN_PX = 12
THICKER = (0.6, 1.5)
MIN_TRANSMISSION = 1e-3
MIN_MM = 1e-3  # of either basis material: less is nothing
MAX_MM = np.array([600.0, 60.0])  # of plastic and iron: more lets nothing through


@dataclass(frozen=True)
class Threat:
    """A threat alone, at 1 mm a pixel: (2, h, w) mm of the basis materials, blurred as the scanner does, and its (h, w) bool mask."""

    thickness_mm: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Projector:
    """Threats and the scanner that sees them.

    What is projected must differ from what was in the bag by nothing but being there: a network finds
    any other tell sooner than the threat. So scatter comes off before thicknesses are added, what fewer photons
    have more of in noise is added, and effective Z and colours change by what the threat changes in them,
    not by what a crop is imaged otherwise than its scan was.

    Attributes:
        scatter: share and reach in pixels of 1 mm. photons: effective number of a pixel of 1 mm in air, low and high.
    """

    threats: tuple[Threat, ...]
    spectral: Spectral
    calibration: Calibration
    scatter: Scatter
    photons: tuple[float, float]

    def __call__(
        self,
        pixels: Tensor,
        names: Sequence[str],
        onto: Tensor,
        rng: np.random.Generator,
        scale: tuple[float, float],
    ) -> tuple[Tensor, Tensor]:
        """Put one threat into a crop.

        Args:
            pixels: (C, P, P): transmissions, effective Z and colours, told by ``names``; colours alone are
                multiplied, which misjudges dense surroundings. onto: (P, P) bool, where its middle may
                lie; anywhere where that is nowhere. scale: pixels a mm, from and to.

        Returns:
            The new pixels and the threat's (P, P) bool mask; empty where it is larger than the crop.
        """
        size = float(np.exp(rng.uniform(*np.log(scale))))
        thickness, mask = _turned(self.threats[int(rng.integers(len(self.threats)))], rng, size)
        full = torch.zeros(pixels.shape[-2:], dtype=torch.bool)
        places = onto.nonzero().numpy()
        (height, width), (rows, columns) = mask.shape, full.shape
        if height >= rows or width >= columns or mask.sum() < MIN_SHOWN_PX:
            return pixels, full
        middle = (
            places[int(rng.integers(len(places)))]
            if len(places)
            else rng.integers(min(rows, columns), size=2)
        )
        top, left = (
            int(np.clip(m - s // 2, 0, p - s))
            for m, s, p in zip(middle, mask.shape, full.shape, strict=True)
        )
        window = (slice(top, top + height), slice(left, left + width))
        pixels = pixels.clone()
        pixels[(slice(None), *window)] = torch.from_numpy(
            self._seen(pixels.numpy(), names, thickness, window, size, rng)
        )
        full[window] = torch.from_numpy(mask)
        return pixels, full

    def _seen(
        self,
        pixels: np.ndarray,
        names: Sequence[str],
        thickness_mm: np.ndarray,
        window: tuple[slice, slice],
        pixels_per_mm: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """(C, h, w) of the window of (C, P, P) pixels with the threat in it."""
        there: np.ndarray = (np.abs(thickness_mm) > MIN_MM).any(0)
        patch = {name: plane[window].copy() for name, plane in zip(names, pixels, strict=True)}
        if not {"low", "high"} <= set(names):
            alone = np.ones((2, *there.shape), np.float32)
            alone[:, there] = compose(thickness_mm[:, there].T, self.spectral).T
            tint = image(alone[0], alone[1], self.calibration).colour / np.float32(255)
            return np.stack(
                [
                    np.where(there, patch[name] * tint[RGB.index(name)], patch[name])
                    for name in names
                ]
            ).astype(np.float32)
        measured = [pixels[list(names).index(name)] for name in ("low", "high")]
        reach_px = max(4, round(self.scatter.sigma_px * pixels_per_mm))
        without = np.stack(
            [remove_scatter(t, self.scatter.share, reach_px)[window] for t in measured]
        ).clip(MIN_TRANSMISSION, 1.0)
        loaded = np.where(
            there, self._behind(without, thickness_mm, there, pixels_per_mm, rng), without
        )
        before, after = (image(low, high, self.calibration) for low, high in (without, loaded))
        patch |= {
            name: patch[name] + (now - then) / (1 + self.scatter.share)
            for name, now, then in zip(("low", "high"), loaded, without, strict=True)
        }
        if "zeff" in names:
            patch["zeff"] = _changed(
                patch["zeff"],
                *(i.zeff_counts * np.float32(ZEFF_PER_COUNT) for i in (before, after)),
            )
        for name, then, now in zip(RGB, before.colour, after.colour, strict=True):
            if name in names:
                patch[name] = (patch[name] + (now.astype(np.float32) - then) / 255).clip(0, 1)
        return np.stack(
            [
                np.where(there, patch[name], plane[window])
                for name, plane in zip(names, pixels, strict=True)
            ]
        ).astype(np.float32)

    def _behind(
        self,
        without: np.ndarray,
        thickness_mm: np.ndarray,
        there: np.ndarray,
        pixels_per_mm: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """(2, h, w) transmissions with the threat added where it is ``there``, noise of the fewer photons and all."""
        out, under = without.copy(), without[:, there]
        thickness = (
            np.clip(decompose(under[0], under[1], self.spectral), -MAX_MM, MAX_MM)
            + thickness_mm[:, there].T
        )
        passed = compose(thickness, self.spectral).T.clip(MIN_TRANSMISSION, 1.5)
        photons = np.array(self.photons)[:, None] / pixels_per_mm**2
        out[:, there] = np.maximum(
            with_noise_of_fewer(under, passed, photons, rng), MIN_TRANSMISSION
        )
        return out


def _changed(stored: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Effective Z as stored, changed as a crop's own changed; 0 where Z now means nothing, the crop's own where it meant nothing."""
    offset = np.where((stored > 0) & (before > 0), stored - before, 0)
    return np.asarray(np.where(after > 0, np.maximum(after + offset, 0), 0))


def _turned(threat: Threat, rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    """A threat turned any way, ``size`` pixels a mm, thickened: (2, h, w) mm and (h, w) bool, cut to what is left of it."""
    angle = rng.uniform(0, 2 * np.pi)
    flip, thicker = (1 if rng.random() < 0.5 else -1), float(np.exp(rng.uniform(*np.log(THICKER))))
    height, width = threat.mask.shape
    side = int(np.ceil(np.hypot(height, width) * size)) + 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag(
        [flip, 1]
    )
    theta = np.diag([side / size / width, side / size / height]) @ turn
    grid = F.affine_grid(
        torch.tensor(np.concatenate([theta, np.zeros((2, 1))], 1), dtype=torch.float32)[None],
        [1, 1, side, side],
        align_corners=False,
    )
    planes = torch.from_numpy(
        np.concatenate([threat.thickness_mm, threat.mask[None]]).astype(np.float32)
    )[None]
    # What is made smaller is averaged first: sampling alone would drop thin parts.
    if size < 0.75:
        planes = F.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)
    found = F.grid_sample(planes, grid, align_corners=False)[0].numpy()
    mask = found[2] > 0.3
    shown = mask | (np.abs(found[:2]) > MIN_MM).any(0)
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    if not mask.any():
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
        built = build_anomaly(kind, wanted_size(kind, rng), rng)
        if built is None:
            continue
        turn = rotation_xyz(rng.normal(0, 0.3), rng.normal(0, 0.3), rng.uniform(0, 2 * np.pi))
        threat = render_threat(built.moved(turn), profile)
        if threat.mask.sum() >= MIN_PX:
            seen = threat.transmission.clip(MIN_TRANSMISSION, 1.0)
            thickness = np.clip(decompose(seen[0], seen[1], spectral), -MAX_MM, MAX_MM).transpose(
                2, 0, 1
            )
            thickness *= (threat.transmission < 1 - NOTHING).any(0)
            found.append(Threat(thickness.astype(np.float32), threat.mask))
    calibration = Calibration.of_profile(profile)
    # Scatter is taken off beforehand, from all of the crop.
    return Projector(
        tuple(found),
        spectral,
        dataclasses.replace(calibration, scatter=Scatter(share=0.0)),
        profile.scatter,
        calibration.photons,
    )
