"""Colour features that superpixels compare: any view, as channels in about [0, 26].

SSN scales CIE Lab by 0.26 against positions scaled to 2.5 per cell. Other quantities have no Lab:
they are brought to [0, 100] between robust percentiles of the view itself, then scaled the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

COLOUR_SCALE = 0.26
_SRGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_D65_WHITE = (0.95047, 1.0, 1.08883)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) sRGB in [0, 1] -> CIE Lab under D65 (IEC 61966-2-1), L in [0, 100]."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp(min=0) ** 2.4, rgb / 12.92)
    matrix = rgb.new_tensor(_SRGB_TO_XYZ) / rgb.new_tensor(_D65_WHITE)[:, None]
    xyz = torch.einsum("ij,bjhw->bihw", matrix, linear)
    f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _percentile_scaled(channels: Tensor) -> Tensor:
    """(B, C, H, W) -> the same in [0, 100] between each channel's 1st and 99th percentile."""
    # A strided sample is enough for percentiles and keeps this linear and cheap.
    step = max(1, int((channels.shape[-1] * channels.shape[-2] / 20_000) ** 0.5))
    sample = channels[:, :, ::step, ::step].flatten(2)
    low, high = torch.quantile(sample.float(), sample.new_tensor([0.01, 0.99]).float(), dim=-1)[..., None, None]
    spread = (high - low).clamp(min=1e-6)
    scaled = ((channels - low) / spread).clamp(0, 1) * 100
    return torch.where(high - low > 1e-6, scaled, torch.zeros_like(scaled))


def colour_features(pixels: Tensor, quantity: str, channels: tuple[str, ...] = ()) -> Tensor:
    """What SSN and SLIC compare between pixels, from a view's own pixels.

    Args:
        pixels: (B, C, H, W) float, in the units of ``quantity``.
        quantity: as in :class:`bagscan.core.View`. Three-channel ``pseudo_colour`` becomes Lab,
            ``transmission`` its negative logarithm; everything is then percentile-scaled.
        channels: names, needed for ``dual_energy`` only: all but ``zeff`` are transmission.

    Returns:
        (B, C, H, W) float, about [0, 26].
    """
    if quantity == "pseudo_colour" and pixels.shape[1] == 3:
        return rgb_to_lab(pixels) * COLOUR_SCALE
    if quantity in ("transmission", "dual_energy"):
        is_z = torch.tensor([name == "zeff" for name in channels] or [False] * pixels.shape[1])
        pixels = torch.where(is_z[:, None, None].to(pixels.device), pixels, -pixels.clamp(min=1e-4).log())
    return _percentile_scaled(pixels) * COLOUR_SCALE
