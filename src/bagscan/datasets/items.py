"""Items of simulated scans: every device in every view as a record of its own (paper A, Fig. 1 B-C).

An item is what the object level judges whole and what the sub-component level cuts up. Its region
is its mask, a little wider, so that what is taped to its outside belongs to it.
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

MARGIN_PX = 24  # of the window around an item's box: context for the network
WIDEN_PX = 6  # of an item's mask: what is taped to it
MIN_PX = 200  # a device that shows fewer pixels is not an item
MIN_VISIBLE_PX = 20  # of an anomaly inside its item: of fewer the item is neither benign nor, in that view, anomalous


def item_records(
    record: Record, truth: Mapping[str, Any], devices: Sequence[Mapping[str, Any]] = ()
) -> list[Record]:
    """The items of one view, given its truth file.

    Another device that the anomaly's shadow falls on is left out: it is neither benign nor its host. So is a host
    that shows next to nothing of its anomaly; ``about.holds`` of the other items tells that the bag has one.

    Args:
        record: of the whole view. truth: COCO entries of the view. devices: what the simulator tells of each device of the bag,
            in the order of the entries: of which class, layout and piece every item is, not the device under test alone.
    """
    height, width = truth["image"]["height"], truth["image"]["width"]
    entries = truth["annotations"]
    hidden = next((e for e in entries if e["category"] == "anomaly"), None)
    anomaly = (
        decode_mask(hidden["segmentation"], height, width)
        if hidden
        else np.zeros((height, width), bool)
    )
    found, names = [], iter(devices)
    for entry in (e for e in entries if e["role"] == "device"):
        device = next(
            (d for d in names if d["name"] == entry["category"]), None
        )  # one that shows nothing has no entry
        if entry["area"] < MIN_PX:
            continue
        mask = decode_mask(entry["segmentation"], height, width)
        one = cut(record, mask, str(entry["id"]), entry["category"])
        if device is not None:
            one = replace(one, about=of_device(one.about, device["family"], device.get("piece")))
        host = hidden is not None and hidden["parent_id"] == entry["id"]
        x1, y1, x2, y2 = one.window or (0, 0, width, height)
        assert one.item is not None
        shown = anomaly[y1:y2, x1:x2] & one.item.region(y2 - y1, x2 - x1)
        if shown.sum() > MIN_VISIBLE_PX and not host:
            continue
        if host and shown.sum() > MIN_VISIBLE_PX:
            found.append(
                replace(
                    one, annotations=(Annotation.of_mask("anomaly", shown),), labels={"anomaly": 1}
                )
            )
        elif not host:
            found.append(
                replace(
                    one,
                    annotations=(),
                    labels={"anomaly": -1},
                    about=replace(one.about, kind="", way="", stratum=""),
                )
            )
    return found


def of_device(about: About, family: str, piece: int | None) -> About:
    """With what is known of the device.

    Args:
        family: class/layout/number. piece: number among those that a laboratory scans again and again; None for others.
    """
    device, layout, _ = family.split("/")
    return replace(
        about, device=device, layout=f"{device}/{layout}", piece="new" if piece is None else "known"
    )


def cut(record: Record, mask: np.ndarray, name: str, device: str) -> Record:
    """The record of the item under a (H, W) bool mask of the view."""
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
    """What an item is made of: categories, and (n, h, w) bool masks in the record's window; none where no truth tells.

    What lies under another component, or within one, is there too: an X-ray shows all of them.
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
        above = parent[str(entry["id"])]
        while above != item and above in parent:
            above = parent[above]
        if (
            above == item
            and (mask := decode_mask(entry["segmentation"], height, width)[y1:y2, x1:x2]).any()
        ):
            names.append(entry["category"])
            masks.append(mask)
    return tuple(names), np.stack(masks) if masks else np.zeros((0, y2 - y1, x2 - x1), bool)


def match(
    found: Sequence[np.ndarray], truth: Sequence[np.ndarray], least_iou: float = 0.5
) -> list[int]:
    """Index of the truth mask that each found mask stands for, by falling IoU, each once; -1 for none.

    Args:
        found, truth: (H, W) bool masks of one view.
    """
    if not found or not truth:
        return [-1] * len(found)
    a, b = (np.stack(m).reshape(len(m), -1).astype(np.float32) for m in (found, truth))
    common = a @ b.T
    iou = common / np.maximum(a.sum(1)[:, None] + b.sum(1)[None] - common, 1)
    given, taken = [-1] * len(found), set[int]()
    for flat in np.argsort(-iou, axis=None, kind="stable"):
        i, k = divmod(int(flat), len(truth))
        if iou[i, k] < least_iou:
            break
        if given[i] < 0 and k not in taken:
            given[i] = k
            taken.add(k)
    return given
