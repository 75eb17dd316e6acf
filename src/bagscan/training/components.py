"""Auxiliary task: segment the components of simulated items.

The truth of a simulated item has a mask for every component; masks may overlap. A single layer
learns them from the encoder's maps, and is dropped after training. Few segments of an item are
anomalous, but most belong to a component, so the task trains the encoder from the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bagscan.core.errors import ConfigError
from bagscan.datasets.items import components_of
from bagscan.training.samples import Sample, scale_mask

Key = tuple[Path, str]

STRIDE = 4  # of the encoder's maps, and of the truth
RARE = -4.0  # initial log-odds: most components are absent from most pixels


class Components:
    """Component masks of simulated items, bit-packed, and the layer that learns them.

    Args:
        samples: items of simulated sets.
        dim: number of channels of the encoder's maps.

    Attributes:
        names: kinds of components, sorted.
        layer: 1 x 1 convolution from the encoder's maps to log-odds of each kind.

    Raises:
        ConfigError: no item has annotated components.
    """

    def __init__(self, samples: Sequence[Sample], dim: int) -> None:
        names_by_key: dict[Key, tuple[str, ...]] = {}
        self._packed: dict[Key, np.ndarray] = {}
        for sample in samples:  # pack each at once: unpacked, the masks of a set are gigabytes
            names_by_key[_key(sample)], masks = components_of(sample.record)
            self._packed[_key(sample)] = np.packbits(_scale_masks(masks, sample))
        self.names = sorted({name for names in names_by_key.values() for name in names})
        if not self.names:
            raise ConfigError(
                "training.components needs annotated components, which only simulated items have; "
                "set items: true in data.sources"
            )
        number = {name: k for k, name in enumerate(self.names)}
        self._ids = {
            key: np.array([number[name] for name in names], np.int64)
            for key, names in names_by_key.items()
        }
        self.layer = nn.Conv2d(dim, len(self.names), 1)
        assert self.layer.bias is not None
        nn.init.constant_(self.layer.bias, RARE)

    def masks(self, sample: Sample) -> np.ndarray:
        """Return the (n, H, W) bool component masks of a sample at working size."""
        shape = (len(self._ids[_key(sample)]), *sample.counts.shape[-2:])
        return (
            np.unpackbits(self._packed[_key(sample)], count=int(np.prod(shape)))
            .reshape(shape)
            .astype(bool)
        )

    def target(self, sample: Sample, drawn: Tensor) -> Tensor:
        """Return the share of each kind of component in the cells of a crop.

        Args:
            sample: sample of the crop.
            drawn: (n, P, P) bool, its component masks within the crop.

        Returns:
            (K, p, p) float32 in [0, 1].
        """
        small = F.avg_pool2d(drawn.float()[None], STRIDE, ceil_mode=True)[0]
        kinds = torch.from_numpy(self._ids[_key(sample)])[:, None, None].expand_as(small)
        return small.new_zeros(len(self.names), *small.shape[1:]).scatter_reduce_(
            0, kinds, small, "amax"
        )

    def loss(
        self, features: Tensor, target: Tensor, presence: Tensor, present_from: float
    ) -> Tensor:
        """Return the cross-entropy of component shares, averaged over the cells of the item.

        The cross-entropies of all kinds are added up.

        Args:
            features: (B, dim, h, w) maps of the encoder.
            target: (B, K, p, p) shares.
            presence: (B, P, P) foreground.
            present_from: mean presence above which a cell belongs to the item.
        """
        size = features.shape[-2:]
        shares = F.interpolate(target, size=size, mode="area")
        inside = (F.interpolate(presence[:, None], size=size, mode="area") > present_from).float()
        cross_entropy = F.binary_cross_entropy_with_logits(
            self.layer(features), shares, reduction="none"
        ).sum(1, keepdim=True)
        return (cross_entropy * inside).sum() / inside.sum().clamp(min=1)


def _key(sample: Sample) -> Key:
    return sample.record.path, sample.record.id  # ids are unique within a set only


def _scale_masks(masks: np.ndarray, sample: Sample) -> np.ndarray:
    height, width = sample.counts.shape[-2:]
    if not len(masks):
        return np.zeros((0, height, width), bool)
    return np.stack([scale_mask(mask, height, width) for mask in masks])
