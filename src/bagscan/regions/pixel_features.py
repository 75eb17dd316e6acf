"""Colour features that superpixels compare: any view, as channels in about [0, 26].

SSN scales CIE Lab by 0.26 against positions scaled to 2.5 per cell. Other quantities have no Lab:
they are brought to [0, 100] between robust percentiles of the view itself, then scaled the same.

One kernel for training and for every runtime: through the array API standard it takes NumPy arrays and torch
tensors alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace

COLOUR_SCALE = 0.26
_SRGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_D65_WHITE = (0.95047, 1.0, 1.08883)
_SAMPLE = 20_000  # pixels are enough for percentiles, and keep them cheap


def average_pool(pixels: Any, stride: int) -> Any:
    """(B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride)); a window cut off by the border averages what is there."""
    if stride == 1:
        return pixels
    xp = array_namespace(pixels)
    b, c, height, width = pixels.shape
    down, across = -height % stride, -width % stride
    if down:
        pixels = xp.concat(
            [pixels, xp.zeros((b, c, down, width), dtype=pixels.dtype, device=pixels.device)],
            axis=2,
        )
    if across:
        pixels = xp.concat(
            [
                pixels,
                xp.zeros((b, c, height + down, across), dtype=pixels.dtype, device=pixels.device),
            ],
            axis=3,
        )
    total = sum(pixels[:, :, y::stride, x::stride] for y in range(stride) for x in range(stride))
    total = total / stride**2
    if down:
        total[:, :, -1] *= stride / (stride - down)
    if across:
        total[:, :, :, -1] *= stride / (stride - across)
    return total


def rgb_to_lab(rgb: Any) -> Any:
    """(B, 3, H, W) sRGB in [0, 1] -> CIE Lab under D65 (IEC 61966-2-1), L in [0, 100]."""
    xp = array_namespace(rgb)
    linear = xp.where(rgb > 0.04045, xp.clip((rgb + 0.055) / 1.055, min=0.0) ** 2.4, rgb / 12.92)
    rows = [
        sum(m / white * linear[:, k] for k, m in enumerate(row))
        for row, white in zip(_SRGB_TO_XYZ, _D65_WHITE, strict=True)
    ]
    x, y, z = (
        xp.where(v > 0.008856, xp.clip(v, min=1e-6) ** (1 / 3), 7.787 * v + 16 / 116) for v in rows
    )
    return xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def _percentile_scaled(channels: Any) -> Any:
    """(B, C, H, W) -> the same in [0, 100] between each channel's 1st and 99th percentile."""
    xp = array_namespace(channels)
    b, c, height, width = channels.shape
    step = max(1, int((height * width / _SAMPLE) ** 0.5))
    sample = xp.reshape(channels[:, :, ::step, ::step], (b, c, -1))
    low, high = (one[:, :, None, None] for one in _quantiles(sample, (0.01, 0.99)))
    spread = xp.clip(high - low, min=1e-6)
    scaled = xp.clip((channels - low) / spread, min=0.0, max=1.0) * 100
    return xp.where(high - low > 1e-6, scaled, xp.zeros_like(scaled))


def _quantiles(values: Any, shares: tuple[float, ...]) -> list[Any]:
    """Quantiles along the last axis, by linear interpolation."""
    last = values.shape[-1] - 1
    below = [int(share * last) for share in shares]
    needed = sorted({k for at in below for k in (at, min(at + 1, last))})
    # An array need not be sorted whole, which would take most of the time of all features.
    ordered = (
        np.partition(values, needed, axis=-1)
        if isinstance(values, np.ndarray)
        else array_namespace(values).sort(values, axis=-1)
    )
    return [
        ordered[..., at]
        + (share * last - at) * (ordered[..., min(at + 1, last)] - ordered[..., at])
        for share, at in zip(shares, below, strict=True)
    ]


def colour_features(pixels: Any, quantity: str, channels: tuple[str, ...] = ()) -> Any:
    """What SSN and SLIC compare between pixels, from a view's own pixels.

    Args:
        pixels: (B, C, H, W) float array or tensor, in the units of ``quantity``.
        quantity: as in :class:`bagscan.core.View`. Three-channel ``pseudo_colour`` becomes Lab,
            ``transmission`` its negative logarithm; everything is then percentile-scaled.
        channels: names, needed for ``dual_energy`` only: all but ``zeff`` are transmission.

    Returns:
        (B, C, H, W) float, about [0, 26].
    """
    if quantity == "pseudo_colour" and pixels.shape[1] == 3:
        return rgb_to_lab(pixels) * COLOUR_SCALE
    if quantity in ("transmission", "dual_energy"):
        xp = array_namespace(pixels)
        named = channels or ("",) * pixels.shape[1]
        pixels = xp.stack(
            [
                pixels[:, k] if name == "zeff" else -xp.log(xp.clip(pixels[:, k], min=1e-4))
                for k, name in enumerate(named)
            ],
            axis=1,
        )
    return _percentile_scaled(pixels) * COLOUR_SCALE
