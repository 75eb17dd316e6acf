"""Training crops of the joint network, with their truth.

An anomalous crop must differ from a benign one by the anomaly alone. Both are therefore cropped in
the same way, and many are drawn as pairs that differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bagscan.core.errors import ConfigError
from bagscan.evaluation.within_bag import ITEM_SHARE, MIN_FOREGROUND_ATTENUATION, attenuation_map
from bagscan.training.augment import draw_crop, recolour
from bagscan.training.components import Components
from bagscan.training.joint_config import JointConfig
from bagscan.training.samples import Sample
from bagscan.training.threats import projector


class Crop(NamedTuple):
    """One crop and its truth.

    Attributes:
        pixels: (C, P, P) float32.
        objects: (P, P) int64 number of the object at each pixel, from 1; 0 without an object.
        presence: (P, P) float32, foreground: attenuation, or the mask of the item.
        classes: class of each object, from 1.
        made_of: (K, p, p) share of each kind of component, if components are learnt.
    """

    pixels: Tensor
    objects: Tensor
    presence: Tensor
    classes: list[int]
    made_of: Tensor | None = None


class Crops:
    """Sampler of crops.

    Args:
        samples: samples to crop, at least one.
        config: settings of the training.
        classes: class names of the scorer.
        whole_items: True at object level, where every crop holds the whole item.
        components: component masks of the samples, if components are learnt.

    Raises:
        ConfigError: ``config.twins`` is set, but no anomalous sample has a twin.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        config: JointConfig,
        classes: Sequence[str],
        whole_items: bool,
        components: Components | None = None,
    ) -> None:
        self.samples, self.config, self.classes, self.whole_items, self.components = (
            list(samples),
            config,
            list(classes),
            whole_items,
            components,
        )
        self.present_from = (
            MIN_FOREGROUND_ATTENUATION if self.samples[0].region is None else ITEM_SHARE
        )
        self.project = projector() if config.augment.threats else None
        self.by_scanner = _group_indices(self.samples, lambda sample: sample.record.origin)
        self.twin = (
            {_scene(sample): sample for sample in self.samples if not sample.annotations}
            if config.twins
            else {}
        )
        if config.twins and not any(
            _scene(sample) in self.twin for sample in self.samples if sample.annotations
        ):
            raise ConfigError(
                "training.twins is set, but no anomalous scan has a twin; use a simulated set"
            )
        self.by_label = _group_indices(self.samples, lambda sample: str(bool(sample.annotations)))

    def batch(self, count: int, rng: np.random.Generator) -> list[Crop]:
        """Draw ``count`` crops."""
        crops: list[Crop] = []
        while len(crops) < count:
            crops += self.draw(rng)
        return crops[:count]

    def draw(self, rng: np.random.Generator) -> list[Crop]:
        """Draw one crop, or a pair of crops with the same geometry and colours.

        A pair shows two twins, or a benign item with and without a projected threat.
        """
        sample = self._pick(rng)
        seed, aim = int(rng.integers(2**31)), self._aim(sample, sample.masks(), rng)
        twin = None
        if sample.annotations and rng.random() < self.config.twins:
            twin = self.twin.get(_scene(sample))
        is_anomalous_item = bool(sample.annotations) and sample.region is not None
        project = rng.random() < self.config.augment.threats and not is_anomalous_item
        crops = [(sample, project)]
        if twin is not None:
            crops.append((twin, False))
        elif project and sample.region is not None:
            crops.append((sample, False))
        return [
            self._crop(s, aim, np.random.default_rng(seed), with_threat) for s, with_threat in crops
        ]

    def _crop(
        self, sample: Sample, aim: np.ndarray, rng: np.random.Generator, with_threat: bool = False
    ) -> Crop:
        masks, config, names = sample.masks(), self.config.augment, sample.view.channels
        region = [] if sample.region is None else [sample.region[None]]
        made_of = [self.components.masks(sample)] if self.components else []
        # Threats are projected into all channels, including those that the model does not use.
        source = sample.whole if with_threat and sample.whole is not None else sample
        pixels, planes = draw_crop(
            source.pixels(),
            np.concatenate([masks, *made_of, *region]),
            config,
            rng,
            source.view.channels,
            aim,
        )
        object_masks = planes[: len(masks)]
        presence = (
            planes[-1].float()
            if region
            else torch.from_numpy(attenuation_map(pixels.numpy(), source.view.channels)).float()
        )
        objects = torch.zeros(pixels.shape[-2:], dtype=torch.long)
        for number, mask in enumerate(object_masks, 1):
            objects[mask] = number
        classes = [
            1 + (self.classes.index(a.label) if a.label in self.classes else 0)
            for a in sample.annotations
        ]
        # A generator of its own, so that both crops of a pair get the same colours.
        colour_rng = np.random.default_rng(int(rng.integers(2**31)))
        if self.project and with_threat:
            pixels, projected = self.project(
                pixels, source.view.channels, presence > self.present_from, rng, config.threat_scale
            )
            if projected.any():
                classes.append(1)
                objects[projected] = len(classes)
        # Recolour last, so that a projected threat changes with the crop.
        pixels = pixels[[source.view.channels.index(name) for name in names]]
        return Crop(
            recolour(pixels, config, colour_rng, names),
            objects,
            presence,
            classes,
            self.components.target(sample, planes[len(masks) : -1]) if self.components else None,
        )

    def _aim(self, sample: Sample, masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return (n, H, W) masks to crop near: the anomaly, or a random pixel of a benign item.

        If crops of benign items were centred on the item, the network would learn that anything
        away from the centre is anomalous.
        """
        if sample.region is None:
            return masks
        if self.whole_items:
            return sample.region[None]
        if len(masks):
            return masks
        pixels = np.argwhere(sample.region)
        aim = np.zeros((1, *sample.region.shape), bool)
        aim[(0, *pixels[int(rng.integers(len(pixels)))])] = True
        return aim

    def _pick(self, rng: np.random.Generator) -> Sample:
        for groups, share in (
            (self.by_label, self.config.balance_labels),
            (self.by_scanner, self.config.balance_scanners),
        ):
            if rng.random() < share:
                names = sorted(groups)
                indices = groups[names[int(rng.integers(len(names)))]]
                return self.samples[indices[int(rng.integers(len(indices)))]]
        return self.samples[int(rng.integers(len(self.samples)))]


def _scene(sample: Sample) -> tuple[str, str, str, tuple[int, ...]]:
    """Return the key that twins share: set, scene, view and window of the item."""
    about = sample.record.about
    return about.collection, about.scene or sample.record.id, about.view, sample.record.window or ()


def _group_indices(samples: Sequence[Sample], key: Callable[[Sample], str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        groups.setdefault(key(sample), []).append(i)
    return groups
