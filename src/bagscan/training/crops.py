"""Crops that the joint network learns from: drawn from items and scans, with their truth.

What tells an anomalous crop from a benign one must be the anomaly alone: both are cut alike, and
many are drawn in pairs that differ by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bagscan.core.errors import ConfigError
from bagscan.evaluation.within_bag import FOREGROUND_DARKNESS, ITEM_SHARE, darkness_map
from bagscan.training.augment import draw_crop, recolour
from bagscan.training.components import Components
from bagscan.training.joint_config import JointConfig
from bagscan.training.samples import Sample
from bagscan.training.threats import projector


class Crop(NamedTuple):
    """One crop: (C, P, P) pixels, (P, P) numbers of objects and presence, the class of every object, and (K, p, p) what it is made of."""

    pixels: Tensor
    objects: Tensor
    presence: Tensor
    classes: list[int]
    made_of: Tensor | None = None


class Crops:
    """Draws crops of samples.

    Args:
        classes: of the scorer. whole_items: object level, the whole item in every crop. components: what items are made of,
            where that is learnt too.

    Raises:
        ConfigError: twins are asked for, and none are there.
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
        self.present_from = FOREGROUND_DARKNESS if self.samples[0].region is None else ITEM_SHARE
        self.project = projector() if config.augment.threats else None
        self.by_scanner = _members(self.samples, lambda sample: sample.record.origin)
        self.twin = (
            {_scene(sample): sample for sample in self.samples if not sample.annotations}
            if config.twins
            else {}
        )
        if config.twins and not any(
            _scene(sample) in self.twin for sample in self.samples if sample.annotations
        ):
            raise ConfigError(
                "training.twins needs a simulated set, whose scans come in pairs; none are there"
            )
        self.by_label = _members(self.samples, lambda sample: str(bool(sample.annotations)))

    def batch(self, count: int, rng: np.random.Generator) -> list[Crop]:
        """``count`` crops."""
        drawn: list[Crop] = []
        while len(drawn) < count:
            drawn += self.draw(rng)
        return drawn[:count]

    def draw(self, rng: np.random.Generator) -> list[Crop]:
        """One crop; or two cut and coloured alike: of a pair of twins, or of a benign item without and with a projected threat."""
        sample = self._pick(rng)
        seed, aim = int(rng.integers(2**31)), self._aim(sample, sample.masks(), rng)
        twin = (
            self.twin.get(_scene(sample))
            if sample.annotations and rng.random() < self.config.twins
            else None
        )
        project = rng.random() < self.config.augment.threats and not (
            sample.annotations and sample.region is not None
        )
        drawn = [
            (sample, project),
            *(
                [(twin, False)]
                if twin is not None
                else [(sample, False)]
                if project and sample.region is not None
                else []
            ),
        ]
        return [
            self._crop(s, aim, np.random.default_rng(seed), with_threat) for s, with_threat in drawn
        ]

    def _crop(
        self, sample: Sample, aim: np.ndarray, rng: np.random.Generator, with_threat: bool = False
    ) -> Crop:
        masks, config, names = sample.masks(), self.config.augment, sample.view.channels
        region = [] if sample.region is None else [sample.region[None]]
        made_of = [self.components.masks(sample)] if self.components else []
        # A threat is projected into all channels that there are, whichever of them the model sees.
        source = sample.whole if with_threat and sample.whole is not None else sample
        pixels, planes = draw_crop(
            source.pixels(),
            np.concatenate([masks, *made_of, *region]),
            config,
            rng,
            source.view.channels,
            aim,
        )
        masks_drawn = planes[: len(masks)]
        presence = (
            planes[-1].float()
            if region
            else torch.from_numpy(darkness_map(pixels.numpy(), source.view.channels)).float()
        )
        objects = torch.zeros(pixels.shape[-2:], dtype=torch.long)
        for number, mask in enumerate(masks_drawn, 1):
            objects[mask] = number
        classes = [
            1 + (self.classes.index(a.label) if a.label in self.classes else 0)
            for a in sample.annotations
        ]
        # From a stream of its own, so that a pair is coloured alike.
        colours = np.random.default_rng(int(rng.integers(2**31)))
        if self.project and with_threat:
            pixels, projected = self.project(
                pixels, source.view.channels, presence > self.present_from, rng, config.threat_scale
            )
            if projected.any():
                classes.append(1)
                objects[projected] = len(classes)
        pixels = pixels[[source.view.channels.index(name) for name in names]]
        # Last: what was projected is seen by the same scanner.
        return Crop(
            recolour(pixels, config, colours, names),
            objects,
            presence,
            classes,
            self.components.target(sample, planes[len(masks) : -1]) if self.components else None,
        )

    def _aim(self, sample: Sample, masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n, H, W) what crops are drawn near: the anomaly, or of a benign item any place on it.

        Not its middle: a network would learn that what lies off the middle is anomalous.
        """
        if sample.region is None:
            return masks
        if self.whole_items:
            return sample.region[None]
        if len(masks):
            return masks
        places = np.argwhere(sample.region)
        aim = np.zeros((1, *sample.region.shape), bool)
        aim[(0, *places[int(rng.integers(len(places)))])] = True
        return aim

    def _pick(self, rng: np.random.Generator) -> Sample:
        for members, share in (
            (self.by_label, self.config.balance_labels),
            (self.by_scanner, self.config.balance_scanners),
        ):
            if rng.random() < share:
                names = sorted(members)
                of_one = members[names[int(rng.integers(len(names)))]]
                return self.samples[of_one[int(rng.integers(len(of_one)))]]
        return self.samples[int(rng.integers(len(self.samples)))]


def _scene(sample: Sample) -> tuple[str, str, str, tuple[int, ...]]:
    """What the two scans of a pair share: set, number of the scene, view, and where the item lies."""
    about = sample.record.about
    return about.collection, about.scene or sample.record.id, about.view, sample.record.window or ()


def _members(samples: Sequence[Sample], key: Callable[[Sample], str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        found.setdefault(key(sample), []).append(i)
    return found
