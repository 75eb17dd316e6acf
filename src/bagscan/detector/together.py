"""Both views of a bag through the network that looks at them together, and devices matched between them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscan.core.errors import ModelError
from bagscan.detector.devices import FoundDevice, match_views
from bagscan.detector.engine import Engine

VIEWS = 2
GRAPH = "both_views"
Numbers = tuple[
    int | None, ...
]  # of one device in every view of a bag; None where a view does not show it


@dataclass(frozen=True)
class ViewMaps:
    """What one view shows by itself, in cells.

    Attributes:
        merged: (n, h, w) features. anomaly: (h, w) logits. devices: found in it. logits: (D,) of their verdicts.
    """

    merged: np.ndarray
    anomaly: np.ndarray
    devices: tuple[FoundDevice, ...]
    logits: np.ndarray


def matched(devices: Sequence[Sequence[FoundDevice]]) -> list[Numbers]:
    """The devices of a bag: those of its first two views matched along the belt; more views stand alone.

    Args:
        devices: found, by view.
    """
    blank: Numbers = (None,) * len(devices)
    if len(devices) < VIEWS:
        return [(k,) for of_view in devices for k in range(len(of_view))]
    numbers: list[Numbers] = [
        (*pair, *blank[VIEWS:]) for pair in match_views(devices[0], devices[1])
    ]
    for v, of_view in enumerate(devices[VIEWS:], VIEWS):
        numbers += [(*blank[:v], k, *blank[v + 1 :]) for k in range(len(of_view))]
    return numbers


def seen_together(
    maps: Sequence[ViewMaps], engine: Engine
) -> tuple[list[np.ndarray], list[tuple[Numbers, float]]]:
    """Anomaly maps of a bag's views, and the verdict on every device over all views that show it, in log-odds that are not calibrated.

    Raises:
        ModelError: the engine gives something else.
    """
    numbers = matched([one.devices for one in maps])
    anomaly: list[np.ndarray] = []
    logits = np.zeros(len(numbers))
    for first in (0, *range(VIEWS, len(maps))):
        pair = range(first, min(len(maps), first + (VIEWS if first == 0 else 1)))
        own = [k for k, of_view in enumerate(numbers) if any(of_view[v] is not None for v in pair)]
        changed, result = _looked(
            [maps[v] for v in pair], [[numbers[k][v] for v in pair] for k in own], engine
        )
        anomaly += changed
        logits[own] = result
    return anomaly, list(zip(numbers, logits.tolist(), strict=True))


def _looked(
    maps: Sequence[ViewMaps], numbers: Sequence[Sequence[int | None]], engine: Engine
) -> tuple[list[np.ndarray], np.ndarray]:
    """One or two views, filled up to one size; a view that is missing has no cell."""
    h, w = (max(one.anomaly.shape[axis] for one in maps) for axis in (0, 1))
    merged = np.zeros((VIEWS, maps[0].merged.shape[0], h, w), np.float32)
    anomaly, there = np.zeros((2, VIEWS, 1, h, w), np.float32)
    device, of_view = (
        np.zeros((max(1, len(numbers)), VIEWS, h, w), np.float32),
        np.zeros((max(1, len(numbers)), VIEWS), np.float32),
    )
    for v, one in enumerate(maps):
        cells = (slice(0, one.anomaly.shape[0]), slice(0, one.anomaly.shape[1]))
        merged[(v, slice(None), *cells)], anomaly[(v, 0, *cells)], there[(v, 0, *cells)] = (
            one.merged,
            one.anomaly,
            1,
        )
        for row, number in enumerate(numbers):
            if (k := number[v]) is not None:
                mask = one.devices[k].mask
                device[row, v, : mask.shape[0], : mask.shape[1]], of_view[row, v] = (
                    mask,
                    one.logits[k],
                )
    found = engine.run(
        GRAPH,
        {
            "merged": merged,
            "anomaly": anomaly,
            "there": there,
            "device": device,
            "of_view": of_view,
        },
    )
    if (
        {"changed", "logit"} - set(found)
        or found["changed"].shape != anomaly.shape
        or found["logit"].shape != (len(device),)
    ):
        raise ModelError(
            f"the network gave {', '.join(found)}, and not the maps and verdicts of both views"
        )
    changed = [
        found["changed"][v, 0, : one.anomaly.shape[0], : one.anomaly.shape[1]]
        for v, one in enumerate(maps)
    ]
    return changed, found["logit"][: len(numbers)]
