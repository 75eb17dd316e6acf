"""COCO annotations of a view: masks of objects, components and the anomaly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle

from bagscan.simulate.bag_contents import SceneObject
from bagscan.simulate.raster import Silhouette
from bagscan.simulate.render import RenderedView

ANOMALY = "anomaly"
VIEWS_PER_SCAN, ANNOTATIONS_PER_IMAGE = 10, 10_000
# Clutter with this share of its silhouette inside a device looks like an anomaly in a single view.
AMBIGUOUS_SHARE = 0.95


def encode(silhouette: Silhouette, shape: tuple[int, int]) -> dict[str, Any]:
    """Encode a silhouette as COCO run lengths.

    Args:
        silhouette: mask in its window.
        shape: (height, width) of the view.
    """
    height, width = shape
    mask = np.pad(silhouette.mask.T.astype(np.int8), ((0, 0), (1, 1)))
    step = np.diff(mask, axis=1)
    column, row = np.nonzero(step)
    at = (silhouette.left + column) * height + silhouette.top + row
    counts = np.diff(np.concatenate([[0], at, [height * width]]))
    packed = rle.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode()}


def view_annotations(
    view: RenderedView, things: Sequence[SceneObject], image_id: int
) -> list[dict[str, Any]]:
    """Return the COCO entries of a view: all objects, the components of devices, the anomaly.

    The ``parent_id`` of a component is the entry of its device; that of the anomaly is the device
    under test. Masks are amodal: overlapping objects do not hide each other.
    """
    shape = view.counts.shape[1:]
    entries: list[dict[str, Any]] = []
    parent_of_anomaly = None

    def add(silhouette: Silhouette, name: str, role: str, parent: int | None) -> int | None:
        if not silhouette.mask.any():
            return None
        number = image_id * ANNOTATIONS_PER_IMAGE + len(entries) + 1
        rows, columns = (
            np.flatnonzero(silhouette.mask.any(1)),
            np.flatnonzero(silhouette.mask.any(0)),
        )
        box = [
            int(silhouette.left + columns[0]),
            int(silhouette.top + rows[0]),
            int(columns[-1] - columns[0] + 1),
            int(rows[-1] - rows[0] + 1),
        ]
        entries.append(
            {
                "id": number,
                "image_id": image_id,
                "category": name,
                "role": role,
                "bbox": box,
                "area": int(silhouette.mask.sum()),
                "iscrowd": 0,
                "segmentation": encode(silhouette, (shape[0], shape[1])),
                "parent_id": parent,
            }
        )
        return number

    for thing in things:
        parts = [view.components[k] for k in thing.components]
        number = add(Silhouette.union(parts), thing.name, thing.role, None)
        if thing.role == "device":
            for part, name in zip(parts, thing.component_names, strict=True):
                add(part, name, "component", number)
            if thing.about["under_test"]:
                parent_of_anomaly = number
    if len(view.components) > sum(len(t.components) for t in things):
        add(view.components[-1], ANOMALY, ANOMALY, parent_of_anomaly)
    return entries


def ambiguous(view: RenderedView, things: Sequence[SceneObject]) -> list[str]:
    """Return the names of clutter whose silhouette lies almost entirely inside a device."""
    devices = [
        Silhouette.union([view.components[k] for k in t.components])
        for t in things
        if t.role == "device"
    ]
    _, height, width = view.counts.shape
    device_masks = [device.full((height, width)) for device in devices]
    names = []
    for thing in things:
        if thing.role in ("item", "look_alike", "prohibited"):
            mask = Silhouette.union([view.components[k] for k in thing.components]).full(
                (height, width)
            )
            if not mask.any():
                continue
            shares = [np.logical_and(mask, device).sum() / mask.sum() for device in device_masks]
            if max(shares, default=0) >= AMBIGUOUS_SHARE:
                names.append(thing.name)
    return names
