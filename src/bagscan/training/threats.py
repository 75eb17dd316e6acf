"""Threat image projection as augmentation: simulated threats in training crops.

Source: Bhowmik et al., "The good, the bad and the ugly: evaluating convolutional neural networks
for prohibited item detection using real and synthetically composited X-ray imagery" (2019). The
physics is that of :mod:`bagscan.simulate.tip`. A threat is stored as thicknesses of two basis
materials, which add up, so that it can be turned, scaled and thickened.
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
from bagscan.simulate.anomalies import KINDS, build_anomaly, draw_place_size
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.tip import NOTHING, add_missing_noise, render_threat

BANK = 240  # threats of a projector
MIN_PX = 60  # of a threat at 1 mm per pixel
MIN_SHOWN_PX = 12  # of a threat in a crop
THICKER = (0.6, 1.5)  # range of the factor of thickness
MIN_TRANSMISSION = 1e-3
MIN_MM = 1e-3  # of either basis material; a pixel with less is empty
MAX_MM = np.array([600.0, 60.0])  # of plastic and iron; more is opaque


@dataclass(frozen=True)
class Threat:
    """Threat without surroundings, at 1 mm per pixel.

    Attributes:
        thickness_mm: (2, h, w) float32 mm of the basis materials, with the blur of the scanner.
        mask: (h, w) bool.
    """

    thickness_mm: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Projector:
    """Threats, and the scanner that images them.

    A projected threat must differ from the contents of the bag by its presence alone, since a
    network finds any artefact sooner than the threat. Scatter is therefore removed before
    thicknesses are added, and noise is increased for the lower number of photons. Effective Z and
    colours change by the effect of the threat, not by other differences between crop and scan.

    Attributes:
        threats: threats to choose from.
        spectral: spectral model of the scanner.
        calibration: calibration of the imaging, without scatter.
        scatter: share and reach of scatter, in pixels of 1 mm.
        photons: effective number of photons of a pixel of 1 mm in air, low and high energy.
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
        """Project one threat into a crop.

        Args:
            pixels: (C, P, P) float32 transmissions, effective Z and colours. Crops of colours alone
                are multiplied by the colours of the threat, which is inexact for dense contents.
            names: names of the channels.
            onto: (P, P) bool, where the centre of the threat may lie; anywhere if empty.
            rng: random generator.
            scale: lowest and highest scale in pixels per mm.

        Returns:
            The new pixels and the (P, P) bool mask of the threat. The mask is empty if the threat
            does not fit.
        """
        size = float(np.exp(rng.uniform(*np.log(scale))))
        thickness, mask = _draw_pose(self.threats[int(rng.integers(len(self.threats)))], rng, size)
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
            self._project(pixels.numpy(), names, thickness, window, size, rng)
        )
        full[window] = torch.from_numpy(mask)
        return pixels, full

    def _project(
        self,
        pixels: np.ndarray,
        names: Sequence[str],
        thickness_mm: np.ndarray,
        window: tuple[slice, slice],
        pixels_per_mm: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return the (C, h, w) window of (C, P, P) pixels, with the threat in it."""
        occupied: np.ndarray = (np.abs(thickness_mm) > MIN_MM).any(0)
        patch = {name: plane[window].copy() for name, plane in zip(names, pixels, strict=True)}
        if not {"low", "high"} <= set(names):
            transmission = np.ones((2, *occupied.shape), np.float32)
            transmission[:, occupied] = compose(thickness_mm[:, occupied].T, self.spectral).T
            tint = image(transmission[0], transmission[1], self.calibration).colour / np.float32(
                255
            )
            return np.stack(
                [
                    np.where(occupied, patch[name] * tint[RGB.index(name)], patch[name])
                    for name in names
                ]
            ).astype(np.float32)
        transmissions = [pixels[list(names).index(name)] for name in ("low", "high")]
        reach_px = max(4, round(self.scatter.sigma_px * pixels_per_mm))
        without = np.stack(
            [remove_scatter(t, self.scatter.share, reach_px)[window] for t in transmissions]
        ).clip(MIN_TRANSMISSION, 1.0)
        combined = np.where(
            occupied, self._add_threat(without, thickness_mm, occupied, pixels_per_mm, rng), without
        )
        before, after = (image(low, high, self.calibration) for low, high in (without, combined))
        patch |= {
            name: patch[name] + (now - then) / (1 + self.scatter.share)
            for name, now, then in zip(("low", "high"), combined, without, strict=True)
        }
        if "zeff" in names:
            patch["zeff"] = _update_zeff(
                patch["zeff"],
                *(i.zeff_counts * np.float32(ZEFF_PER_COUNT) for i in (before, after)),
            )
        for name, then, now in zip(RGB, before.colour, after.colour, strict=True):
            if name in names:
                patch[name] = (patch[name] + (now.astype(np.float32) - then) / 255).clip(0, 1)
        return np.stack(
            [
                np.where(occupied, patch[name], plane[window])
                for name, plane in zip(names, pixels, strict=True)
            ]
        ).astype(np.float32)

    def _add_threat(
        self,
        without: np.ndarray,
        thickness_mm: np.ndarray,
        occupied: np.ndarray,
        pixels_per_mm: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return (2, h, w) transmissions with the threat, and the noise of fewer photons."""
        combined, background = without.copy(), without[:, occupied]
        thickness = (
            np.clip(decompose(background[0], background[1], self.spectral), -MAX_MM, MAX_MM)
            + thickness_mm[:, occupied].T
        )
        transmission = compose(thickness, self.spectral).T.clip(MIN_TRANSMISSION, 1.5)
        photons = np.array(self.photons)[:, None] / pixels_per_mm**2
        combined[:, occupied] = np.maximum(
            add_missing_noise(background, transmission, photons, rng), MIN_TRANSMISSION
        )
        return combined


def _update_zeff(stored: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Change stored effective Z as the imaged Z changed.

    It is 0 where Z is now undefined, and the imaged Z where it was undefined before.
    """
    offset = np.where((stored > 0) & (before > 0), stored - before, 0)
    return np.asarray(np.where(after > 0, np.maximum(after + offset, 0), 0))


def _draw_pose(
    threat: Threat, rng: np.random.Generator, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Turn and flip a threat at random, scale it to ``size`` pixels per mm, and vary its thickness.

    Returns:
        (2, h, w) mm and (h, w) bool mask, cropped to the threat.
    """
    angle = rng.uniform(0, 2 * np.pi)
    flip, factor = (1 if rng.random() < 0.5 else -1), float(np.exp(rng.uniform(*np.log(THICKER))))
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
    # Average before shrinking: sampling alone would drop thin parts.
    if size < 0.75:
        planes = F.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)
    sampled = F.grid_sample(planes, grid, align_corners=False)[0].numpy()
    mask = sampled[2] > 0.3
    visible = mask | (np.abs(sampled[:2]) > MIN_MM).any(0)
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    if not mask.any():
        return np.zeros((2, 1, 1)), np.zeros((1, 1), bool)
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return factor * sampled[(slice(0, 2), *window)].astype(float), mask[window]


@lru_cache(maxsize=2)
def projector(seed: int = 0, count: int = BANK, profile_name: str = "g640") -> Projector:
    """Render threats of every kind in turn, from random sides, and return their projector.

    This takes some seconds, once per process.

    Args:
        seed: seed of the threats.
        count: number of threats.
        profile_name: profile of the scanner.
    """
    profile = load_profile(profile_name)
    spectral = profile.spectral()
    threats: list[Threat] = []
    index = 0
    while len(threats) < count:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        kind = KINDS[index % len(KINDS)]
        index += 1
        anomaly = build_anomaly(kind, draw_place_size(kind, rng), rng)
        if anomaly is None:
            continue
        turn = rotation_xyz(rng.normal(0, 0.3), rng.normal(0, 0.3), rng.uniform(0, 2 * np.pi))
        threat = render_threat(anomaly.moved(turn), profile)
        if threat.mask.sum() >= MIN_PX:
            transmission = threat.transmission.clip(MIN_TRANSMISSION, 1.0)
            thickness = np.clip(
                decompose(transmission[0], transmission[1], spectral), -MAX_MM, MAX_MM
            ).transpose(2, 0, 1)
            thickness *= (threat.transmission < 1 - NOTHING).any(0)
            threats.append(Threat(thickness.astype(np.float32), threat.mask))
    calibration = Calibration.of_profile(profile)
    # The projector removes scatter from the whole crop before imaging.
    return Projector(
        tuple(threats),
        spectral,
        dataclasses.replace(calibration, scatter=Scatter(share=0.0)),
        profile.scatter,
        calibration.photons,
    )
