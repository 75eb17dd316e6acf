"""A bag's views through the network: their maps, devices, verdicts, and regions with the mean of the map in each. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

from bagscan.core import Regions, View
from bagscan.core.errors import ModelError
from bagscan.detector.devices import FoundDevice, find_devices
from bagscan.detector.engine import Engine
from bagscan.detector.features import CELL_PX, features_of
from bagscan.detector.together import Numbers, ViewMaps, seen_together
from bagscan.encoders.region_means import region_means
from bagscan.regions import superpixels

MULTIPLE_PX = 64  # of the network's input
GROWN_CELLS = 2  # by which a device's regions may lie outside of it, taped to it
ON_DEVICE = 0.5  # share of a region
REGION_SIDE_PX = 16.0
SUPERPIXELS = superpixels.Config(width=0, stride=2, min_size=0.25)


@dataclass(frozen=True)
class SeenView:
    """What one view shows.

    Attributes:
        anomaly: (h, w) logits of the map. devices: found in it. logits: (D,) of their verdicts, not calibrated.
        regions: of the view at its own size. heights: (n,) mean of the map in each. device_of: (n,) device of each, -1 for none.
        kinds: (k, h, w) logits of the kinds of anomaly.
    """

    anomaly: np.ndarray
    devices: tuple[FoundDevice, ...]
    logits: np.ndarray
    regions: Regions
    heights: np.ndarray
    device_of: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True)
class SeenBag:
    """All views of a bag.

    Attributes:
        views: in their order. together: every device with its number in each view and its verdict over both, in log-odds that are not
            calibrated; None of a detector that judges views one by one.
    """

    views: tuple[SeenView, ...]
    together: tuple[tuple[Numbers, float], ...] | None = None


def look(views: Sequence[View], engine: Engine, n_kinds: int, together: bool) -> SeenBag:
    """Pass the views of a bag through the network and cut them into regions.

    Args:
        together: whether the network looks at both views together.

    Raises:
        ModelError: the engine gives something else than maps.
    """
    alone = [_look(view, engine, n_kinds) for view in views]
    anomaly, devices = (
        seen_together([one.maps for one in alone], engine)
        if together
        else ([one.maps.anomaly for one in alone], None)
    )
    seen = tuple(_in_regions(*one) for one in zip(views, alone, anomaly, strict=True))
    return SeenBag(seen, None if devices is None else tuple(devices))


@dataclass(frozen=True)
class _Alone:
    """A view by itself. Attributes: kinds: (k, h, w) logits."""

    maps: ViewMaps
    kinds: np.ndarray


def _look(view: View, engine: Engine, n_kinds: int) -> _Alone:
    height, width = view.shape
    maps = _maps(view, engine)
    categories = maps["categories"][0]
    h, w = -(-height // CELL_PX), -(-width // CELL_PX)
    devices = find_devices(
        sigmoid(categories[n_kinds:, :h, :w]), sigmoid(maps["contact"][0, 0, :h, :w])
    )
    merged = maps["merged"][0, :, :h, :w] if "merged" in maps else np.zeros((0, h, w), np.float32)
    return _Alone(
        ViewMaps(
            merged, maps["anomaly"][0, 0, :h, :w], tuple(devices), _verdicts(devices, maps, engine)
        ),
        categories[:n_kinds, :h, :w],
    )


def _in_regions(view: View, alone: _Alone, anomaly: np.ndarray) -> SeenView:
    height, width = view.shape
    # Regions are cut without a network here: superpixels of the view itself.
    regions = superpixels.cut(
        view, SUPERPIXELS, None, max(4, round(height * width / REGION_SIDE_PX**2))
    )
    heights = region_means(
        _finer(anomaly)[..., None][: height // 2 + 1, : width // 2 + 1], regions
    )[:, 0]
    devices, logits = alone.maps.devices, alone.maps.logits
    return SeenView(
        anomaly,
        devices,
        logits,
        regions,
        heights,
        _device_of(regions, devices, logits),
        alone.kinds,
    )


def _maps(view: View, engine: Engine) -> dict[str, np.ndarray]:
    seen = features_of(view)
    height, width = view.shape
    padded = np.zeros(
        (1, len(seen), *(-(-n // MULTIPLE_PX) * MULTIPLE_PX for n in (height, width))), np.float32
    )
    padded[0, :, :height, :width] = seen
    found = engine.run("maps", {"features": padded})
    for name in ("categories", "anomaly", "contact", "fine", "coarse"):
        if name not in found or found[name].ndim != 4:
            raise ModelError(f"the network gave {', '.join(found)}, and not {name} as (1, n, h, w)")
    return found


def _verdicts(
    devices: Sequence[FoundDevice], maps: Mapping[str, np.ndarray], engine: Engine
) -> np.ndarray:
    if not devices:
        return np.zeros(0, np.float32)
    masks = np.zeros((len(devices), 1, *maps["anomaly"].shape[-2:]), np.float32)
    for mask, device in zip(masks, devices, strict=True):
        mask[0, : device.mask.shape[0], : device.mask.shape[1]] = device.mask
    found = engine.run(
        "verdict", {name: maps[name] for name in ("anomaly", "fine", "coarse")} | {"device": masks}
    )
    return np.asarray(found["logit"], np.float32)


def _finer(cells: np.ndarray, times: int = 4) -> np.ndarray:
    """(h, w) -> (h · times, w · times), bilinear between the cells' middles."""
    for axis in (0, 1):
        n = cells.shape[axis]
        at = np.clip((np.arange(n * times) + 0.5) / times - 0.5, 0, n - 1)
        low = np.minimum(at.astype(int), max(n - 2, 0))
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None]
        cells = (
            cells.take(low, axis) * (1 - part) + cells.take(np.minimum(low + 1, n - 1), axis) * part
        )
    return cells


def _device_of(regions: Regions, devices: Sequence[FoundDevice], logits: np.ndarray) -> np.ndarray:
    """The device that each region lies on or next to; of several the most suspicious, since it must not be missed."""
    owner = np.full(regions.n, -1)
    order = np.argsort(logits, kind="stable")
    overlaps = [regions.overlap(_near(devices[k], regions.shape)) for k in order]
    for k, overlap in zip(order, overlaps, strict=True):
        owner[overlap >= ON_DEVICE] = k
    # Every device has a region, however small it is or overlaid, so that it can be pointed at.
    for k, overlap in zip(order, overlaps, strict=True):
        if not (owner == k).any() and regions.n:
            owner[int(np.argmax(overlap))] = k
    return owner


def _near(device: FoundDevice, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool pixels on a device or next to it."""
    grown = binary_dilation(device.mask, np.ones((3, 3), bool), iterations=GROWN_CELLS)
    return np.asarray(grown.repeat(CELL_PX, 0).repeat(CELL_PX, 1)[: shape[0], : shape[1]])


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Chance of log-odds, which are clipped at ±30."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))
