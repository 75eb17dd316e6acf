"""Twenty hits, twenty misses and twenty false alarms of a detector: python -m experiments.pictures MODEL SET OUT.

Each picture is the view in which the anomaly shows best, cropped to the device: the truth in red, what the detector
points at in black, devices that it found in green.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, binary_erosion

from bagscan.detector.deciding import region_scores
from bagscan.detector.exported import FLAGGED, UsableDetector
from bagscan.detector.features import CELL_PX
from bagscan.formats import read_scan
from bagscan.formats.truth import decode_mask
from bagscan.reporting.pictures import displayable
from bagscan.runtime.load import load_model
from bagscan.simulate.summary import read_scans

EACH, COLUMNS, CELL, MARGIN_PX, NEAR_PX = 20, 5, (300, 250), 40, 10
RED, BLACK, GREEN = (230, 0, 0), (0, 0, 0), (0, 150, 60)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("model", "set", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    detector = load_model(arguments.model)
    assert isinstance(detector, UsableDetector)
    sheets: dict[str, list[Image.Image]] = {"hits": [], "misses": [], "false_alarms": []}
    for record in read_scans(arguments.set):
        if record["part"] != "test" or all(len(s) >= EACH for s in sheets.values()):
            continue
        kind, picture = _judged(arguments.set, record, detector)
        if kind and len(sheets[kind]) < EACH:
            sheets[kind].append(picture)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, pictures in sheets.items():
        _sheet(pictures).save(arguments.out / f"{name}.png")
        print(arguments.out / f"{name}.png", len(pictures))


def _judged(root: Path, record: dict[str, Any], detector: UsableDetector) -> tuple[str | None, Any]:
    """What became of a bag, and the picture that shows it."""
    names = list(record["views"])
    views = [read_scan(root / "raw" / f"{record['id']}_{name}.tif").views[0] for name in names]
    bag = detector.look(views)
    seen, scores = bag.views, region_scores(bag, detector.thresholds)
    flagged = [
        np.isin(one.regions.labels, np.flatnonzero(own >= FLAGGED))
        for one, own in zip(seen, scores, strict=True)
    ]
    truth = [
        _anomaly(root, record, name, view.shape) for name, view in zip(names, views, strict=True)
    ]
    if record["label"] == "benign":
        worst = int(np.argmax([own.max() for own in scores]))
        return (
            (
                "false_alarms",
                _picture(record, views[worst], seen[worst], flagged[worst], truth[worst]),
            )
            if any(f.any() for f in flagged)
            else (None, None)
        )
    best = int(np.argmax([record["views"][name]["standing_out"] for name in names]))
    hit = any(
        (binary_dilation(t, iterations=NEAR_PX) & f).sum() >= 0.5 * f.sum()
        for t, f in zip(truth, flagged, strict=True)
        if f.any()
    )
    return ("hits" if hit else "misses"), _picture(
        record, views[best], seen[best], flagged[best], truth[best]
    )


def _anomaly(root: Path, record: dict[str, Any], name: str, shape: tuple[int, int]) -> np.ndarray:
    entries = json.loads((root / "truth" / f"{record['id']}_{name}.json").read_text())[
        "annotations"
    ]
    return next(
        (
            decode_mask(e["segmentation"], *shape).astype(bool)
            for e in entries
            if e["category"] == "anomaly"
        ),
        np.zeros(shape, bool),
    )


def _picture(
    record: dict[str, Any], view: Any, seen: Any, flagged: np.ndarray, truth: np.ndarray
) -> Image.Image:
    rgb = displayable(view).copy()
    devices = np.zeros(view.shape, bool)
    for device in seen.devices:
        devices |= device.mask.repeat(CELL_PX, 0).repeat(CELL_PX, 1)[
            : view.shape[0], : view.shape[1]
        ]
    for mask, colour in ((devices, GREEN), (flagged, BLACK), (truth, RED)):
        rgb[mask & ~binary_erosion(mask, iterations=2)] = colour
    look_at = truth | flagged if (truth | flagged).any() else np.ones(view.shape, bool)
    rows, columns = np.flatnonzero(look_at.any(1)), np.flatnonzero(look_at.any(0))
    top, left = max(0, rows[0] - MARGIN_PX), max(0, columns[0] - MARGIN_PX)
    picture = Image.fromarray(rgb[top : rows[-1] + MARGIN_PX, left : columns[-1] + MARGIN_PX])
    picture.thumbnail((CELL[0] - 6, CELL[1] - 30))
    cell = Image.new("RGB", CELL, "white")
    cell.paste(picture, (3, 28))
    hidden = record.get("anomaly", {})
    odds = ", ".join(f"{value:.1f}" for value in seen.logits)
    text = f"{record['device']} {record['group']}\n{hidden.get('kind', '')} {hidden.get('way', '')} [{odds}]"
    ImageDraw.Draw(cell).text((4, 2), text, fill="black")
    return cell


def _sheet(pictures: list[Image.Image]) -> Image.Image:
    rows = max(1, -(-len(pictures) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * CELL[0], rows * CELL[1]), "white")
    for k, picture in enumerate(pictures):
        sheet.paste(picture, (k % COLUMNS * CELL[0], k // COLUMNS * CELL[1]))
    return sheet


if __name__ == "__main__":
    main()
