"""Draw contact sheets of hits, misses and false alarms of a detector, twenty of each.

    python -m experiments.pictures MODEL SET OUT

Each picture is the view in which the anomaly is most visible, cropped to the anomaly and the
flagged regions. The truth is red, flagged regions are black, detected devices green.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from bagscan.detector.deciding import region_scores
from bagscan.detector.exported import FLAGGED, UsableDetector
from bagscan.detector.features import CELL_PX
from bagscan.formats import read_scan
from bagscan.formats.truth import decode_mask
from bagscan.imaging.contact_sheet import draw_contact_sheet
from bagscan.reporting.pictures import displayable
from bagscan.runtime.load import load_detector
from bagscan.simulate.summary import read_scans

EACH, COLUMNS, CELL, ZOOM, MARGIN_PX, NEAR_PX = 20, 5, (300, 250), 3, 40, 10
RED, BLACK, GREEN = (230, 0, 0), (0, 0, 0), (0, 150, 60)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("model", "set", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    detector = load_detector(arguments.model)
    sheets: dict[str, list[tuple[Image.Image, str]]] = {
        "hits": [],
        "misses": [],
        "false_alarms": [],
    }
    for record in read_scans(arguments.set):
        if record["part"] != "test" or all(len(s) >= EACH for s in sheets.values()):
            continue
        kind, picture = _classify(arguments.set, record, detector)
        if kind and len(sheets[kind]) < EACH:
            sheets[kind].append(picture)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, pictures in sheets.items():
        draw_contact_sheet(pictures, COLUMNS, CELL).save(arguments.out / f"{name}.png")
        print(arguments.out / f"{name}.png", len(pictures))


def _classify(
    root: Path, record: dict[str, Any], detector: UsableDetector
) -> tuple[str | None, Any]:
    """Return the sheet that a bag belongs to and its picture; (None, None) for a correct CLEAR."""
    names = list(record["views"])
    views = [read_scan(root / "raw" / f"{record['id']}_{name}.tif").views[0] for name in names]
    bag = detector.run_views(views)
    seen, scores = bag.views, region_scores(bag, detector.thresholds)
    flagged = [
        np.isin(view.regions.labels, np.flatnonzero(view_scores >= FLAGGED))
        for view, view_scores in zip(seen, scores, strict=True)
    ]
    truth = [
        _anomaly(root, record, name, view.shape) for name, view in zip(names, views, strict=True)
    ]
    if record["label"] == "benign":
        if not any(mask.any() for mask in flagged):
            return None, None
        k, kind = int(np.argmax([view_scores.max() for view_scores in scores])), "false_alarms"
    else:
        k = int(np.argmax([record["views"][name]["standing_out"] for name in names]))
        is_hit = any(
            (binary_dilation(anomaly, iterations=NEAR_PX) & mask).sum() >= 0.5 * mask.sum()
            for anomaly, mask in zip(truth, flagged, strict=True)
            if mask.any()
        )
        kind = "hits" if is_hit else "misses"
    return kind, _picture(record, views[k], seen[k], flagged[k], truth[k])


def _anomaly(root: Path, record: dict[str, Any], name: str, shape: tuple[int, int]) -> np.ndarray:
    truth = json.loads((root / "truth" / f"{record['id']}_{name}.json").read_text())
    for entry in truth["annotations"]:
        if entry["category"] == "anomaly":
            return decode_mask(entry["segmentation"], *shape).astype(bool)
    return np.zeros(shape, bool)


def _picture(
    record: dict[str, Any], view: Any, seen: Any, flagged: np.ndarray, truth: np.ndarray
) -> tuple[Image.Image, str]:
    rgb = displayable(view).copy()
    devices = np.zeros(view.shape, bool)
    for device in seen.devices:
        mask = device.mask.repeat(CELL_PX, 0).repeat(CELL_PX, 1)
        devices |= mask[: view.shape[0], : view.shape[1]]
    for mask, colour in ((devices, GREEN), (flagged, BLACK), (truth, RED)):
        rgb[mask & ~binary_erosion(mask, iterations=2)] = colour
    relevant = truth | flagged if (truth | flagged).any() else np.ones(view.shape, bool)
    rows, columns = np.flatnonzero(relevant.any(1)), np.flatnonzero(relevant.any(0))
    top, left = max(0, rows[0] - MARGIN_PX), max(0, columns[0] - MARGIN_PX)
    picture = Image.fromarray(rgb[top : rows[-1] + MARGIN_PX, left : columns[-1] + MARGIN_PX])
    picture = picture.resize((ZOOM * picture.width, ZOOM * picture.height))
    hidden = record.get("anomaly", {})
    odds = ", ".join(f"{value:.1f}" for value in seen.logits)
    text = (
        f"{record['device']} {record['group']}\n"
        f"{hidden.get('kind', '')} {hidden.get('way', '')} [{odds}]"
    )
    return picture, text


if __name__ == "__main__":
    main()
