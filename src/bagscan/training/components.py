"""Auxiliary task: segment the components of simulated items.

The truth of simulated items tells their components, pixel by pixel, several over one another. They are learnt from the
encoder's maps by one layer that is dropped after training. Of an item a few segments in a hundred are
anomalous; what the others are says far more, and teaches from the first step.
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

STRIDE = 4  # of the encoder's maps: no finer truth is kept
RARE = -4.0  # log-odds that the layer starts from: most components are absent from most pixels


class Components:
    """The components of items, packed, and the layer that learns them.

    Args:
        samples: items of simulated sets. dim: channels of the encoder's maps.

    Raises:
        ConfigError: no item's truth tells components.
    """

    def __init__(self, samples: Sequence[Sample], dim: int) -> None:
        result: dict[Key, tuple[str, ...]] = {}
        self._packed: dict[Key, np.ndarray] = {}
        for sample in samples:  # one at a time: unpacked, the masks of a set are gigabytes
            result[_key(sample)], masks = components_of(sample.record)
            self._packed[_key(sample)] = np.packbits(_at_working_size(masks, sample))
        self.names = sorted({name for names in result.values() for name in names})
        if not self.names:
            raise ConfigError(
                "training.components needs simulated items, whose truth tells what they are made of: data.sources with items: true"
            )
        number = {name: k for k, name in enumerate(self.names)}
        self._ids = {
            key: np.array([number[name] for name in names], np.int64)
            for key, names in result.items()
        }
        self.layer = nn.Conv2d(dim, len(self.names), 1)
        assert self.layer.bias is not None
        nn.init.constant_(self.layer.bias, RARE)

    def masks(self, sample: Sample) -> np.ndarray:
        """(n, H, W) bool of a sample's components at working size."""
        shape = (len(self._ids[_key(sample)]), *sample.counts.shape[-2:])
        return (
            np.unpackbits(self._packed[_key(sample)], count=int(np.prod(shape)))
            .reshape(shape)
            .astype(bool)
        )

    def target(self, sample: Sample, drawn: Tensor) -> Tensor:
        """(K, p, p) share of every kind of component in a crop's (n, P, P) bool masks."""
        small = F.avg_pool2d(drawn.float()[None], STRIDE, ceil_mode=True)[0]
        kinds = torch.from_numpy(self._ids[_key(sample)])[:, None, None].expand_as(small)
        return small.new_zeros(len(self.names), *small.shape[1:]).scatter_reduce_(
            0, kinds, small, "amax"
        )

    def loss(
        self, features: Tensor, target: Tensor, presence: Tensor, present_from: float
    ) -> Tensor:
        """Cross-entropy of every component's presence, summed over kinds, averaged over what lies on the item.

        Args:
            features: (B, dim, h, w). target: (B, K, p, p). presence: (B, P, P).
        """
        size = features.shape[-2:]
        wanted = F.interpolate(target, size=size, mode="area")
        inside = (F.interpolate(presence[:, None], size=size, mode="area") > present_from).float()
        each = F.binary_cross_entropy_with_logits(
            self.layer(features), wanted, reduction="none"
        ).sum(1, keepdim=True)
        return (each * inside).sum() / inside.sum().clamp(min=1)


def _key(sample: Sample) -> Key:
    return sample.record.path, sample.record.id  # simulated sets number their scans alike


def _at_working_size(masks: np.ndarray, sample: Sample) -> np.ndarray:
    height, width = sample.counts.shape[-2:]
    return (
        np.stack([scale_mask(m, height, width) for m in masks])
        if len(masks)
        else np.zeros((0, height, width), bool)
    )
