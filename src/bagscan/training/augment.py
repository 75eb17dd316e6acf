"""Augmentation of scans: what may change without the threat becoming another one.

Geometry: any flip and quarter turn (bags lie as they lie), scale, and crops. Colour: gain and
gamma per channel, brightness of the air, blur and noise, since scanners differ in all of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Z_GAIN = 0.2  # share of a channel's change of gain that effective Z gets


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths; 0 (or 1, 1 for scale) switches one off.

    Attributes:
        crop_px: side of the square crop at working size. scale: range of resizing before it.
        gain, gamma: largest relative change per channel. noise: standard deviation at most.
        near_object: share of crops that must hold an object, where the scan has one.
        threats: share of crops that a simulated threat is projected into; of items, benign ones alone, and
            each is drawn without it too. threat_scale: pixels a mm of threats, from and to.
        jitter: how far, as a share of the crop, the object may lie from its middle.
    """

    crop_px: int = 256
    scale: tuple[float, float] = (0.7, 1.4)
    gain: float = 0.1
    gamma: float = 0.25
    noise: float = 0.02
    near_object: float = 0.7
    jitter: float = 0.35
    threats: float = 0.0
    threat_scale: tuple[float, float] = (0.35, 0.8)

    def __post_init__(self) -> None:
        if self.crop_px < 16:
            raise ValueError(f"crop_px must be at least 16, got {self.crop_px}")
        for name in ("scale", "threat_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(
                    f"{name} must be two ascending factors above 0, got {getattr(self, name)}"
                )
        if not 0 <= self.threats <= 1:
            raise ValueError(f"threats is a share, got {self.threats}")
        if (
            not 0 <= self.near_object <= 1
            or min(self.gain, self.gamma, self.noise, self.jitter) < 0
        ):
            raise ValueError(
                "near_object is a share; gain, gamma, noise and jitter are not below 0"
            )


def draw_crop(
    pixels: np.ndarray,
    masks: np.ndarray,
    config: AugmentConfig,
    rng: np.random.Generator,
    channels: Sequence[str] = (),
    aim: np.ndarray | None = None,
) -> tuple[Tensor, Tensor]:
    """One square of a view, turned, flipped and scaled.

    Args:
        pixels: (C, H, W) float32 in [0, 1], but for effective Z. masks: (A, H, W) bool, A >= 0.
        channels: names, to tell effective Z. aim: masks to crop near, in place of ``masks``.

    Returns:
        (C, P, P) float32 and (A, P, P) bool; outside the view is air (its own 98th percentile; effective Z 0).
        Colours are as they were: :func:`recolour` changes them.
    """
    size, (height, width) = config.crop_px, pixels.shape[-2:]
    window = size / float(np.exp(rng.uniform(*np.log(config.scale))))
    centre = _centre(masks if aim is None else aim, height, width, window, config, rng)
    theta = _window_transform(centre, window, height, width, rng)
    grid = F.affine_grid(theta[None], [1, 1, size, size], align_corners=False)
    air = np.percentile(pixels[:, ::4, ::4], 98, axis=(1, 2)).astype(np.float32)
    air[[k for k, name in enumerate(channels) if name == "zeff"]] = 0
    # grid_sample fills with 0, so air is taken away before and given back after.
    shifted = torch.from_numpy(pixels - air[:, None, None])[None]
    image = (
        F.grid_sample(shifted, grid, align_corners=False)[0] + torch.from_numpy(air)[:, None, None]
    )
    truth = (
        F.grid_sample(
            torch.from_numpy(masks.astype(np.float32))[None],
            grid,
            mode="nearest",
            align_corners=False,
        )[0]
        > 0.5
        if len(masks)
        else torch.zeros(0, size, size, dtype=torch.bool)
    )
    return image, truth


def _centre(
    masks: np.ndarray,
    height: int,
    width: int,
    window: float,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[float, float]:
    if len(masks) and rng.random() < config.near_object:
        rows, cols = np.nonzero(masks[int(rng.integers(len(masks)))])
        if len(rows):
            jitter = rng.uniform(-config.jitter, config.jitter, 2) * window
            return float(rows.mean() + jitter[0]), float(cols.mean() + jitter[1])
    half = [min(window / 2, side / 2) for side in (height, width)]
    return float(rng.uniform(half[0], height - half[0])), float(
        rng.uniform(half[1], width - half[1])
    )


def _window_transform(
    centre: tuple[float, float], window: float, height: int, width: int, rng: np.random.Generator
) -> Tensor:
    """(2, 3) affine map from the square's [-1, 1] to the view's, with a random flip and quarter turn."""
    turn = rng.integers(4) * np.pi / 2
    flip = 1 if rng.random() < 0.5 else -1
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag(
        [flip, 1]
    )
    scale = np.diag([window / width, window / height])
    shift = np.array([[2 * centre[1] / width - 1], [2 * centre[0] / height - 1]])
    return torch.from_numpy(np.concatenate([scale @ rotation, shift], 1).astype(np.float32))


def recolour(
    image: Tensor, config: AugmentConfig, rng: np.random.Generator, names: Sequence[str] = ()
) -> Tensor:
    """(C, P, P) as another scanner would show it: gain, gamma, noise, now and then a blur.

    Args:
        names: of the channels, to tell effective Z.
    """
    channels = len(image)
    common, own = rng.uniform(-1, 1), rng.uniform(-1, 1, channels)
    gamma = torch.from_numpy(np.exp(config.gamma * (0.7 * common + 0.3 * own))).float()
    gain = torch.from_numpy(1 + config.gain * rng.uniform(-1, 1, channels)).float()
    # Effective Z has no gamma and no upper end at 1; its scale is known far better than a brightness.
    is_z = torch.tensor([k < len(names) and names[k] == "zeff" for k in range(channels)])[
        :, None, None
    ]
    bright = image.clamp(1e-3, 1) ** gamma[:, None, None] * gain[:, None, None]
    image = torch.where(is_z, image * (1 + Z_GAIN * (gain[:, None, None] - 1)), bright)
    if config.noise:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        image = image + rng.uniform(0, config.noise) * torch.randn(image.shape, generator=generator)
    if rng.random() < 0.2:
        image = F.avg_pool2d(F.pad(image[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    return torch.where(is_z, image.clamp(min=0), image.clamp(0, 1))
