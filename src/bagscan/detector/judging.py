"""A detector over a simulated set, its findings held against the truth. No torch.

Whatever is counted, the devices are those that the detector itself found: one that it did not find is missed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from bagscan.core import Regions, View
from bagscan.detector.exported import UsableDetector
from bagscan.detector.features import CELL_PX
from bagscan.detector.looking import SeenBag, SeenView
from bagscan.detector.together import Numbers
from bagscan.encoders.region_means import region_means
from bagscan.formats import read_scan
from bagscan.formats.quantities import RGB
from bagscan.formats.truth import decode_mask

NEAR_MM = 10.0  # around an anomaly within which a place still counts as on it
MIN_IOU = 0.4  # of a found device with a true one, on cells


@dataclass(frozen=True)
class TrueDevice:
    """Attributes: category: name of its class. host: whether the anomaly is in or on it. found: number among the found devices, None for none."""

    category: str
    host: bool
    found: int | None


@dataclass(frozen=True)
class JudgedView:
    """One view and its truth.

    Attributes:
        seen: what the detector saw; its regions' labels are left behind. areas: (n,) pixels of the regions.
        on, near: (n,) share of every region on the anomaly, and on it or within 10 mm. darkness: (n,) mean -ln T of the low channel, or -ln of the brightness.
        visible: whether an operator could see the anomaly in this view. about: what the set tells of the view.
    """

    seen: SeenView
    areas: np.ndarray
    on: np.ndarray
    near: np.ndarray
    darkness: np.ndarray
    devices: tuple[TrueDevice, ...]
    visible: bool
    about: dict[str, Any]


@dataclass(frozen=True)
class JudgedBag:
    """One scan of a set. Attributes: about: part, group, device, kind and so on. anomalous: whether something is hidden in it. together: see :class:`SeenBag`."""

    id: str
    scene: str
    anomalous: bool
    about: dict[str, Any]
    views: tuple[JudgedView, ...]
    together: tuple[tuple[Numbers, float], ...] | None = None

    @property
    def seen(self) -> SeenBag:
        """What the detector saw."""
        return SeenBag(tuple(view.seen for view in self.views), self.together)

    def true_devices(self, numbers: Numbers) -> list[TrueDevice]:
        """What a device that was found stands for, by its number in every view: one true device a view that shows it; none for a false find."""
        return [
            device
            for view, k in zip(self.views, numbers, strict=True)
            if k is not None
            for device in view.devices
            if device.found == k
        ]


def judge_bag(root: Path, record: dict[str, Any], detector: UsableDetector) -> JudgedBag:
    """Judge one scan of a simulated set, given its record."""
    raw = detector.config.input.channels != RGB
    paths = [
        root / ("raw" if raw else "colour") / f"{record['id']}_{name}.{'tif' if raw else 'png'}"
        for name in record["views"]
    ]
    shown = [read_scan(path).views[0] for path in paths]
    bag = detector.look(shown)
    views = tuple(
        _judge_view(root, record, *one)
        for one in zip(record["views"], shown, bag.views, strict=True)
    )
    about = {key: record.get(key) for key in ("part", "group", "device", "family")} | record.get(
        "anomaly", {}
    )
    return JudgedBag(
        record["id"], record["scene"], record["label"] == "anomalous", about, views, bag.together
    )


def judge_set(
    root: Path,
    detector: UsableDetector,
    part: str | None = None,
    most_scenes: int = 0,
    report: Callable[[str], None] = print,
) -> list[JudgedBag]:
    """Judge the scans of a simulated set.

    Args:
        part: ``val`` or ``test``; None for all. most_scenes: of each set; 0 for all.
    """
    bags: list[JudgedBag] = []
    scenes = 0
    for path in sorted((root / "scans").glob("*.json")):
        records = json.loads(path.read_text())["scans"]
        if part not in (None, records[0]["part"]):
            continue
        bags += [judge_bag(root, record, detector) for record in records]
        scenes += 1
        if scenes % 50 == 0:
            report(f"{root}: {scenes} scenes judged")
        if scenes == most_scenes:
            break
    return bags


def _judge_view(
    root: Path, record: dict[str, Any], name: str, view: View, seen: SeenView
) -> JudgedView:
    truth = json.loads((root / "truth" / f"{record['id']}_{name}.json").read_text())["annotations"]
    hidden = next((e for e in truth if e["category"] == "anomaly"), None)
    anomaly = (
        decode_mask(hidden["segmentation"], *view.shape) if hidden else np.zeros(view.shape, bool)
    )
    around = distance_transform_edt(~anomaly) <= NEAR_MM if hidden else anomaly
    entries = [e for e in truth if e["role"] == "device"]
    found = _matched([_cells(decode_mask(e["segmentation"], *view.shape)) for e in entries], seen)
    devices = tuple(
        TrueDevice(e["category"], bool(hidden) and hidden["parent_id"] == e["id"], k)
        for e, k in zip(entries, found, strict=True)
    )  # type: ignore[index]
    regions = seen.regions
    areas, on, near = regions.areas(), regions.overlap(anomaly), regions.overlap(around)
    result = record["views"][name]
    light = replace(seen, regions=Regions(np.zeros((1, 1), np.int32), regions.n, regions.kind))
    return JudgedView(
        light, areas, on, near, _darkness(view, seen), devices, bool(result.get("visible")), result
    )


def _darkness(view: View, seen: SeenView) -> np.ndarray:
    light = (
        view.pixels[view.channels.index("low")] if "low" in view.channels else view.pixels.mean(0)
    )
    return region_means(-np.log(np.clip(light, 1e-3, 1.0))[..., None], seen.regions)[:, 0]


def _cells(mask: np.ndarray) -> np.ndarray:
    return mask[CELL_PX // 2 :: CELL_PX, CELL_PX // 2 :: CELL_PX]


def _matched(truth: Sequence[np.ndarray], seen: SeenView) -> list[int | None]:
    """The found device of every true one, each used once, by falling overlap."""
    overlaps = []
    for i, mask in enumerate(truth):
        for k, device in enumerate(seen.devices):
            h, w = (min(a, b) for a, b in zip(mask.shape, device.mask.shape, strict=True))
            own, other = mask[:h, :w], device.mask[:h, :w]
            union = (own | other).sum()
            overlaps.append((float((own & other).sum() / union) if union else 0.0, i, k))
    found: list[int | None] = [None] * len(truth)
    taken = set[int]()
    for overlap, i, k in sorted(overlaps, reverse=True):
        if overlap >= MIN_IOU and found[i] is None and k not in taken:
            found[i] = k
            taken.add(k)
    return found
