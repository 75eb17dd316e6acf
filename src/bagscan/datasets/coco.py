"""A COCO folder: one JSON file and the images that it names."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import (
    Collection,
    Record,
    image_size,
    located,
    marks_beyond,
    view_named,
)
from bagscan.datasets.source import Source
from bagscan.formats.coco import read_coco
from bagscan.formats.scans import READERS
from bagscan.formats.truth import beyond_note, check_size_told

PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}  # words of folders and files


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Attributes:
    images: folder of the pictures; empty for ``images/`` beside the JSON file, or the file's own folder.
    """

    images: str = ""

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, located(self.images) if self.images else None)


def load(annotations: str | Path, images: str | Path | None = None) -> Collection:
    """Read a COCO file; images that are absent on disk are counted and left out.

    Args:
        annotations: the JSON file. images: folder of the images; by default ``images/`` beside
            the JSON where there is one, else the JSON's own folder.
    """
    annotations = Path(annotations)
    if not annotations.is_file():
        raise DataError(f"{annotations}: no such COCO file")
    beside = annotations.parent
    folders = [Path(images)] if images is not None else [beside / "images", beside, beside.parent]
    bad: dict[str, str] = {}
    records, absent = [], []
    elsewhere: dict[str, Path] | None = None
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
        path = next(
            (
                folder / entry.file_name
                for folder in folders
                if (folder / entry.file_name).is_file()
            ),
            None,
        )
        if (
            path is None and images is None
        ):  # train/, images/default/ and the like, which CVAT, PIDray and COCO itself write
            elsewhere = (
                _by_name(
                    beside.parent if beside.name == "annotations" else beside, annotations.stem
                )
                if elsewhere is None
                else elsewhere
            )
            path = elsewhere.get(Path(entry.file_name).name)
        if path is None:
            absent.append(entry.file_name)
            continue
        name = (
            ids[entry.file_name] if times[ids[entry.file_name]] == 1 else entry.file_name
        )  # 7.jpg and 7.png are two
        try:
            check_size_told((entry.height, entry.width), image_size(path))
            beyond += marks_beyond(path, entry.annotations, (entry.height, entry.width))
        except (ReadError, ValueError, OSError) as error:
            bad[name] = f"{path}: {error}"
            continue
        records.append(Record(name, path, entry.annotations, about=view_named(name)))
    notes = [f"{len(records)} images, {sum(len(r.annotations) for r in records)} annotations."]
    notes += beyond_note(beyond)
    if absent:
        notes.append(
            f"{len(absent)} listed images are absent: looked for {folders[0] / absent[0]}"
            + f" and in {len(folders) - 1} folders more." * (len(folders) > 1)
        )
    if bad:
        notes.append(f"{len(bad)} images or annotations are wrong: left out.")
    return Collection(annotations.stem, tuple(records), tuple(notes), tuple(absent), bad)


def _by_name(folder: Path, listed_in: str) -> dict[str, Path]:
    """Pictures anywhere below a folder by name; those whose name is there twice are none.

    Args:
        listed_in: name of the JSON file: pictures of another part than it names are left out, and those of its own come first.
    """
    own = _parts_of(listed_in)
    found: dict[str, list[Path]] = {}
    for path in folder.rglob("*"):
        of = _parts_of(path.parent.relative_to(folder).as_posix())
        if path.suffix.lower() in READERS and not (own and of and not own & of):
            found.setdefault(path.name, []).append(path)
    chosen = {
        name: [p for p in paths if own & _parts_of(p.parent.relative_to(folder).as_posix())]
        or paths
        for name, paths in found.items()
    }
    return {name: paths[0] for name, paths in chosen.items() if len(paths) == 1}


def _parts_of(name: str) -> set[str]:
    """Which parts of a split a name tells: ``{"train"}`` of ``instances_train2017``."""
    return {PARTS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in PARTS}
