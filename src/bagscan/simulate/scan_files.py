"""Files and records of a simulated scan."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.formats.tiff import write_counts
from bagscan.imaging.channels import Calibration, image, write_colour, write_dual_energy
from bagscan.imaging.scanner import Profile
from bagscan.simulate.render import RenderedView, stratum
from bagscan.simulate.scene import Plan, Scene
from bagscan.simulate.summary import read_json
from bagscan.simulate.truth import VIEWS_PER_SCAN, ambiguous, view_annotations

SUFFIXES = {"raw": ".tif", "colour": ".png", "truth": ".json"}  # by folder


def record_path(out: Path, index: int) -> Path:
    """Return the path of the record of a scene, which is written last."""
    return out / "scans" / f"{index:05d}.json"


def is_complete(out: Path, index: int) -> bool:
    """Return whether the record of a scene and every file that it names exist."""
    path = record_path(out, index)
    return path.is_file() and all(
        (out / folder / f"{scan['id']}_{view}{suffix}").is_file()
        for scan in read_json(path)["scans"]
        for view in scan["views"]
        for folder, suffix in SUFFIXES.items()
    )


def write_scan(
    out: Path,
    profile: Profile,
    plan: Plan,
    scene: Scene,
    views: list[RenderedView],
    label: str,
    letter: str,
    is_imported: bool,
) -> dict[str, Any]:
    """Write the files of a scan.

    Args:
        label: ``benign`` or ``anomalous``.
        letter: ``a`` or ``b``, suffix of the scan's id.
        is_imported: whether the anomaly is a user's mesh.

    Returns:
        The record of the scan.
    """
    scan_id = f"{plan.index:05d}{letter}"
    record: dict[str, Any] = {
        "id": scan_id,
        "scene": f"{plan.index:05d}",
        "part": plan.part,
        "group": plan.reported_group,
        "label": label,
        "family": plan.family.name,
        "device": plan.family.device,
        "piece": plan.family.piece,
        "staging": plan.staging,
        "solids": len(scene.benign),
        "no_place_found": scene.concealed is None,
        "things": [{"name": t.name, "role": t.role, **_as_json(t.about)} for t in scene.things],
        "views": {},
    }
    if label == "anomalous":
        assert scene.concealed is not None
        record["anomaly"] = {
            "kind": "imported" if is_imported else scene.concealed.kind,
            "way": scene.concealed.way,
            "materials": sorted(set(scene.concealed.anomaly.material)),
        }
    calibration = Calibration.of_profile(profile)
    for number, view in enumerate(views, 1):
        name = f"{scan_id}_{view.view.name}"
        image_id = plan.index * VIEWS_PER_SCAN + number + 5 * (letter == "b")
        record["views"][view.view.name] = _write_view(
            out, name, profile, calibration, view, scene, image_id
        )
    if label == "anomalous":
        entries = record["views"].values()
        best = max(entry["area_cnr"] for entry in entries)
        record["anomaly"] |= {
            "area_cnr": best,
            "stratum": stratum(best),
            "visible": any(entry["visible"] for entry in entries),
        }
    return record


def _write_view(
    out: Path,
    name: str,
    profile: Profile,
    calibration: Calibration,
    view: RenderedView,
    scene: Scene,
    image_id: int,
) -> dict[str, Any]:
    """Write the files of a view and return its entry in the record."""
    low, high = view.counts.astype(np.float32) / profile.air_counts
    channels = image(low, high, calibration)
    paths = {folder: out / folder / f"{name}{suffix}" for folder, suffix in SUFFIXES.items()}
    write_dual_energy(paths["raw"], view.counts, channels, profile.air_counts)
    write_colour(paths["colour"], channels)
    height, width = view.counts.shape[1:]
    annotations = view_annotations(view, scene.things, image_id)
    coco_image = {
        "id": image_id,
        "file_name": f"{name}.tif",
        "height": height,
        "width": width,
        "view": view.view.name,
    }
    paths["truth"].write_text(json.dumps({"image": coco_image, "annotations": annotations}))
    entry: dict[str, Any] = {
        "image_id": image_id,
        "height": height,
        "width": width,
        "first_channel": view.view.channels[0] if view.view.channels else 0,
        "ambiguous": ambiguous(view, scene.things),
        "sha256": {
            folder: hashlib.sha256(path.read_bytes()).hexdigest() for folder, path in paths.items()
        },
        "statistics": whole_image_statistics(channels.low, channels.high),
    }
    if view.detectability is not None:
        assert view.shown is not None
        entry |= {
            "area_cnr": round(view.detectability.area_cnr, 3),
            "stratum": view.detectability.stratum,
            "visible": view.shown.visible,
            "area_mm2": round(view.shown.area_mm2, 1),
            "change": round(view.shown.change, 5),
            "standing_out": round(view.shown.standing_out, 4),
        }
        hundredths = np.rint(view.detectability.cnr * 100).clip(0, 65535).astype(np.uint16)
        write_counts(out / "detectability" / f"{name}.tif", hundredths[None], ("cnr_hundredths",))
    return entry


def whole_image_statistics(low: np.ndarray, high: np.ndarray) -> list[float]:
    """Return 18 statistics of a view: size, brightness, histogram and sharpness.

    A classifier that separates the labels by these alone exploits a flaw of the dataset.

    Args:
        low: (H, W) transmission at low energy.
        high: (H, W) transmission at high energy.
    """
    grey = (low + high) / 2
    histogram = np.histogram(grey, 8, (0, 1))[0] / grey.size
    edges = np.abs(np.diff(grey, axis=1)).mean()
    values = [
        *grey.shape,
        grey.mean(),
        grey.std(),
        (low / np.maximum(high, 1e-3)).mean(),
        edges,
        *np.percentile(grey, [1, 5, 25, 50]),
        *histogram,
    ]
    return [round(float(v), 6) for v in values]


def _as_json(about: Any) -> dict[str, Any]:
    """Convert NumPy scalars to Python numbers."""
    return {k: (v.item() if hasattr(v, "item") else v) for k, v in dict(about).items()}
