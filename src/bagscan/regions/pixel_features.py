"""Colour features of pixels for superpixels, in about [0, 26] for any kind of view.

SSN scales CIE Lab by 0.26, and positions to 2.5 per cell. Channels that are not colours are first
scaled to [0, 100] between percentiles of the view.

Training and all runtimes share this code. By the array API standard, it accepts both NumPy arrays
and torch tensors.
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
_SAMPLE = 20_000  # approximate number of pixels from which percentiles are estimated


def average_pool(pixels: Any, stride: int) -> Any:
    """Average blocks of ``stride × stride`` pixels; blocks at the border can be smaller.

    Args:
        pixels: (B, C, H, W) array or tensor.
        stride: side of a block.

    Returns:
        (B, C, ceil(H / stride), ceil(W / stride)).
    """
    if stride == 1:
        return pixels
    xp = array_namespace(pixels)
    b, c, height, width = pixels.shape
    down, across = -height % stride, -width % stride
    like = {"dtype": pixels.dtype, "device": pixels.device}
    if down:
        pixels = xp.concat([pixels, xp.zeros((b, c, down, width), **like)], axis=2)
    if across:
        pixels = xp.concat([pixels, xp.zeros((b, c, height + down, across), **like)], axis=3)
    total = sum(pixels[:, :, y::stride, x::stride] for y in range(stride) for x in range(stride))
    total = total / stride**2
    if down:
        total[:, :, -1] *= stride / (stride - down)
    if across:
        total[:, :, :, -1] *= stride / (stride - across)
    return total


def rgb_to_lab(rgb: Any) -> Any:
    """Convert sRGB to CIE Lab under D65 (IEC 61966-2-1).

    Args:
        rgb: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 3, H, W), L in [0, 100].
    """
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


def _scale_by_percentiles(channels: Any) -> Any:
    """Scale each channel of (B, C, H, W) from its 1st and 99th percentile to [0, 100], clipped."""
    xp = array_namespace(channels)
    b, c, height, width = channels.shape
    step = max(1, int((height * width / _SAMPLE) ** 0.5))
    sample = xp.reshape(channels[:, :, ::step, ::step], (b, c, -1))
    low, high = (quantile[:, :, None, None] for quantile in _quantiles(sample, (0.01, 0.99)))
    spread = xp.clip(high - low, min=1e-6)
    scaled = xp.clip((channels - low) / spread, min=0.0, max=1.0) * 100
    return xp.where(high - low > 1e-6, scaled, xp.zeros_like(scaled))


def _quantiles(values: Any, shares: tuple[float, ...]) -> list[Any]:
    """Return quantiles along the last axis, by linear interpolation."""
    last = values.shape[-1] - 1
    below = [int(share * last) for share in shares]
    needed = sorted({k for index in below for k in (index, min(index + 1, last))})
    if isinstance(values, np.ndarray):
        ordered = np.partition(values, needed, axis=-1)  # much faster than a full sort
    else:
        ordered = array_namespace(values).sort(values, axis=-1)
    return [
        ordered[..., index]
        + (share * last - index) * (ordered[..., min(index + 1, last)] - ordered[..., index])
        for share, index in zip(shares, below, strict=True)
    ]


def colour_features(pixels: Any, quantity: str, channels: tuple[str, ...] = ()) -> Any:
    """Return the colour features of pixels, by which SSN and SLIC compare them.

    Args:
        pixels: (B, C, H, W) float array or tensor, in the units of ``quantity``.
        quantity: as in :class:`bagscan.core.View`. Three-channel ``pseudo_colour`` is converted to
            Lab. ``transmission`` is converted to its negative logarithm. All quantities but
            three-channel pseudo-colour are scaled by percentiles.
        channels: names of the channels, needed for ``dual_energy``: all but ``zeff`` are
            transmission.

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
    return _scale_by_percentiles(pixels) * COLOUR_SCALE
