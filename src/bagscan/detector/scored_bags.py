"""Detector results on a simulated dataset, compared with the truth.

Results are for found devices. A device that was not found counts as missed.
Does not import torch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import Regions, View
from bagscan.detector.exported import UsableDetector
from bagscan.detector.features import CELL_PX
from bagscan.detector.inference import BagResult, ViewResult
from bagscan.detector.together import Numbers
from bagscan.encoders.region_means import region_means
from bagscan.formats import read_scan
from bagscan.formats.quantities import RGB
from bagscan.formats.truth import decode_mask, grow
from bagscan.simulate.summary import read_scenes

log = logging.getLogger(__name__)

MIN_IOU = 0.4  # minimum IoU of a found and a true device, in cells


@dataclass(frozen=True)
class TrueDevice:
    """Device in the truth of a view.

    Attributes:
        category: name of its class.
        host: True if the anomaly is in or on it.
        found: index among the found devices, None if it was not found.
    """

    category: str
    host: bool
    found: int | None


@dataclass(frozen=True)
class TrueItem:
    """Prohibited item in the truth of a view.

    Attributes:
        category: name of its class.
        number: number of its class among those of the detector, -1 if it does not know the class.
        on: (n,) share of each region on the item, in [0, 1].
    """

    category: str
    number: int
    on: np.ndarray


@dataclass(frozen=True)
class ScoredView:
    """Results of one view with their truth.

    Attributes:
        seen: results of the detector; the label map of the regions is dropped to save memory.
        areas: (n,) areas of the regions in pixels.
        on: (n,) share of each region on the anomaly, in [0, 1].
        near: (n,) share of each region on the anomaly or near it, in [0, 1]; see
            :func:`bagscan.formats.truth.grow`.
        attenuation: (n,) mean attenuation -ln T of the low channel, or -ln of the brightness.
        devices: true devices of the view.
        visible: True if an operator could see the anomaly in this view.
        about: record of the view in the dataset.
        items: prohibited items of the view.
    """

    seen: ViewResult
    areas: np.ndarray
    on: np.ndarray
    near: np.ndarray
    attenuation: np.ndarray
    devices: tuple[TrueDevice, ...]
    visible: bool
    about: dict[str, Any]
    items: tuple[TrueItem, ...] = ()


@dataclass(frozen=True)
class ScoredBag:
    """Results of one scan with their truth.

    Attributes:
        id: id of the scan.
        scene: id of its scene.
        anomalous: True if the scan contains an anomaly.
        about: metadata of the scan and of its anomaly.
        views: results of the views.
        together: see :class:`BagResult`.
    """

    id: str
    scene: str
    anomalous: bool
    about: dict[str, Any]
    views: tuple[ScoredView, ...]
    together: tuple[tuple[Numbers, float], ...] | None = None

    @property
    def prohibited(self) -> bool:
        """True if a view shows a prohibited item."""
        return any(view.items for view in self.views)

    @property
    def seen(self) -> BagResult:
        """Return the results of the detector alone."""
        return BagResult(tuple(view.seen for view in self.views), self.together)

    def true_devices(self, numbers: Numbers) -> list[TrueDevice]:
        """Return the true devices that match a found device.

        Args:
            numbers: index of the found device in every view, None where a view does not show it.

        Returns:
            At most one true device for each view; empty for a false detection.
        """
        return [
            device
            for view, k in zip(self.views, numbers, strict=True)
            if k is not None
            for device in view.devices
            if device.found == k
        ]


def score_bag(root: Path, record: dict[str, Any], detector: UsableDetector) -> ScoredBag:
    """Run the detector on one scan of a simulated dataset.

    Args:
        root: folder of the dataset.
        record: entry of the scan in ``scans/*.json``.
        detector: detector to evaluate.

    Raises:
        ReadError: an image is missing or damaged.
        ModelError: a network fails.
    """
    raw = detector.config.input.channels != RGB
    paths = [
        root / ("raw" if raw else "colour") / f"{record['id']}_{name}.{'tif' if raw else 'png'}"
        for name in record["views"]
    ]
    images = [read_scan(path).views[0] for path in paths]
    bag = detector.run_views(images)
    views = tuple(
        _compare_view(root, record, name, image, seen, detector.prohibited)
        for name, image, seen in zip(record["views"], images, bag.views, strict=True)
    )
    about = {key: record.get(key) for key in ("part", "group", "device", "family")}
    about |= record.get("anomaly", {})
    anomalous = record["label"] == "anomalous"
    return ScoredBag(record["id"], record["scene"], anomalous, about, views, bag.together)


def score_dataset(
    root: Path,
    detector: UsableDetector,
    part: str | None = None,
    max_scenes: int = 0,
) -> list[ScoredBag]:
    """Run the detector on the scans of a simulated dataset.

    Args:
        root: folder of the dataset.
        detector: detector to evaluate.
        part: split, ``train``, ``val`` or ``test``; None for all.
        max_scenes: maximum number of scenes; 0 for all.

    Raises:
        ReadError: an image is missing or damaged.
        ModelError: a network fails.
    """
    bags: list[ScoredBag] = []
    for scenes, records in enumerate(read_scenes(root, part), 1):
        bags += [score_bag(root, record, detector) for record in records]
        if scenes % 50 == 0:
            log.info(f"{root}: {scenes} scenes scored")
        if scenes == max_scenes:
            break
    return bags


def _compare_view(
    root: Path,
    record: dict[str, Any],
    name: str,
    view: View,
    seen: ViewResult,
    known: Sequence[str],
) -> ScoredView:
    path = root / "truth" / f"{record['id']}_{name}.json"
    annotations = json.loads(path.read_text())["annotations"]
    entry = next((e for e in annotations if e["category"] == "anomaly"), None)
    if entry:
        host_id = entry["parent_id"]
        anomaly = decode_mask(entry["segmentation"], *view.shape)
        surroundings = grow(anomaly)
    else:
        host_id = None
        anomaly = surroundings = np.zeros(view.shape, bool)
    entries = [e for e in annotations if e["role"] == "device"]
    masks = [_cells(decode_mask(e["segmentation"], *view.shape)) for e in entries]
    devices = tuple(
        TrueDevice(e["category"], bool(entry) and host_id == e["id"], k)
        for e, k in zip(entries, _match_devices(masks, seen), strict=True)
    )
    regions = seen.regions
    view_record = record["views"][name]
    unlabelled = Regions(np.zeros((1, 1), np.int32), regions.n, regions.kind)
    return ScoredView(
        replace(seen, regions=unlabelled),
        regions.areas(),
        regions.overlap(anomaly),
        regions.overlap(surroundings),
        _attenuation(view, seen),
        devices,
        bool(view_record.get("visible")),
        view_record,
        tuple(
            TrueItem(
                e["category"],
                known.index(e["category"]) if e["category"] in known else -1,
                regions.overlap(decode_mask(e["segmentation"], *view.shape)),
            )
            for e in annotations
            if e["role"] == "prohibited" and e["area"]
        ),
    )


def _attenuation(view: View, seen: ViewResult) -> np.ndarray:
    if "low" in view.channels:
        transmission = view.pixels[view.channels.index("low")]
    else:
        transmission = view.pixels.mean(0)
    attenuation = -np.log(np.clip(transmission, 1e-3, 1.0))
    return region_means(attenuation[..., None], seen.regions)[:, 0]


def _cells(mask: np.ndarray) -> np.ndarray:
    return mask[CELL_PX // 2 :: CELL_PX, CELL_PX // 2 :: CELL_PX]


def _match_devices(truth: Sequence[np.ndarray], seen: ViewResult) -> list[int | None]:
    """Return the index of the found device for every true one, matched greedily by IoU."""
    overlaps = []
    for i, mask in enumerate(truth):
        for k, device in enumerate(seen.devices):
            h, w = (min(a, b) for a, b in zip(mask.shape, device.mask.shape, strict=True))
            true_mask, found_mask = mask[:h, :w], device.mask[:h, :w]
            union = (true_mask | found_mask).sum()
            iou = float((true_mask & found_mask).sum() / union) if union else 0.0
            overlaps.append((iou, i, k))
    found: list[int | None] = [None] * len(truth)
    taken = set[int]()
    for overlap, i, k in sorted(overlaps, reverse=True):
        if overlap >= MIN_IOU and found[i] is None and k not in taken:
            found[i] = k
            taken.add(k)
    return found
