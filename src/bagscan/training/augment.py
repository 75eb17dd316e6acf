"""Augmentation of views and their masks.

Geometry: flips, quarter turns, scaling and cropping.
Intensity: gain, gamma, blur and noise, which differ between scanners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Z_GAIN = 0.2  # share of a channel's change of gain that is applied to effective Z


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of each augmentation; 0 disables it, a scale of (1, 1) disables scaling.

    Attributes:
        crop_px: side of the square crop in pixels at working size.
        scale: lowest and highest factor by which a view is resized before it is cropped.
        gain: largest relative change of gain per channel.
        gamma: largest relative change of gamma per channel.
        noise: largest standard deviation of the noise.
        near_object: share of crops that are centred near an object, if the scan has one.
        jitter: largest distance of the object from the centre of the crop, as a share of its side.
        threats: share of crops that a simulated threat is projected into. Among items, only benign
            ones get a threat, and each is drawn without it as well.
        threat_scale: lowest and highest scale of a threat, in pixels per mm.
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
            raise ValueError(f"threats must be in [0, 1], got {self.threats}")
        if (
            not 0 <= self.near_object <= 1
            or min(self.gain, self.gamma, self.noise, self.jitter) < 0
        ):
            raise ValueError(
                "near_object must be in [0, 1]; gain, gamma, noise and jitter must be at least 0"
            )


def draw_crop(
    pixels: np.ndarray,
    masks: np.ndarray,
    config: AugmentConfig,
    rng: np.random.Generator,
    channels: Sequence[str] = (),
    aim: np.ndarray | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw a square crop of a view, randomly turned, flipped and scaled.

    Intensities are not changed; see :func:`recolour`.

    Args:
        pixels: (C, H, W) float32 in [0, 1], except effective Z.
        masks: (A, H, W) bool, A >= 0.
        channels: channel names, to recognise effective Z.
        aim: (n, H, W) bool masks to crop near; default ``masks``.

    Returns:
        (C, P, P) float32 pixels and (A, P, P) bool masks. Pixels outside the view are air:
        the 98th percentile of the channel, 0 for effective Z.
    """
    size, (height, width) = config.crop_px, pixels.shape[-2:]
    window = size / float(np.exp(rng.uniform(*np.log(config.scale))))
    centre = _draw_centre(masks if aim is None else aim, height, width, window, config, rng)
    theta = _window_transform(centre, window, height, width, rng)
    grid = F.affine_grid(theta[None], [1, 1, size, size], align_corners=False)
    air = np.percentile(pixels[:, ::4, ::4], 98, axis=(1, 2)).astype(np.float32)
    air[[k for k, name in enumerate(channels) if name == "zeff"]] = 0
    # grid_sample pads with 0: subtract air before sampling and add it afterwards.
    relative = torch.from_numpy(pixels - air[:, None, None])[None]
    image = F.grid_sample(relative, grid, align_corners=False)[0]
    image = image + torch.from_numpy(air)[:, None, None]
    if not len(masks):
        return image, torch.zeros(0, size, size, dtype=torch.bool)
    planes = torch.from_numpy(masks.astype(np.float32))[None]
    return image, F.grid_sample(planes, grid, mode="nearest", align_corners=False)[0] > 0.5


def _draw_centre(
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
    margins = [min(window / 2, side / 2) for side in (height, width)]
    row = float(rng.uniform(margins[0], height - margins[0]))
    col = float(rng.uniform(margins[1], width - margins[1]))
    return row, col


def _window_transform(
    centre: tuple[float, float], window: float, height: int, width: int, rng: np.random.Generator
) -> Tensor:
    """Return a (2, 3) affine map from crop to view coordinates, both in [-1, 1].

    It includes a random flip and quarter turn.
    """
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
    """Change gain and gamma, add noise and sometimes blur, as if another scanner took the view.

    Args:
        image: (C, P, P) float32.
        names: channel names, to recognise effective Z.

    Returns:
        (C, P, P) float32: effective Z at least 0, other channels in [0, 1].
    """
    channels = len(image)
    shared, per_channel = rng.uniform(-1, 1), rng.uniform(-1, 1, channels)
    gamma = torch.from_numpy(np.exp(config.gamma * (0.7 * shared + 0.3 * per_channel))).float()
    gain = torch.from_numpy(1 + config.gain * rng.uniform(-1, 1, channels)).float()
    # Effective Z gets no gamma and is not limited to 1. Its scale varies less than brightness.
    is_z = torch.tensor([k < len(names) and names[k] == "zeff" for k in range(channels)])[
        :, None, None
    ]
    intensity = image.clamp(1e-3, 1) ** gamma[:, None, None] * gain[:, None, None]
    image = torch.where(is_z, image * (1 + Z_GAIN * (gain[:, None, None] - 1)), intensity)
    if config.noise:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        image = image + rng.uniform(0, config.noise) * torch.randn(image.shape, generator=generator)
    if rng.random() < 0.2:
        image = F.avg_pool2d(F.pad(image[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    return torch.where(is_z, image.clamp(min=0), image.clamp(0, 1))
