"""Joint evaluation of both views of a bag, and matching of devices between them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscan.core.errors import ModelError
from bagscan.detector.devices import FoundDevice, match_views
from bagscan.detector.engine import Engine

VIEWS = 2
GRAPH = "both_views"
# Index of a device among the found devices of every view; None where a view does not show it.
Numbers = tuple[int | None, ...]


@dataclass(frozen=True)
class ViewMaps:
    """Results of one view without the other view, in cells.

    Attributes:
        merged: (n, h, w) features.
        anomaly: (h, w) logits of the anomaly map.
        devices: devices found in the view.
        logits: (D,) uncalibrated log-odds of an anomaly in each device.
    """

    merged: np.ndarray
    anomaly: np.ndarray
    devices: tuple[FoundDevice, ...]
    logits: np.ndarray


def match_devices(devices: Sequence[Sequence[FoundDevice]]) -> list[Numbers]:
    """Match the devices of a bag's first two views; devices of further views stand alone.

    Args:
        devices: found devices of each view.

    Returns:
        Indices in every view, for each device of the bag.
    """
    blank: Numbers = (None,) * len(devices)
    if len(devices) < VIEWS:
        return [(k,) for view_devices in devices for k in range(len(view_devices))]
    numbers: list[Numbers] = [
        (*pair, *blank[VIEWS:]) for pair in match_views(devices[0], devices[1])
    ]
    for v, view_devices in enumerate(devices[VIEWS:], VIEWS):
        numbers += [(*blank[:v], k, *blank[v + 1 :]) for k in range(len(view_devices))]
    return numbers


def evaluate_jointly(
    maps: Sequence[ViewMaps], engine: Engine
) -> tuple[list[np.ndarray], list[tuple[Numbers, float]]]:
    """Evaluate the views of a bag together.

    The first two views are evaluated as a pair, any further view alone.

    Args:
        maps: results of each view.
        engine: runs the network ``both_views``.

    Returns:
        Anomaly maps (h, w) of the views; and every device with its uncalibrated log-odds over all
        views that show it.

    Raises:
        ModelError: if the outputs of the engine are incomplete or have the wrong shape.
    """
    numbers = match_devices([view.devices for view in maps])
    anomaly: list[np.ndarray] = []
    logits = np.zeros(len(numbers))
    for first in (0, *range(VIEWS, len(maps))):
        group = range(first, min(len(maps), first + (VIEWS if first == 0 else 1)))
        own = [k for k, number in enumerate(numbers) if any(number[v] is not None for v in group)]
        group_anomaly, group_logits = _evaluate_pair(
            [maps[v] for v in group], [[numbers[k][v] for v in group] for k in own], engine
        )
        anomaly += group_anomaly
        logits[own] = group_logits
    return anomaly, list(zip(numbers, logits.tolist(), strict=True))


def _evaluate_pair(
    maps: Sequence[ViewMaps], numbers: Sequence[Sequence[int | None]], engine: Engine
) -> tuple[list[np.ndarray], np.ndarray]:
    """Evaluate one or two views, padded to a common size; a missing view has no cells."""
    h, w = (max(view.anomaly.shape[axis] for view in maps) for axis in (0, 1))
    n_devices = max(1, len(numbers))  # an empty dummy if no device was found
    merged = np.zeros((VIEWS, maps[0].merged.shape[0], h, w), np.float32)
    anomaly, there = np.zeros((2, VIEWS, 1, h, w), np.float32)
    device = np.zeros((n_devices, VIEWS, h, w), np.float32)
    of_view = np.zeros((n_devices, VIEWS), np.float32)
    for v, view in enumerate(maps):
        height, width = view.anomaly.shape
        merged[v, :, :height, :width] = view.merged
        anomaly[v, 0, :height, :width] = view.anomaly
        there[v, 0, :height, :width] = 1
        for row, number in enumerate(numbers):
            if (k := number[v]) is not None:
                mask = view.devices[k].mask
                device[row, v, : mask.shape[0], : mask.shape[1]] = mask
                of_view[row, v] = view.logits[k]
    inputs = {
        "merged": merged,
        "anomaly": anomaly,
        "there": there,
        "device": device,
        "of_view": of_view,
    }
    outputs = engine.run(GRAPH, inputs)
    shapes = {"changed": anomaly.shape, "logit": (n_devices,)}
    for name, shape in shapes.items():
        if name not in outputs or outputs[name].shape != shape:
            raise ModelError(
                f'network "{GRAPH}" has no output "{name}" of shape {shape}; '
                f"its outputs are {', '.join(outputs)}; export the model again"
            )
    changed = [
        outputs["changed"][v, 0, : view.anomaly.shape[0], : view.anomaly.shape[1]]
        for v, view in enumerate(maps)
    ]
    return changed, outputs["logit"][: len(numbers)]
