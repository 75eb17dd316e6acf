"""A COCO dataset: a JSON file and the images that it lists."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import (
    Collection,
    Record,
    count_beyond,
    image_size,
    locate,
    parse_view_name,
)
from bagscan.datasets.source import Source
from bagscan.formats.coco import read_coco
from bagscan.formats.scans import READERS
from bagscan.formats.truth import beyond_note, check_image_size

PARTS = {  # words in file and folder names that denote a split
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Settings of a COCO dataset.

    Attributes:
        images: folder of the images. If empty, ``images/`` beside the JSON file, or the folder of
            the JSON file.
    """

    images: str = ""

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, locate(self.images) if self.images else None)


def load(annotations: str | Path, images: str | Path | None = None) -> Collection:
    """Load a COCO file. Images that are missing on disk are counted and left out.

    Without ``images``, an image is searched in ``images/`` beside the JSON file, in the folder of
    the file and in its parent, and then by name in all their subfolders.

    Args:
        annotations: the JSON file.
        images: folder of the images.

    Raises:
        DataError: the file is missing, or no image is usable.
    """
    annotations = Path(annotations)
    if not annotations.is_file():
        raise DataError(f"{annotations}: COCO file is missing")
    beside = annotations.parent
    folders = [Path(images)] if images is not None else [beside / "images", beside, beside.parent]
    bad: dict[str, str] = {}
    records, absent = [], []
    by_name: dict[str, Path] | None = None
    beyond = 0
    entries = read_coco(annotations, bad)
    ids = {entry.file_name: Path(entry.file_name).with_suffix("").as_posix() for entry in entries}
    times = Counter(ids.values())
    for entry in entries:
        if Path(entry.file_name).is_absolute() or ".." in Path(entry.file_name).parts:
            bad[entry.file_name] = (
                f"{annotations}: {entry.file_name!r} leads out of the folder of images"
            )
            continue
        candidates = (folder / entry.file_name for folder in folders)
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None and images is None:
            # CVAT, PIDray and COCO use subfolders such as train/ or images/default/.
            if by_name is None:
                top = beside.parent if beside.name == "annotations" else beside
                by_name = _find_by_name(top, annotations.stem)
            path = by_name.get(Path(entry.file_name).name)
        if path is None:
            absent.append(entry.file_name)
            continue
        name = ids[entry.file_name]
        if times[name] > 1:  # for example 7.jpg and 7.png
            name = entry.file_name
        try:
            check_image_size((entry.height, entry.width), image_size(path))
            beyond += count_beyond(path, entry.annotations, (entry.height, entry.width))
        except (ReadError, ValueError, OSError) as error:
            bad[name] = f"{path}: {error}"
            continue
        records.append(Record(name, path, entry.annotations, about=parse_view_name(name)))
    notes = [f"{len(records)} images, {sum(len(r.annotations) for r in records)} annotations."]
    notes += beyond_note(beyond)
    if absent:
        notes.append(
            f"{len(absent)} listed images are absent, for example {absent[0]}; "
            f"folders searched: {', '.join(map(str, folders))}."
        )
    if bad:
        notes.append(f"{len(bad)} images or annotations are invalid and were left out.")
    return Collection(annotations.stem, tuple(records), tuple(notes), tuple(absent), bad)


def _find_by_name(folder: Path, json_name: str) -> dict[str, Path]:
    """Return images anywhere below a folder, keyed by file name; ambiguous names are left out.

    Args:
        folder: where to search.
        json_name: name of the JSON file. If it names a split, images of other splits are left
            out, and images of its own split are preferred.
    """
    wanted = _splits_in(json_name)

    def splits_of(path: Path) -> set[str]:
        return _splits_in(path.parent.relative_to(folder).as_posix())

    found: dict[str, list[Path]] = {}
    for path in folder.rglob("*"):
        splits = splits_of(path)
        is_other_split = wanted and splits and not wanted & splits
        if path.suffix.lower() in READERS and not is_other_split:
            found.setdefault(path.name, []).append(path)
    unique = {}
    for name, paths in found.items():
        candidates = [path for path in paths if wanted & splits_of(path)] or paths
        if len(candidates) == 1:
            unique[name] = candidates[0]
    return unique


def _splits_in(name: str) -> set[str]:
    """Return the splits that a name mentions: ``{"train"}`` for ``instances_train2017``."""
    return {PARTS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in PARTS}
