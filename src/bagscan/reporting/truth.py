"""What is hidden in simulated scans, beside what was flagged: for demonstrations, where the truth lies next to the scans."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from bagscan.formats.truth import decode_mask

NEAR_PX = 10  # a millimetre each: half of a region on the anomaly or so near counts as on it
ANOMALY = "anomaly"


def hidden_in(path: Path, scan_id: str, views: Iterable[str]) -> dict[str, np.ndarray] | None:
    """(H, W) bool masks of what is hidden in a simulated bag, by view; empty for a benign one, None where no truth is told.

    Args:
        path: of one of its files, in ``raw/`` or ``colour/`` beside ``truth/``.
    """
    folder = path.parent.parent / "truth"
    files = {view: folder / f"{scan_id}_{view}.json" for view in views}
    if (
        path.parent.name not in ("raw", "colour")
        or not files
        or not all(file.is_file() for file in files.values())
    ):
        return None
    masks = {}
    for view, file in files.items():
        result = json.loads(file.read_text())
        size = result["image"]["height"], result["image"]["width"]
        for entry in result["annotations"]:
            if entry["role"] == ANOMALY:
                masks[view] = decode_mask(entry["segmentation"], *size)
    return masks


def compared(row: Mapping[str, Any], hidden: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How a bag's verdict compares with the truth.

    Returns:
        ``outcome``: ``found`` (at the right place), ``found elsewhere``, ``missed``, ``false alarm`` or ``rightly clear``; ``on_it``: of
        every finding whether it lies on what is hidden. A bag in REVIEW counts as missed, and as a false alarm where nothing is hidden.
    """
    near = {view: distance_transform_edt(~mask) <= NEAR_PX for view, mask in hidden.items()}
    on_it = [_lies_on(finding, near) for finding in row["findings"]]
    if hidden:
        outcome = (
            "missed" if row["decision"] != "ALARM" else "found" if any(on_it) else "found elsewhere"
        )
    else:
        outcome = "rightly clear" if row["decision"] == "CLEAR" else "false alarm"
    return {"outcome": outcome, "on_it": on_it}


def _lies_on(finding: Mapping[str, Any], near: Mapping[str, np.ndarray]) -> bool:
    if finding["view_id"] not in near:
        return False
    around = near[finding["view_id"]]
    flagged = decode_mask(finding["mask"], *around.shape)
    return bool(flagged.any() and around[flagged].mean() >= 0.5)


def tally_of(truths: Iterable[Mapping[str, Any]]) -> str:
    """Bags found, missed and falsely alarmed, for people; empty where nothing is known."""
    truths = list(truths)
    if not truths:
        return ""
    n = Counter(truth["outcome"] for truth in truths)
    found, regions = (
        n["found"] + n["found elsewhere"],
        [on for truth in truths for on in truth["on_it"]],
    )
    return "\n".join(
        [
            f"Bags with something hidden: {found + n['missed']}. Found: {found}, {n['found']} of them at the right place; missed: {n['missed']}.",
            f"Benign bags: {n['false alarm'] + n['rightly clear']}. False alarms: {n['false alarm']}.",
            f"Flagged regions: {len(regions)}, {sum(regions)} of them on the hidden thing or within 10 mm of it.",
        ]
    )
