"""A COCO folder: one JSON file and the images that it names."""

from __future__ import annotations

from pathlib import Path

from bagscan.core.errors import DataError
from bagscan.datasets.record import Collection, Record, view_named
from bagscan.datasets.source import Source
from bagscan.formats.coco import read_coco


class Config(Source):
    """A COCO file."""

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder)


def load(annotations: str | Path, images: str | Path | None = None) -> Collection:
    """Read a COCO file; images that are absent on disk are counted and left out.

    Args:
        annotations: the JSON file. images: folder of the images; by default ``images/`` beside
            the JSON where there is one, else the JSON's own folder.
    """
    annotations = Path(annotations)
    if not annotations.is_file():
        raise DataError(f"{annotations}: no such COCO file")
    if images is None:
        beside = annotations.parent / "images"
        images = beside if beside.is_dir() else annotations.parent
    bad: dict[str, str] = {}
    entries = read_coco(annotations, bad)
    present = [entry for entry in entries if (Path(images) / entry.file_name).is_file()]
    absent = tuple(entry.file_name for entry in entries if not (Path(images) / entry.file_name).is_file())
    named = [(Path(e.file_name).with_suffix("").as_posix(), e) for e in present]
    records = tuple(Record(name, Path(images) / e.file_name, e.annotations, about=view_named(name)) for name, e in named)
    notes = [f"{len(records)} images, {sum(len(r.annotations) for r in records)} annotations."]
    if absent:
        notes.append(f"{len(absent)} of {len(entries)} listed images are absent from {images}.")
    if bad:
        notes.append(f"{len(bad)} images have annotations that are wrong: left out.")
    return Collection(annotations.stem, records, tuple(notes), absent, bad)
