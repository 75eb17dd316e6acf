"""Simulated datasets, as ``bagscan simulate`` writes them, with their own split."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bagscan.core import Annotation
from bagscan.core.about import About
from bagscan.core.errors import ConfigError, DataError
from bagscan.datasets.items import MIN_PX, item_records, of_device
from bagscan.datasets.record import Collection, Record, data_folder
from bagscan.datasets.source import Source
from bagscan.formats.truth import read_mask
from bagscan.simulate.summary import read_scans

IMAGES = {"colour": ("colour", ".png"), "raw": ("raw", ".tif"), "all": ("raw", ".tif")}
VIEWS = ("below", "side", "both")
ANNOTATE = ("anomaly", "device")
LABEL = ("anomaly", "kind", "device")


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Settings of a simulated dataset.

    Attributes:
        images: ``colour`` for pseudo-colour, ``raw`` for low, high and effective Z, ``all`` for
            both.
        views: ``below``, ``side`` or ``both``.
        items: load a record per device, with a margin around it, in place of whole views.
        annotate: annotations to load, those of the ``anomaly``, or those of every ``device``, to
            train a detection model.
        label: image-level labels, for kind ``multi_label``: ``anomaly``, the ``kind`` of the
            anomaly, or the class of every ``device`` in the bag.
    """

    images: str = "colour"
    views: str = "both"
    items: bool = False
    annotate: str = "anomaly"
    label: str = "anomaly"

    def load(self) -> Collection:
        """See :func:`load`."""
        in_data_folder = data_folder() / self.root
        return load(
            in_data_folder if in_data_folder.exists() else self.root,
            self.images,
            self.views,
            self.items,
            self.annotate,
            self.label,
        )


def load(
    root: str | Path,
    images: str = "colour",
    views: str = "both",
    items: bool = False,
    annotate: str = "anomaly",
    label: str = "anomaly",
) -> Collection:
    """Load a record per view, or per device in each view. Annotations have masks.

    Args:
        root: folder of the dataset.
        images, views, items, annotate, label: see :class:`Config`.

    Raises:
        DataError: the folder is not a simulated dataset, or no view is usable.
        ConfigError: images, views, annotate or label has an unknown value.
    """
    root = Path(root)
    for name, value, known in (
        ("images", images, IMAGES),
        ("views", views, VIEWS),
        ("annotate", annotate, ANNOTATE),
        ("label", label, LABEL),
    ):
        if value not in known:
            raise ConfigError(
                f"data.sources: {name} is {value!r}; expected one of {', '.join(known)}"
            )
    if not (root / "scans").is_dir():
        raise DataError(
            f"{root}: no simulated dataset; create it with bagscan simulate "
            f"--preset {_preset(root)} --out {root} (the configuration states the count)"
        )
    records: list[Record] = []
    bad, absent = {}, []
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
                truth = json.loads((root / "truth" / f"{name}.json").read_text())
                view_record = _record(
                    scan,
                    view,
                    truth,
                    path,
                    root / "colour" / f"{name}.png" if images == "all" else None,
                    annotate,
                    label,
                )
                devices = [thing for thing in scan["things"] if thing["role"] == "device"]
                records += item_records(view_record, truth, devices) if items else [view_record]
            except (OSError, ValueError, KeyError) as error:
                bad[name] = f"{root / 'truth' / name}.json: {error}"
    n_positive = sum(bool(r.annotations) for r in records)
    unit = "items" if items else "views"
    content = "an anomaly" if annotate == "anomaly" else "a device"
    notes = [f"{len(records)} simulated {unit}, {n_positive} with {content}."]
    if absent:
        notes.append(f"{len(absent)} views are absent.")
    return Collection(root.name, tuple(records), tuple(notes), tuple(absent), bad)


def _record(
    scan: dict[str, Any],
    view: str,
    truth: dict[str, Any],
    path: Path,
    also: Path | None,
    annotate: str,
    label: str,
) -> Record:
    height, width = truth["image"]["height"], truth["image"]["width"]
    annotations = tuple(
        Annotation(
            "anomaly" if annotate == "anomaly" else "item",
            (float(x), float(y), float(x + w), float(y + h)),
            read_mask(entry["segmentation"], height, width),
            id=str(entry["id"]),
            parent_id=None if entry["parent_id"] is None else str(entry["parent_id"]),
        )
        for entry in truth["annotations"]
        if entry["role"] == annotate and entry["area"] >= (MIN_PX if annotate == "device" else 1)
        for x, y, w, h in [entry["bbox"]]
    )
    return Record(
        f"{scan['id']}_{view}",
        path,
        annotations,
        _labels(scan, label),
        "simulated",
        scan["part"],
        # A family stays in one part. Devices that are scanned repeatedly occur in every part.
        scan["family"] if scan.get("piece") is None else scan["id"],
        _about(scan, view),
        also=also,
        truth=path.parent.parent / "truth" / f"{scan['id']}_{view}.json",
    )


def _labels(scan: dict[str, Any], label: str) -> dict[str, int]:
    if label == "device":
        return {thing["name"]: 1 for thing in scan["things"] if thing["role"] == "device"}
    if label == "kind":
        return {scan["anomaly"]["kind"]: 1} if "anomaly" in scan else {}
    return {"anomaly": 1 if "anomaly" in scan else -1}


def _about(scan: dict[str, Any], view: str) -> About:
    seen, hidden = scan["views"][view], scan.get("anomaly")
    about = About(
        scan=scan["id"],
        view=view,
        scene=scan["scene"],
        holds=hidden is not None,
        ambiguous=bool(seen["ambiguous"]),
        look_alike=any(thing["role"] == "look_alike" for thing in scan["things"]),
    )
    about = of_device(about, scan["family"], scan.get("piece"))
    if hidden:
        about = replace(about, kind=hidden["kind"], way=hidden["way"], stratum=seen["stratum"])
    return about


def _preset(root: Path) -> str:
    """Guess the preset from the name of the folder, which in our configurations begins with it."""
    from bagscan.simulate import preset_names

    return next((name for name in preset_names() if root.name.split("_")[0] == name), "deei")
