"""Comparison of verdicts with the truth of simulated scans, for demonstrations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.formats.truth import MAX_FALSE_REGIONS, decode_mask, grow

RIGHT_PER_FALSE = 4  # regions on what is hidden that allow another one elsewhere
HIDDEN = ("anomaly", "prohibited")  # roles of what does not belong in a bag


def load_hidden_masks(
    path: Path, scan_id: str, views: Iterable[str]
) -> dict[str, np.ndarray] | None:
    """Load the masks of hidden things of a simulated bag: anomalies and prohibited items.

    Args:
        path: a file of the bag, in ``raw/`` or ``colour/`` beside ``truth/``.
        scan_id: id of the bag.
        views: names of its views.

    Returns:
        (H, W) bool masks by view, of all things together, empty for a benign bag; None if there is
        no truth.
    """
    folder = path.parent.parent / "truth"
    files = {view: folder / f"{scan_id}_{view}.json" for view in views}
    if path.parent.name not in ("raw", "colour") or not files:
        return None
    if not all(file.is_file() for file in files.values()):
        return None
    masks: dict[str, np.ndarray] = {}
    for view, file in files.items():
        truth = json.loads(file.read_text())
        size = truth["image"]["height"], truth["image"]["width"]
        for entry in truth["annotations"]:
            if entry["role"] in HIDDEN:
                shown = masks.setdefault(view, np.zeros(size, bool))
                shown |= decode_mask(entry["segmentation"], *size)
    return masks


def compare_with_truth(row: Mapping[str, Any], hidden: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Compare a bag's verdict with the truth.

    A bag in ``REVIEW`` counts as missed if something is hidden in it, else as a false alarm.

    Args:
        row: the bag's row of ``findings.json``.
        hidden: (H, W) bool masks by view, from :func:`load_hidden_masks`.

    Returns:
        ``outcome``: ``found`` (at the right place, with at most two regions
        elsewhere, or a quarter of those on it, since many things can be hidden),
        ``found elsewhere``, ``missed``,
        ``false alarm`` or ``rightly clear``; ``on_it``: a bool per finding, True if it lies on
        something hidden.
    """
    near = {view: grow(mask) for view, mask in hidden.items()}
    on_it = [_lies_on(finding, near) for finding in row["findings"]]
    if not hidden:
        outcome = "rightly clear" if row["decision"] == "CLEAR" else "false alarm"
    elif row["decision"] != "ALARM":
        outcome = "missed"
    else:
        is_right = any(on_it) and on_it.count(False) <= max(
            MAX_FALSE_REGIONS, on_it.count(True) // RIGHT_PER_FALSE
        )
        outcome = "found" if is_right else "found elsewhere"
    return {"outcome": outcome, "on_it": on_it}


def _lies_on(finding: Mapping[str, Any], near: Mapping[str, np.ndarray]) -> bool:
    if finding["view_id"] not in near:
        return False
    neighbourhood = near[finding["view_id"]]
    flagged = decode_mask(finding["mask"], *neighbourhood.shape)
    return bool(flagged.any() and neighbourhood[flagged].mean() >= 0.5)


def summarise_truth(truths: Iterable[Mapping[str, Any]]) -> str:
    """Return a text of three lines that counts found, missed and false-alarm bags.

    Args:
        truths: results of :func:`compare_with_truth`.

    Returns:
        The text; empty if there are no truths.
    """
    truths = list(truths)
    if not truths:
        return ""
    n = Counter(truth["outcome"] for truth in truths)
    n_found = n["found"] + n["found elsewhere"]
    n_benign = n["false alarm"] + n["rightly clear"]
    on_it = [on for truth in truths for on in truth["on_it"]]
    return (
        f"Bags with something hidden: {n_found + n['missed']}. Found: {n_found}, "
        f"{n['found']} of them at the right place; missed: {n['missed']}.\n"
        f"Benign bags: {n_benign}. False alarms: {n['false alarm']}.\n"
        f"Flagged regions: {len(on_it)}, "
        f"{sum(on_it)} of them on what is hidden or within 10 mm of it."
    )
