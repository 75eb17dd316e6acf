"""COCO average precision of boxes and masks (Lin et al., ECCV 2014), computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bagscan.core import Annotation
from bagscan.formats.coco import encode_mask

NAMES = ("ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large")


def coco_scores(
    truth: Sequence[Sequence[Annotation]],
    found: Sequence[Sequence[Mapping[str, Any]]],
    shapes: Sequence[tuple[int, int]],
) -> dict[str, dict[str, float]]:
    """Compute COCO average precision: for IoU 0.50 to 0.95, at 0.50 and 0.75, and by size.

    Args:
        truth: annotations of each view.
        found: detections of each view, with ``label``, ``score``, ``box_xyxy`` and ``mask``, an
            (H, W) bool array.
        shapes: (H, W) of each view.

    Returns:
        ``{"box": {...}, "mask": {...}}`` with the keys ``NAMES``. ``mask`` is present only if all
        annotations have masks. A value is NaN if there are no objects of that size.
    """
    labels = sorted(
        {a.label for view in truth for a in view} | {d["label"] for view in found for d in view}
    )
    number = {label: k + 1 for k, label in enumerate(labels)}
    images = [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(shapes)]
    has_masks = all(a.mask is not None for view in truth for a in view)
    entries: list[dict[str, Any]] = []
    for i, view in enumerate(truth):
        for a in view:
            entry = _entry(i, number[a.label], a.box_xyxy)
            entry |= {"id": len(entries) + 1, "iscrowd": 0}
            if has_masks and a.mask is not None:
                entry |= {"segmentation": encode_mask(a.mask), "area": a.mask.area}
            entries.append(entry)
    results = [
        {
            **_entry(i, number[d["label"]], d["box_xyxy"]),
            "score": d["score"],
            "segmentation": encode_mask(d["mask"]),
        }
        for i, detections in enumerate(found)
        for d in detections
    ]
    kinds = {"box": "bbox"} | ({"mask": "segm"} if has_masks else {})
    if not entries or not results:
        return {kind: dict.fromkeys(NAMES, 0.0 if entries else float("nan")) for kind in kinds}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        reference = COCO()
        reference.dataset = {
            "images": images,
            "annotations": entries,
            "categories": [{"id": k, "name": name} for name, k in number.items()],
        }
        reference.createIndex()
        # If results have both, pycocotools replaces boxes by those of the masks, so each kind is
        # evaluated separately.
        return {kind: _evaluate(reference, results, coco_kind) for kind, coco_kind in kinds.items()}


def _entry(image: int, category: int, box: Sequence[float]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
    }


def _evaluate(reference: COCO, results: list[dict[str, Any]], kind: str) -> dict[str, float]:
    unused = "segmentation" if kind == "bbox" else "bbox"
    loaded = reference.loadRes([{k: v for k, v in r.items() if k != unused} for r in results])
    evaluation = COCOeval(reference, loaded, kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats = np.asarray(evaluation.stats, float)[: len(NAMES)]
    return {
        name: float("nan") if value < 0 else float(value)
        for name, value in zip(NAMES, stats, strict=True)
    }
