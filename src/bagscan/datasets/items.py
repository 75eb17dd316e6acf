"""Records of single devices ("items") in views of simulated scans.

An object-level model scores an item as a whole. A sub-component-level model splits it into regions
(Bhowmik & Breckon, Fig. 1 B-C). The region of an item is its mask, dilated so that it includes
objects taped to its outside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from bagscan.core import Annotation
from bagscan.core.about import About
from bagscan.datasets.record import Record
from bagscan.formats.truth import decode_mask

MARGIN_PX = 24  # around an item's box: context for the network
WIDEN_PX = 6  # dilation of an item's mask
MIN_PX = 200  # devices of a smaller area are left out
MIN_VISIBLE_PX = 20  # with less of its anomaly visible, an item is neither benign nor anomalous


def item_records(
    record: Record, truth: Mapping[str, Any], devices: Sequence[Mapping[str, Any]] = ()
) -> list[Record]:
    """Return the records of the items in one view.

    Two kinds of device are left out: a host that shows at most ``MIN_VISIBLE_PX`` pixels of its
    anomaly, and another device that the anomaly overlaps in this view. ``about.holds`` of the
    remaining items still states that the bag holds an anomaly.

    Args:
        record: record of the whole view.
        truth: content of the truth file of the view, with COCO annotations.
        devices: entries of the bag's devices in the simulator's record, in the order of the
            annotations. They give the layout and the piece of every item.
    """
    height, width = truth["image"]["height"], truth["image"]["width"]
    entries = truth["annotations"]
    hidden = next((e for e in entries if e["category"] == "anomaly"), None)
    anomaly = np.zeros((height, width), bool)
    if hidden:
        anomaly = decode_mask(hidden["segmentation"], height, width)
    records, remaining = [], iter(devices)
    for entry in (e for e in entries if e["role"] == "device"):
        # A device without a visible pixel has no annotation, so skip to the next of this class.
        device = next((d for d in remaining if d["name"] == entry["category"]), None)
        if entry["area"] < MIN_PX:
            continue
        mask = decode_mask(entry["segmentation"], height, width)
        item = cut(record, mask, str(entry["id"]), entry["category"])
        if device is not None:
            item = replace(item, about=of_device(item.about, device["family"], device.get("piece")))
        is_host = hidden is not None and hidden["parent_id"] == entry["id"]
        x1, y1, x2, y2 = item.window or (0, 0, width, height)
        assert item.item is not None
        visible = anomaly[y1:y2, x1:x2] & item.item.region(y2 - y1, x2 - x1)
        is_visible = visible.sum() > MIN_VISIBLE_PX
        if is_host and is_visible:
            annotations = (Annotation.of_mask("anomaly", visible),)
            records.append(replace(item, annotations=annotations, labels={"anomaly": 1}))
        elif not is_host and not is_visible:
            about = replace(item.about, kind="", way="", stratum="")
            records.append(replace(item, annotations=(), labels={"anomaly": -1}, about=about))
    return records


def of_device(about: About, family: str, piece: int | None) -> About:
    """Return the metadata with those of a device added.

    Args:
        about: metadata of the view.
        family: ``class/layout/number``.
        piece: number of the individual device, if it is scanned repeatedly; else None.
    """
    device, layout, _ = family.split("/")
    return replace(
        about, device=device, layout=f"{device}/{layout}", piece="new" if piece is None else "known"
    )


def cut(record: Record, mask: np.ndarray, name: str, device: str) -> Record:
    """Return the record of one item: a window of the view around its mask.

    Args:
        record: record of the whole view.
        mask: (H, W) bool, the item in the view.
        name: id of the item within the view.
        device: class of the item.
    """
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = (
        max(0, int(columns[0]) - MARGIN_PX),
        max(0, int(rows[0]) - MARGIN_PX),
        min(width, int(columns[-1]) + 1 + MARGIN_PX),
        min(height, int(rows[-1]) + 1 + MARGIN_PX),
    )
    x1, y1, x2, y2 = window
    region = binary_dilation(mask[y1:y2, x1:x2], iterations=WIDEN_PX)
    return replace(
        record,
        id=f"{record.id}_{name}",
        window=window,
        item=replace(Annotation.of_mask(device, region), id=name),
    )


def components_of(record: Record) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the components of an item, as categories and (n, h, w) bool masks in its window.

    Masks overlap, since X-rays also show components that lie under or within another one. Both
    results are empty for a record without truth file, window or item.
    """
    if record.truth is None or record.window is None or record.item is None:
        return (), np.zeros((0, 1, 1), bool)
    truth = json.loads(record.truth.read_text())
    height, width = truth["image"]["height"], truth["image"]["width"]
    parent = {str(e["id"]): str(e["parent_id"]) for e in truth["annotations"]}
    x1, y1, x2, y2 = record.window
    item, names, masks = record.item.id, [], []
    for entry in truth["annotations"]:
        if entry["role"] != "component":
            continue
        ancestor = parent[str(entry["id"])]
        while ancestor != item and ancestor in parent:
            ancestor = parent[ancestor]
        if ancestor != item:
            continue
        mask = decode_mask(entry["segmentation"], height, width)[y1:y2, x1:x2]
        if mask.any():
            names.append(entry["category"])
            masks.append(mask)
    return tuple(names), np.stack(masks) if masks else np.zeros((0, y2 - y1, x2 - x1), bool)


def match(
    found: Sequence[np.ndarray], truth: Sequence[np.ndarray], min_iou: float = 0.5
) -> list[int]:
    """Match found masks to truth masks, greedily by falling IoU, each mask at most once.

    Args:
        found: (H, W) bool masks of one view.
        truth: (H, W) bool masks of the same view.
        min_iou: smallest IoU of a match.

    Returns:
        For each found mask, the index of its truth mask, or -1 if it has no match.
    """
    if not found or not truth:
        return [-1] * len(found)
    a, b = (np.stack(m).reshape(len(m), -1).astype(np.float32) for m in (found, truth))
    common = a @ b.T
    iou = common / np.maximum(a.sum(1)[:, None] + b.sum(1)[None] - common, 1)
    matches, used = [-1] * len(found), set[int]()
    for flat in np.argsort(-iou, axis=None, kind="stable"):
        i, k = divmod(int(flat), len(truth))
        if iou[i, k] < min_iou:
            break
        if matches[i] < 0 and k not in used:
            matches[i] = k
            used.add(k)
    return matches
