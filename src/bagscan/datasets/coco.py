"""A COCO folder: one JSON file and the images that it names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import Collection, Record, data_folder, image_size, view_named
from bagscan.datasets.source import Source
from bagscan.formats.coco import read_coco
from bagscan.formats.scans import READERS
from bagscan.formats.truth import check_size_told


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Attributes:
    images: folder of the pictures; empty for ``images/`` beside the JSON file, or the file's own folder.
    """

    images: str = ""

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, data_folder() / self.images if self.images else None)


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
    for entry in read_coco(annotations, bad):
        if Path(entry.file_name).is_absolute() or ".." in Path(entry.file_name).parts:
            bad[entry.file_name] = f"{annotations}: {entry.file_name!r} leads out of the folder of images"
            continue
        path = next((folder / entry.file_name for folder in folders if (folder / entry.file_name).is_file()), None)
        if path is None and images is None:  # train/, images/default/ and the like, which CVAT, PIDray and COCO itself write
            elsewhere = _by_name(beside.parent if beside.name == "annotations" else beside) if elsewhere is None else elsewhere
            path = elsewhere.get(Path(entry.file_name).name)
        if path is None:
            absent.append(entry.file_name)
            continue
        name = Path(entry.file_name).with_suffix("").as_posix()
        try:
            check_size_told((entry.height, entry.width), image_size(path))
        except (ReadError, ValueError, OSError) as error:
            bad[name] = f"{path}: {error}"
            continue
        records.append(Record(name, path, entry.annotations, about=view_named(name)))
    notes = [f"{len(records)} images, {sum(len(r.annotations) for r in records)} annotations."]
    if absent:
        notes.append(f"{len(absent)} listed images are absent: looked for {folders[0] / absent[0]}" + f" and in {len(folders) - 1} folders more." * (len(folders) > 1))
    if bad:
        notes.append(f"{len(bad)} images or annotations are wrong: left out.")
    return Collection(annotations.stem, tuple(records), tuple(notes), tuple(absent), bad)


def _by_name(folder: Path) -> dict[str, Path]:
    """Pictures anywhere below a folder by name; those whose name is there twice are none."""
    found: dict[str, list[Path]] = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in READERS:
            found.setdefault(path.name, []).append(path)
    return {name: paths[0] for name, paths in found.items() if len(paths) == 1}
