"""A PASCAL VOC folder: ``JPEGImages/``, ``Annotations/`` with one XML file each, and lists in ``ImageSets/Main/``; or pictures and XML files side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import (
    Collection,
    Record,
    image_size,
    marks_beyond,
    missing_truth_note,
    truth_of_nothing,
    view_named,
)
from bagscan.datasets.source import Source
from bagscan.formats.limits import naming
from bagscan.formats.scans import find_scans, scan_id_of
from bagscan.formats.truth import beyond_note
from bagscan.formats.voc import read_voc

IMAGES = ("JPEGImages", "images", "JPEGImage")
TRUTH = ("Annotations", "annotations", "Annotation")


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Attributes:
    list_of: the list of ``ImageSets/Main`` to take, such as ``train``; empty for every image.
    """

    list_of: str = ""

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.list_of)


def load(root: str | Path, list_of: str = "") -> Collection:
    """Read a VOC folder; an image without an XML file has no annotations.

    Raises:
        DataError: no images or no such list, or nothing can be used.
    """
    root = Path(root)
    images, truth = _folders(root)
    present = {
        (path.parent.relative_to(images) / scan_id_of(path)).as_posix(): path
        for path in find_scans([images])
    }
    marks = {
        (path.parent.relative_to(truth) / path.stem).as_posix(): path
        for path in sorted(truth.rglob("*"))
        if path.suffix.lower() == ".xml"
    }
    wanted = _listed(root / "ImageSets" / "Main" / f"{list_of}.txt") if list_of else list(present)
    records, bad, unmarked, beyond = [], {}, 0, 0
    for scan_id in (scan_id for scan_id in wanted if scan_id in present):
        path, marked = present[scan_id], marks.get(scan_id)
        unmarked += marked is None
        try:
            with naming(path, "image"):
                size = image_size(path)
            annotations = tuple(read_voc(marked, size)) if marked else ()
            beyond += marks_beyond(path, annotations, size)
        except ReadError as error:
            bad[scan_id] = str(error)
            continue
        records.append(Record(scan_id, path, annotations, about=view_named(scan_id)))
    lost = [path for name, path in marks.items() if name not in present]
    if lost and not marks.keys() & present.keys():
        raise DataError(
            f"{root}: {len(lost)} XML files and no image of theirs (as {lost[0]}): they are called as their images are"
        )
    bad |= truth_of_nothing(lost, root)
    absent = tuple(scan_id for scan_id in wanted if scan_id not in present)
    notes = [
        f"{len(records)} images, {sum(len(r.annotations) for r in records)} boxes; {len(absent)} listed images are absent.",
        *beyond_note(beyond),
    ]
    notes += missing_truth_note(unmarked, "XML file")
    return Collection(root.name, tuple(records), tuple(notes), absent, bad)


def _folders(root: Path) -> tuple[Path, Path]:
    """Where images and XML files lie; in one folder where they lie side by side, as Roboflow writes them."""
    images, truth = (
        next((root / name for name in names if (root / name).is_dir()), None)
        for names in (IMAGES, TRUTH)
    )
    if images is None and truth is None and next(root.rglob("*.xml"), None) is not None:
        return root, root
    if images is None or truth is None:
        names = IMAGES if images is None else TRUTH
        raise DataError(f"{root}: no folder {' or '.join(names)}, and no XML files beside pictures")
    return images, truth


def _listed(path: Path) -> list[str]:
    """Ids of a list: the first word of every line, since VOC's lists by class have a second."""
    if not path.is_file():
        raise DataError(f"{path}: no such list")
    return [
        line.split()[0]
        for line in path.read_text(encoding="utf-8-sig").splitlines()
        if line.strip()
    ]
