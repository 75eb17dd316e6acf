"""SSN superpixels for inference, shared by all runtimes (without torch).

The runtime supplies a function that computes the learned features.
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

# Maps (1, C, h, w) colour features and (1, C or 0, h, w) pixels for a backbone to
# (1, n_features, h, w) learned features.
Learned = Callable[[np.ndarray, np.ndarray], np.ndarray]
POSITION_SCALE = 2.5  # scaled length of a cell's side (SSN, section 4)
MIN_ON_ITEM = 0.5  # share of a superpixel on items from which it is kept


@dataclass(frozen=True)
class Config:
    """SSN settings.

    Attributes:
        n_superpixels: number of superpixels; limits of size can lead to another number.
        channels: number of image channels C.
        width: channels of the convolutions (64 in the papers); 0 for soft SLIC without a network.
        backbone: compute features by the first stages of this network, in place of the seven
            convolutions of the papers; see :func:`create_backbone`.
        pretrained: start from the ImageNet weights of the backbone.
        n_features: number of learned features, in addition to colour and position (15 in SSN).
        train_iterations: SLIC iterations in training.
        iterations: SLIC iterations in inference.
        stride: split the view at 1/stride of its resolution; labels have the full resolution.
        oversample: number of initial cells per superpixel. In inference, similar superpixels are
            then joined (see :mod:`bagscan.regions.connectivity`), so that uniform areas have few.
        min_size: smallest area, as a fraction of the mean area of a superpixel.
        max_size: largest area, as a fraction of the mean area of a superpixel.
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
        smallest = min(self.n_superpixels, self.stride, self.iterations, self.train_iterations)
        if smallest < 1 or self.oversample <= 0:
            raise ValueError(
                "n_superpixels, stride, iterations and train_iterations must be at least 1, "
                "and oversample above 0"
            )


def prepare(pixels: Any, quantity: str, channels: tuple[str, ...], config: Config) -> Any:
    """Downsample views and compute their colour features.

    Args:
        pixels: (B, C, H, W) array or tensor.
        quantity: see :class:`bagscan.core.View`.
        channels: names of the C channels.
        config: SSN settings.

    Returns:
        (B, C, h, w) colour features at 1/stride of the resolution. With a backbone (B, 2C, h, w):
        the colour features, then the input of the backbone in [0, 1].
    """
    pixels = average_pool(pixels, config.stride)
    colour = colour_features(pixels, quantity, channels)
    if not config.backbone:
        return colour
    values = pixels if quantity == "pseudo_colour" else colour / (100 * COLOUR_SCALE)
    return array_namespace(colour).concat([colour, values], axis=1)


def grid_for(height: int, width: int, config: Config, n_superpixels: int | None = None) -> Grid:
    """Return the grid of initial cells for an image of :func:`prepare`.

    Args:
        height, width: size of the image.
        config: SSN settings.
        n_superpixels: replaces the number of the settings.
    """
    n_cells = round((n_superpixels or config.n_superpixels) * config.oversample)
    return Grid.for_count(height, width, max(1, n_cells))


def cut(
    view: View, config: Config, learned: Learned | None, n_superpixels: int | None = None
) -> Regions:
    """Split a view into connected superpixels.

    Args:
        view: the view.
        config: SSN settings.
        learned: computes the learned features; None for soft SLIC without a network.
        n_superpixels: replaces the number of the settings.

    Raises:
        ModelError: a feature is NaN or infinite.
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
        raise ModelError("the superpixel network returned NaN or infinite features")
    labels = iterate_numba(features, grid, config.iterations)
    count = n_superpixels or config.n_superpixels
    mean_area = labels.size / count
    labels = enforce_connectivity(
        labels,
        features,
        count,
        round(config.min_size * mean_area),
        round(config.max_size * mean_area),
    )
    if config.stride > 1:
        labels = labels.repeat(config.stride, 0).repeat(config.stride, 1)[:height, :width]
    return Regions.from_labels(np.ascontiguousarray(labels), kind="superpixel")


def _positions(grid: Grid) -> np.ndarray:
    """Return the (2, h, w) scaled row and column of each pixel."""
    scale = POSITION_SCALE / min(grid.cell_h, grid.cell_w)
    rows, columns = np.arange(grid.height) * scale, np.arange(grid.width) * scale
    return np.stack(np.meshgrid(rows, columns, indexing="ij")).astype(np.float32)


def on_items(items: Regions, parts: Regions) -> Regions:
    """Return the superpixels that lie at least half on items, with label -1 elsewhere.

    Args:
        items: regions of the items.
        parts: superpixels of the same view.
    """
    on_item = np.asarray(items.labels.any(0) if items.labels.ndim == 3 else items.labels >= 0)
    kept = parts.overlap(on_item) >= MIN_ON_ITEM
    number = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    return Regions(number[parts.labels], int(kept.sum()), parts.kind)
