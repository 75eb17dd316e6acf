"""A simulated data set (``bagscan simulate``): raw channels or pseudo-colour, with its own split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bagscan.core import Annotation
from bagscan.core.errors import ConfigError, DataError
from bagscan.datasets.record import Collection, Record
from bagscan.formats.coco import decode_mask
from bagscan.simulate.summary import read_scans

IMAGES = {"colour": ("colour", ".png"), "raw": ("raw", ".tif")}
VIEWS = ("below", "side", "both")


def load(root: str | Path, images: str = "colour", views: str = "both") -> Collection:
    """Every view as a record whose annotations are its anomalies, masks and all.

    Args:
        images: ``colour`` for pseudo-colour, ``raw`` for low, high and effective Z. views: ``below``, ``side`` or ``both``.

    Raises:
        DataError: no simulated data set there. ConfigError: unknown images or views.
    """
    root = Path(root)
    if images not in IMAGES or views not in VIEWS:
        raise ConfigError(f"data.sources: images must be one of {', '.join(IMAGES)} and views one of {', '.join(VIEWS)}, got {images!r} and {views!r}")
    if not (root / "scans").is_dir():
        raise DataError(f"{root}: no simulated data set; bagscan simulate --preset deei --out {root} makes one (or another preset: see the configuration)")
    records, bad, absent = [], {}, []
    folder, suffix = IMAGES[images]
    for scan in read_scans(root):
        for view in scan["views"]:
            if views not in (view, "both"):
                continue
            name = f"{scan['id']}_{view}"
            path = root / folder / f"{name}{suffix}"
            if not path.is_file():
                absent.append(name)
                continue
            try:
                records.append(_record(root, scan, name, path, scan["views"][view]))
            except (OSError, ValueError, KeyError) as error:
                bad[name] = f"{root / 'truth' / name}.json: {error}"
    positive = sum(bool(r.annotations) for r in records)
    notes = [f"{len(records)} simulated views, {positive} with an anomaly."]
    if absent:
        notes.append(f"{len(absent)} views are absent.")
    return Collection(root.name, tuple(records), tuple(notes), tuple(absent), bad)


def _record(root: Path, scan: dict[str, Any], name: str, path: Path, view: dict[str, Any]) -> Record:
    truth = json.loads((root / "truth" / f"{name}.json").read_text())
    height, width = truth["image"]["height"], truth["image"]["width"]
    found = tuple(
        Annotation(
            "anomaly",
            (float(x), float(y), float(x + w), float(y + h)),
            decode_mask(entry["segmentation"], height, width),
            id=str(entry["id"]),
            parent_id=None if entry["parent_id"] is None else str(entry["parent_id"]),
        )
        for entry in truth["annotations"]
        if entry["category"] == "anomaly"
        for x, y, w, h in [entry["bbox"]]
    )
    about = {key: scan["anomaly"][key] for key in ("kind", "way")} | {"stratum": view["stratum"]} if "anomaly" in scan else {}
    return Record(name, path, found, {"anomaly": 1 if "anomaly" in scan else -1}, scan["family"].split("/")[0], scan["part"], scan["family"], about)
