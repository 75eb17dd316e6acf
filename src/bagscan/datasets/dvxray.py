"""DvXray: two views of every bag with boxes of fifteen kinds of prohibited item (Ma et al., TIFS 2024).

Layout: ``<name>.json`` with ``<name>_OL.png`` and ``<name>_SD.png`` beside it, in any folder below the root. ``objects`` is a list, or ``"None"``; each
has a ``label`` and a box x1, y1, x2, y2 in pixels for each view that shows it, under a key that begins with the view's name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bagscan.core import Annotation
from bagscan.core.about import About
from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import Collection, Record, image_size, marks_beyond
from bagscan.datasets.source import Source
from bagscan.formats.coco import reason_in_words
from bagscan.formats.limits import MAX_TEXT_BYTES, check_size, naming
from bagscan.formats.truth import beyond_note, check_on_picture

VIEWS = ("OL", "SD")
PUBLISHED_COUNT = 32_000  # images, two of each bag


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """No settings of its own."""

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder)


def load(root: str | Path) -> Collection:
    """Read every bag; the two views of one stay in one part of a split.

    Raises:
        DataError: no bag can be used.
    """
    records, bad, absent, beyond = [], {}, [], 0
    for path in sorted(Path(root).rglob("*.json")):
        pictures = {view: path.with_name(f"{path.stem}_{view}.png") for view in VIEWS}
        there = {view: picture for view, picture in pictures.items() if picture.is_file()}
        if not there:
            continue  # of something else
        absent += [f"{path.stem}_{view}" for view in VIEWS if view not in there]
        for view, picture in there.items():
            try:
                record, over = _record(path, view, picture)
                records.append(record)
                beyond += over
            except ReadError as error:
                bad[picture.stem] = str(error)
    if not records and not bad:
        raise DataError(f"{root}: no <name>.json with <name>_OL.png and <name>_SD.png beside it")
    unmarked = [
        p
        for p in sorted(Path(root).rglob("*.png"))
        if p.stem.rpartition("_")[2] in VIEWS
        and not p.with_name(f"{p.stem.rpartition('_')[0]}.json").is_file()
    ]
    bad |= {
        picture.stem: f"{picture}: no {picture.stem.rpartition('_')[0]}.json beside it"
        for picture in unmarked
    }
    bags = len({r.about.scan for r in records})
    notes = [
        f"{len(records)} views of {bags} bags, {sum(len(r.annotations) for r in records)} boxes; {len(absent)} views are absent.",
        *beyond_note(beyond),
    ]
    return Collection("dvxray", tuple(records), tuple(notes), tuple(absent), bad).called(
        "dvxray", PUBLISHED_COUNT
    )


def _record(path: Path, view: str, picture: Path) -> tuple[Record, int]:
    """A view with its boxes, and how many of these reach beyond it."""
    check_size(path, MAX_TEXT_BYTES)
    with naming(picture, "image"):
        size = image_size(picture)
    with naming(path, "DvXray annotation"):
        try:
            read = json.loads(path.read_text(encoding="utf-8-sig"))
            if not isinstance(read, dict):
                raise ReadError("expected a mapping with objects")
            result = read.get("objects", [])
            objects = [] if result in (None, "None") else result
            annotations = tuple(found for entry in objects for found in _boxes(entry, view, *size))
        except Exception as error:  # whatever a field of any type leads to
            raise ReadError(f"{path}: {reason_in_words(error)}") from error
    return Record(
        f"{path.stem}_{view}", picture, annotations, about=About(scan=path.stem, view=view)
    ), marks_beyond(picture, annotations, size)


def _boxes(entry: dict[str, Any], view: str, height: int, width: int) -> list[Annotation]:
    """The object's box in one view; none where the view does not show it."""
    box = next(
        (value for key, value in entry.items() if key.lower().startswith(view.lower())), None
    )
    if box in (None, "None", []):
        return []
    x1, y1, x2, y2 = (float(value) for value in box)
    found = Annotation(entry["label"], (x1, y1, x2, y2))
    check_on_picture(found, height, width)
    return [found]
