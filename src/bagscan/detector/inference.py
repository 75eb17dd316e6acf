"""Inference on the views of a bag: maps, devices, verdicts and regions. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from bagscan.core import Regions, View
from bagscan.core.errors import ModelError
from bagscan.detector.colours import Colours
from bagscan.detector.devices import FoundDevice, find_devices
from bagscan.detector.engine import Engine
from bagscan.detector.features import CELL_PX, features_of, round_up
from bagscan.detector.together import Numbers, ViewMaps, evaluate_jointly
from bagscan.encoders.region_means import PIXEL_STRIDE, region_means
from bagscan.regions import superpixels

# Axes that a view is mirrored along, one evaluation each.
ORIENTATIONS: tuple[tuple[int, ...], ...] = ((), (-2,), (-1,), (-2, -1))
DILATION_CELLS = 2  # by which a device's mask is dilated, to include items taped to the device
MIN_OVERLAP = 0.5  # minimum share of a region inside a dilated device that it belongs to
REGION_SIDE_PX = 16.0
MAX_ITEM_LOGIT = 8.0  # logits of items beyond this are not more certain, but would spread further
SUPERPIXELS = superpixels.Config(width=0, stride=2, min_size=0.25)


@dataclass(frozen=True)
class Options:
    """How views are evaluated; thresholds are chosen for these, and stored with them.

    Attributes:
        mirrored: True to evaluate mirrored views as well, and to average the logits of all four
            orientations: four times the work of the networks. Devices are those of the view as it
            is.
        item_smoothing: see :func:`smooth_items`.
        colours: mapping of the colours of a scanner, for images in pseudo-colour.
    """

    mirrored: bool = False
    item_smoothing: float = 0.0
    colours: Colours = field(default_factory=Colours)

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Options:
        """Return the options in ``model.json``; folders of earlier versions lack some."""
        known = {f.name: model[f.name] for f in fields(cls) if f.name in model}
        return cls(**known | {"colours": Colours.of(model.get("colours", {}))})


@dataclass(frozen=True)
class ViewResult:
    """Results of the detector for one view.

    Attributes:
        anomaly: (h, w) logits of the anomaly map.
        devices: devices found in the view.
        logits: (D,) uncalibrated log-odds of an anomaly in each device.
        regions: regions of the view at its own size.
        region_logits: (n,) mean logit of the anomaly map in each region.
        device_of: (n,) index of each region's device, -1 outside devices.
        prohibited: (n, p) mean logit of each class of prohibited item in each region.
    """

    anomaly: np.ndarray
    devices: tuple[FoundDevice, ...]
    logits: np.ndarray
    regions: Regions
    region_logits: np.ndarray
    device_of: np.ndarray
    prohibited: np.ndarray


@dataclass(frozen=True)
class BagResult:
    """Results of the detector for a bag.

    Attributes:
        views: results of the views, in order.
        together: for each device, its index in each view (None if not shown) and its uncalibrated
            log-odds over all views; None if the detector evaluates views separately.
    """

    views: tuple[ViewResult, ...]
    together: tuple[tuple[Numbers, float], ...] | None = None


@dataclass(frozen=True)
class Categories:
    """Numbers of categories of each sort, which follow each other in the network's output.

    Attributes:
        kinds: kinds of anomaly, the first categories.
        devices: classes of devices.
        prohibited: classes of prohibited items.
    """

    kinds: int
    devices: int
    prohibited: int = 0

    @property
    def of_items(self) -> slice:
        """The categories that are classes of prohibited items."""
        first = self.kinds + self.devices
        return slice(first, first + self.prohibited)


def run_detector(
    views: Sequence[View],
    engine: Engine,
    categories: Categories,
    together: bool,
    options: Options,
) -> BagResult:
    """Run the detector on the views of a bag and split them into regions.

    Args:
        views: views of the bag.
        engine: runs the networks.
        categories: numbers of categories of the network.
        together: True if the network evaluates both views together.
        options: how views are evaluated.

    Raises:
        ModelError: if the outputs of the engine are incomplete or have the wrong shape.
    """
    results = [_run_view(view, engine, categories, options) for view in views]
    by_orientation = list(zip(*(result.maps for result in results), strict=True))
    if together:
        anomaly, devices = _mean_over_orientations(
            [evaluate_jointly(maps, engine) for maps in by_orientation]
        )
    else:
        anomaly = [_mean([maps.anomaly for maps in result.maps]) for result in results]
        devices = None
    seen = tuple(
        _split_view(view, result, view_anomaly)
        for view, result, view_anomaly in zip(views, results, anomaly, strict=True)
    )
    return BagResult(seen, devices)


@dataclass(frozen=True)
class _SingleView:
    """Results of a view before the two-view network.

    Attributes:
        maps: features, anomaly map and devices in every orientation, mirrored back.
        prohibited: (p, h, w) logits of the classes of prohibited items.
    """

    maps: tuple[ViewMaps, ...]
    prohibited: np.ndarray


def _run_view(
    view: View,
    engine: Engine,
    numbers: Categories,
    options: Options,
) -> _SingleView:
    height, width = view.shape
    h, w = -(-height // CELL_PX), -(-width // CELL_PX)
    features = _padded_features(view, options.colours)
    orientations = ORIENTATIONS if options.mirrored else ORIENTATIONS[:1]
    outputs = [_run_maps(features, engine, mirrored) for mirrored in orientations]
    # Devices are those of the view as it is: averaging found no more of them on validation scenes.
    devices = find_devices(
        sigmoid(outputs[0]["categories"][0, numbers.kinds : numbers.of_items.start, :h, :w]),
        sigmoid(outputs[0]["contact"][0, 0, :h, :w]),
    )
    results = []
    for maps in outputs:
        merged = maps["merged"][0] if "merged" in maps else np.zeros((0, h, w), np.float32)
        logits = _compute_verdicts(devices, maps, engine)
        anomaly = maps["anomaly"][0, 0, :h, :w]
        results.append(ViewMaps(merged[:, :h, :w], anomaly, tuple(devices), logits))
    prohibited = _mean([maps["categories"][0, numbers.of_items, :h, :w] for maps in outputs])
    return _SingleView(tuple(results), smooth_items(prohibited, options.item_smoothing))


def smooth_items(logits: np.ndarray, cells: float) -> np.ndarray:
    """Smooth maps of prohibited items by a Gaussian, so that an item counts by all of its cells.

    On scanners that the network was not trained on, single cells are often wrong.

    Args:
        logits: (p, h, w), a map for each class.
        cells: standard deviation in cells; 0 returns the maps unchanged.
    """
    if not cells:
        return logits
    limited = logits.clip(-MAX_ITEM_LOGIT, MAX_ITEM_LOGIT)
    return np.asarray(gaussian_filter(limited, (0, cells, cells)))


def _mean_over_orientations(
    evaluated: Sequence[tuple[list[np.ndarray], list[tuple[Numbers, float]]]],
) -> tuple[list[np.ndarray], tuple[tuple[Numbers, float], ...]]:
    """Average results of :func:`evaluate_jointly`, whose devices are the same."""
    anomaly = [_mean(maps) for maps in zip(*(maps for maps, _ in evaluated), strict=True)]
    logits = np.mean([[logit for _, logit in devices] for _, devices in evaluated], axis=0)
    numbers = [number for number, _ in evaluated[0][1]]
    return anomaly, tuple(zip(numbers, logits.tolist(), strict=True))


def _mean(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.mean(arrays, axis=0)


def _split_view(view: View, result: _SingleView, anomaly: np.ndarray) -> ViewResult:
    height, width = view.shape
    # Superpixels are computed from pixel values, without a network.
    n_regions = max(4, round(height * width / REGION_SIDE_PX**2))
    regions = superpixels.cut(view, SUPERPIXELS, None, n_regions)
    maps = np.stack([anomaly, *result.prohibited], -1)
    region_logits = region_means(_sample(maps, height, width), regions)
    devices = result.maps[0].devices
    logits = _mean([maps.logits for maps in result.maps])
    device_of = _assign_devices(regions, devices, logits)
    return ViewResult(
        anomaly, devices, logits, regions, region_logits[:, 0], device_of, region_logits[:, 1:]
    )


def compute_maps(
    view: View, engine: Engine, colours: Colours, mirrored: tuple[int, ...] = ()
) -> dict[str, np.ndarray]:
    """Run the network ``maps`` on a view, padded with air to multiples of 64 pixels.

    Args:
        view: the view.
        engine: runs the network.
        colours: mapping of colours.
        mirrored: axes along which the network sees the view mirrored; the maps are mirrored back.

    Raises:
        ModelError: if an output is missing or has the wrong shape.
    """
    return _run_maps(_padded_features(view, colours), engine, mirrored)


def _padded_features(view: View, colours: Colours) -> np.ndarray:
    features = colours.mapped(features_of(view))
    height, width = view.shape
    padded = np.zeros((1, len(features), round_up(height), round_up(width)), np.float32)
    padded[0, :, :height, :width] = features
    return padded


def _run_maps(
    features: np.ndarray, engine: Engine, mirrored: tuple[int, ...]
) -> dict[str, np.ndarray]:
    seen = np.ascontiguousarray(np.flip(features, mirrored)) if mirrored else features
    outputs = engine.run("maps", {"features": seen})
    for name in ("categories", "anomaly", "contact", "fine", "coarse"):
        if name not in outputs or outputs[name].ndim != 4:
            raise ModelError(
                f'output "{name}" of network "maps" is missing or not of shape (1, n, h, w); '
                f"its outputs are {', '.join(outputs)}; export the model again"
            )
    if not mirrored:
        return outputs
    return {name: np.ascontiguousarray(np.flip(value, mirrored)) for name, value in outputs.items()}


def _compute_verdicts(
    devices: Sequence[FoundDevice], maps: Mapping[str, np.ndarray], engine: Engine
) -> np.ndarray:
    if not devices:
        return np.zeros(0, np.float32)
    masks = np.zeros((len(devices), 1, *maps["anomaly"].shape[-2:]), np.float32)
    for mask, device in zip(masks, devices, strict=True):
        mask[0, : device.mask.shape[0], : device.mask.shape[1]] = device.mask
    inputs = {name: maps[name] for name in ("anomaly", "fine", "coarse")} | {"device": masks}
    outputs = engine.run("verdict", inputs)
    return np.asarray(outputs["logit"], np.float32)


def _sample(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """Interpolate (h, w, n) maps bilinearly at every fourth pixel, where regions are sampled."""
    for axis, side in enumerate((height, width)):
        n = cells.shape[axis]
        pixels = np.arange(0, side, PIXEL_STRIDE)
        # The middle of two pixels: thresholds were chosen with maps of this resolution.
        position = np.clip((pixels + 1) / CELL_PX - 0.5, 0, n - 1)
        low = np.minimum(position.astype(int), max(n - 2, 0))
        high = np.minimum(low + 1, n - 1)
        weight = (position - low).astype(np.float32)
        weight = weight[:, None, None] if axis == 0 else weight[None, :, None]
        cells = cells.take(low, axis) * (1 - weight) + cells.take(high, axis) * weight
    return cells


def _assign_devices(
    regions: Regions, devices: Sequence[FoundDevice], logits: np.ndarray
) -> np.ndarray:
    """Return the index of the device that each region lies on or next to, -1 for none.

    A region on several devices is assigned to the one with the highest log-odds.
    """
    owner = np.full(regions.n, -1)
    order = np.argsort(logits, kind="stable")
    overlaps = [regions.overlap(_dilate(devices[k], regions.shape)) for k in order]
    for k, overlap in zip(order, overlaps, strict=True):
        owner[overlap >= MIN_OVERLAP] = k
    # Each device gets at least one region, so that it can be flagged.
    for k, overlap in zip(order, overlaps, strict=True):
        if not (owner == k).any() and regions.n:
            owner[int(np.argmax(overlap))] = k
    return owner


def _dilate(device: FoundDevice, shape: tuple[int, int]) -> np.ndarray:
    """Return an (H, W) bool mask of the pixels on a device or next to it."""
    grown = binary_dilation(device.mask, np.ones((3, 3), bool), iterations=DILATION_CELLS)
    return np.asarray(grown.repeat(CELL_PX, 0).repeat(CELL_PX, 1)[: shape[0], : shape[1]])


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Convert log-odds, clipped to [-30, 30], to probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))
