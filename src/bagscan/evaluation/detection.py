"""COCO box and mask average precision of detections (Lin et al., ECCV 2014), through pycocotools."""

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
    """AP over IoU .50 to .95, at .50 and .75, and by size, of boxes and, where the truth has them, of masks.

    Args:
        truth: per view. found: per view, detections with ``label``, ``score``, ``box_xyxy`` and ``mask`` (H, W) bool.
        shapes: (H, W) of every view.

    Returns:
        ``{"box": {...}, "mask": {...}}``; NaN where nothing of that size is there.
    """
    labels = sorted(
        {a.label for view in truth for a in view} | {d["label"] for view in found for d in view}
    )
    number = {label: k + 1 for k, label in enumerate(labels)}
    images = [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(shapes)]
    masked = all(a.mask is not None for view in truth for a in view)
    entries = [
        {
            **_entry(i, number[a.label], a.box_xyxy),
            "id": n + 1,
            "iscrowd": 0,
            **(
                {"segmentation": encode_mask(a.mask), "area": a.mask.area}
                if masked and a.mask is not None
                else {}
            ),
        }
        for n, (i, a) in enumerate((i, a) for i, view in enumerate(truth) for a in view)
    ]
    results = [
        {
            **_entry(i, number[d["label"]], d["box_xyxy"]),
            "score": d["score"],
            "segmentation": encode_mask(d["mask"]),
        }
        for i, view in enumerate(found)
        for d in view
    ]
    kinds = {"box": "bbox"} | ({"mask": "segm"} if masked else {})
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
        # Its loader takes boxes from masks where an entry has both, so each kind is given alone.
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
    dropped = "segmentation" if kind == "bbox" else "bbox"
    given = reference.loadRes([{k: v for k, v in r.items() if k != dropped} for r in results])
    judge = COCOeval(reference, given, kind)
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    stats = np.asarray(judge.stats, float)[: len(NAMES)]
    return {
        name: float("nan") if value < 0 else float(value)
        for name, value in zip(NAMES, stats, strict=True)
    }
