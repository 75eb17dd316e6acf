"""What is where in a view: masks of objects, components and the anomaly, as COCO annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle

from bagscan.simulate.raster import Silhouette
from bagscan.simulate.render import RenderedView
from bagscan.simulate.scene import Thing

ANOMALY = "anomaly"
VIEWS_PER_SCAN, ANNOTATIONS_PER_IMAGE = 10, 10_000
# Clutter that lies so far inside a device's outline cannot be told from an anomaly in one view.
AMBIGUOUS_SHARE = 0.95


def encode(silhouette: Silhouette, shape: tuple[int, int]) -> dict[str, Any]:
    """COCO run lengths of a mask in a view of (height, width), from its window alone."""
    height, width = shape
    mask = np.pad(silhouette.mask.T.astype(np.int8), ((0, 0), (1, 1)))
    step = np.diff(mask, axis=1)
    column, row = np.nonzero(step)
    at = (silhouette.left + column) * height + silhouette.top + row
    counts = np.diff(np.concatenate([[0], at, [height * width]]))
    packed = rle.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode()}


def view_annotations(
    view: RenderedView, things: Sequence[Thing], image_id: int
) -> list[dict[str, Any]]:
    """COCO entries of one view: every object, the components of devices, and the anomaly.

    A component's ``parent_id`` is its object's entry, the anomaly's the device under test. Masks are
    amodal: whatever lies over a thing does not cut it.
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


def ambiguous(view: RenderedView, things: Sequence[Thing]) -> list[str]:
    """Names of the clutter that projects wholly inside a device."""
    devices = [
        Silhouette.union([view.components[k] for k in t.components])
        for t in things
        if t.role == "device"
    ]
    shape = view.counts.shape[1:]
    whole = [d.full((shape[0], shape[1])) for d in devices]
    found = []
    for thing in things:
        if thing.role in ("item", "look_alike"):
            own = Silhouette.union([view.components[k] for k in thing.components]).full(
                (shape[0], shape[1])
            )
            if (
                own.any()
                and max((np.logical_and(own, w).sum() / own.sum() for w in whole), default=0)
                >= AMBIGUOUS_SHARE
            ):
                found.append(thing.name)
    return found
