"""Threat image projection as augmentation: simulated threats multiplied into crops of colour pictures.

Sources: Bhowmik et al., "The good, the bad and the ugly: evaluating convolutional neural networks for
prohibited item detection using real and synthetically composited X-ray imagery" (2019); the physics
is that of :mod:`bagscan.simulate.tip`, whose limits for colour hold here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.simulate.anomalies import KINDS, build_anomaly, wanted_size
from bagscan.simulate.imaging import Calibration, image
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.scanner import load_profile
from bagscan.simulate.tip import render_threat

BANK = 160
SIZES = (0.8, 1.45)
LEAST_PX = 60
SCALE = (0.35, 0.8)  # of a threat at 1 mm a pixel: working sizes have about 2 mm


@dataclass(frozen=True)
class ColourThreat:
    """A threat alone: (3, h, w) colour, white where it is not, and (h, w) bool mask."""

    colour: np.ndarray
    mask: np.ndarray


@lru_cache(maxsize=2)
def colour_bank(seed: int = 0, count: int = BANK, profile_name: str = "g640") -> tuple[ColourThreat, ...]:
    """Threats of every kind in turn, at any angle; a minute of rendering, once a process."""
    profile = load_profile(profile_name)
    calibration = Calibration.of_profile(profile)
    found: list[ColourThreat] = []
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
            colour = image(threat.transmission[0], threat.transmission[1], calibration).colour / np.float32(255)
            found.append(ColourThreat(np.where(threat.mask, colour, 1).astype(np.float32), threat.mask))
    return tuple(found)


def project_threat(pixels: Tensor, onto: Tensor, bank: tuple[ColourThreat, ...], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Multiply one threat of the bank into a crop, at a size drawn from ``SCALE`` of its own.

    Args:
        pixels: (3, P, P) in [0, 1]. onto: (P, P) where its middle may lie; anywhere where that is nowhere.

    Returns:
        The new pixels and the threat's (P, P) bool mask, empty where it is larger than the crop.
    """
    threat = bank[int(rng.integers(len(bank)))]
    turn, flip = int(rng.integers(4)), int(rng.integers(2))
    size = [max(2, round(side * rng.uniform(*SCALE))) for side in threat.mask.shape]
    planes = torch.from_numpy(np.concatenate([threat.colour, threat.mask[None].astype(np.float32)]))[None]
    planes = F.interpolate(planes, size=size, mode="bilinear", antialias=True, align_corners=False)[0].rot90(turn, (1, 2))
    planes = planes.flip(2) if flip else planes
    colour, mask = planes[:3], planes[3] > 0
    (height, width), mask_full = mask.shape, torch.zeros(pixels.shape[-2:], dtype=torch.bool)
    if height >= pixels.shape[1] or width >= pixels.shape[2]:
        return pixels, mask_full
    places = onto.nonzero()
    middle = places[int(rng.integers(len(places)))].numpy() if len(places) else rng.integers(pixels.shape[1], size=2)
    top, left = (int(np.clip(m - s // 2, 0, p - s)) for m, s, p in zip(middle, (height, width), pixels.shape[1:], strict=True))
    pixels = pixels.clone()
    pixels[:, top : top + height, left : left + width] *= colour
    mask_full[top : top + height, left : left + width] = mask
    return pixels, mask_full
