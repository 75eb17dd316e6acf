"""DvXray: two views per bag, boxes of fifteen classes of prohibited item (Ma et al., TIFS 2024).

Layout: ``<name>.json`` beside ``<name>_OL.png`` and ``<name>_SD.png``, in any folder below the
root. In the JSON file, ``objects`` is a list or ``"None"``. An object has a ``label``, and for each
view that shows it a box (x1, y1, x2, y2 in pixels) under a key that begins with the view's name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bagscan.core import Annotation
from bagscan.core.about import About
from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import Collection, Record, count_beyond, image_size
from bagscan.datasets.source import Source
from bagscan.formats.coco import error_message
from bagscan.formats.limits import MAX_TEXT_BYTES, check_size, naming
from bagscan.formats.truth import beyond_note, check_on_picture

VIEWS = ("OL", "SD")
PUBLISHED_COUNT = 32_000  # images, two per bag


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Settings of DvXray: those of every dataset."""

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder)


def load(root: str | Path) -> Collection:
    """Load all bags. A split keeps the two views of a bag together.

    Raises:
        DataError: no bag is usable.
    """
    records, bad, absent, beyond = [], {}, [], 0
    for path in sorted(Path(root).rglob("*.json")):
        pictures = {view: path.with_name(f"{path.stem}_{view}.png") for view in VIEWS}
        present = {view: picture for view, picture in pictures.items() if picture.is_file()}
        if not present:
            continue  # another JSON file
        absent += [f"{path.stem}_{view}" for view in VIEWS if view not in present]
        for view, picture in present.items():
            try:
                record, n_beyond = _load_record(path, view, picture)
                records.append(record)
                beyond += n_beyond
            except ReadError as error:
                bad[picture.stem] = str(error)
    if not records and not bad:
        raise DataError(
            f"{root}: no bags found; expected <name>.json beside <name>_OL.png and <name>_SD.png"
        )
    for picture in sorted(Path(root).rglob("*.png")):
        name, _, view = picture.stem.rpartition("_")
        if view in VIEWS and not picture.with_name(f"{name}.json").is_file():
            bad[picture.stem] = f"{picture}: {name}.json is missing beside it"
    n_bags = len({r.about.scan for r in records})
    n_boxes = sum(len(r.annotations) for r in records)
    notes = [
        f"{len(records)} views of {n_bags} bags, {n_boxes} boxes; {len(absent)} views are absent.",
        *beyond_note(beyond),
    ]
    return Collection("dvxray", tuple(records), tuple(notes), tuple(absent), bad).called(
        "dvxray", PUBLISHED_COUNT
    )


def _load_record(path: Path, view: str, picture: Path) -> tuple[Record, int]:
    """Return the record of a view, and the number of its boxes that reach beyond the image."""
    check_size(path, MAX_TEXT_BYTES)
    with naming(picture, "image"):
        size = image_size(picture)
    with naming(path, "DvXray annotation"):
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            if not isinstance(content, dict):
                raise ReadError("expected a mapping with the key objects")
            objects = content.get("objects", [])
            if objects in (None, "None"):
                objects = []
            annotations = tuple(box for entry in objects for box in _boxes(entry, view, *size))
        except Exception as error:  # a field of a wrong type can raise any error
            raise ReadError(f"{path}: {error_message(error)}") from error
    about = About(scan=path.stem, view=view)
    record = Record(f"{path.stem}_{view}", picture, annotations, about=about)
    return record, count_beyond(picture, annotations, size)


def _boxes(entry: dict[str, Any], view: str, height: int, width: int) -> list[Annotation]:
    """Return the box of an object in a view, or an empty list if the view does not show it."""
    box = next(
        (value for key, value in entry.items() if key.lower().startswith(view.lower())), None
    )
    if box in (None, "None", []):
        return []
    x1, y1, x2, y2 = (float(value) for value in box)
    found = Annotation(entry["label"], (x1, y1, x2, y2))
    check_on_picture(found, height, width)
    return [found]
