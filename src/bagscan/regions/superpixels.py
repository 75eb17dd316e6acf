"""Superpixels in use, whatever runs the network: the fixed kernel that torch, ONNX Runtime and OpenVINO share. No torch.

What is learned is one function, from colour features to learned ones; it is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from bagscan.association import Grid
from bagscan.core import Regions, View
from bagscan.core.errors import ModelError
from bagscan.regions.connectivity import enforce_connectivity
from bagscan.regions.kernel import iterate_numba
from bagscan.regions.pixel_features import COLOUR_SCALE, average_pool, colour_features

# (1, C, h, w) colour features, (1, C or 0, h, w) pixels for a backbone -> (1, n_features, h, w)
Learned = Callable[[np.ndarray, np.ndarray], np.ndarray]
POSITION_SCALE = 2.5  # of a cell's side (SSN, section 4)
MIN_ON_ITEM = 0.5


@dataclass(frozen=True)
class Config:
    """SSN settings.

    Attributes:
        n_superpixels: how many are wanted; there may be fewer, where limits of size demand it.
        channels: image channels C.
        width: convolution channels (64 in both papers; 0 runs plain soft SLIC without a network).
        backbone: take features from the first stages of this network in place of the papers' seven
            convolutions; pretrained: with its ImageNet weights. See :func:`create_backbone`.
        n_features: learned dimensions added to colour and position (15 in SSN).
        train_iterations, iterations: SLIC iterations in training and in use.
        stride: segment at 1/stride of the resolution; the labels come back at full size.
        oversample: cells that start per superpixel wanted; in use the surplus is joined by
            likeness (see :mod:`bagscan.regions.connectivity`), so flat areas cost few superpixels.
        min_size, max_size: limits as a fraction of the mean superpixel area.
    """

    n_superpixels: int = 100
    channels: int = 3
    width: int = 64
    backbone: str | None = None
    pretrained: bool = False
    n_features: int = 15
    train_iterations: int = 5
    iterations: int = 10
    stride: int = 1
    oversample: float = 1.5
    min_size: float = 0.06
    max_size: float = 3.0

    def __post_init__(self) -> None:
        if (
            min(self.n_superpixels, self.stride, self.iterations, self.train_iterations) < 1
            or self.oversample <= 0
        ):
            raise ValueError(
                "n_superpixels, stride and iterations must be at least 1, oversample above 0"
            )


def prepare(pixels: Any, quantity: str, channels: tuple[str, ...], config: Config) -> Any:
    """(B, C, H, W) pixels of views -> (B, C, h, w) colour features at the working resolution, 1/stride.

    For a backbone (B, 2C, h, w), with values in [0, 1] for it behind them. Arrays and tensors alike.
    """
    pixels = average_pool(
        pixels, config.stride
    )  # before the colour conversion, which then costs 1/stride^2
    colour = colour_features(pixels, quantity, channels)
    if not config.backbone:
        return colour
    values = pixels if quantity == "pseudo_colour" else colour / (100 * COLOUR_SCALE)
    return array_namespace(colour).concat([colour, values], axis=1)


def grid_for(height: int, width: int, config: Config, n_superpixels: int | None = None) -> Grid:
    """The grid of cells that an image of :func:`prepare` starts from."""
    return Grid.for_count(
        height, width, max(1, round((n_superpixels or config.n_superpixels) * config.oversample))
    )


def cut(
    view: View, config: Config, learned: Learned | None, n_superpixels: int | None = None
) -> Regions:
    """Cut one view into connected superpixels.

    Args:
        learned: the network; None for plain soft SLIC.
        n_superpixels: in place of the configuration's.
    """
    height, width = view.shape
    prepared = prepare(view.pixels[None], view.quantity, view.channels, config)
    colour, pixels = prepared[:, : config.channels], prepared[:, config.channels :]
    grid = grid_for(prepared.shape[-2], prepared.shape[-1], config, n_superpixels)
    parts = [_positions(grid), colour[0]]
    if learned is not None:
        parts.append(learned(colour, pixels)[0])
    features = np.concatenate(parts).astype(np.float32, copy=False)
    if not np.isfinite(features).all():
        raise ModelError("the superpixel network gave features that are not numbers")
    labels = iterate_numba(features, grid, config.iterations)
    wanted = n_superpixels or config.n_superpixels
    mean_area = labels.size / wanted
    labels = enforce_connectivity(
        labels,
        features,
        wanted,
        round(config.min_size * mean_area),
        round(config.max_size * mean_area),
    )
    if config.stride > 1:
        labels = labels.repeat(config.stride, 0).repeat(config.stride, 1)[:height, :width]
    return Regions.from_labels(np.ascontiguousarray(labels), kind="superpixel")


def _positions(grid: Grid) -> np.ndarray:
    """(2, h, w) rows and columns, scaled against colour."""
    scale = POSITION_SCALE / min(grid.cell_h, grid.cell_w)
    return np.stack(
        np.meshgrid(np.arange(grid.height) * scale, np.arange(grid.width) * scale, indexing="ij")
    ).astype(np.float32)


def on_items(items: Regions, parts: Regions) -> Regions:
    """Those superpixels that lie on an item by half; -1 elsewhere."""
    on_item = np.asarray(items.labels.any(0) if items.labels.ndim == 3 else items.labels >= 0)
    kept = parts.overlap(on_item) >= MIN_ON_ITEM
    number = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    return Regions(number[parts.labels], int(kept.sum()), parts.kind)
