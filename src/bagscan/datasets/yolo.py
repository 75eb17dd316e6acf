"""A YOLO folder: ``images/``, ``labels/`` with one text file each, and ``classes.txt``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import Collection, Record, image_size, view_named
from bagscan.datasets.source import Source
from bagscan.formats.limits import naming
from bagscan.formats.scans import READERS, find_scans, scan_id_of
from bagscan.formats.yolo import read_classes, read_yolo


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Attributes:
    scanner_digits: leading characters of a file name that tell the scanner.
    """

    scanner_digits: int = 0

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.scanner_digits)


def load(root: str | Path, scanner_digits: int = 0) -> Collection:
    """Read every image of a YOLO folder; an image without a label file has no annotations.

    Args:
        root: the folder. scanner_digits: how many leading characters of the file name tell the
            scanner; 0 where they do not.
    """
    root = Path(root)
    paths = find_scans([root / "images"]) if (root / "images").is_dir() else []
    if not paths:
        raise DataError(f"{root / 'images'}: no scans ({', '.join(READERS)})")
    classes = read_classes(root / "classes.txt")
    records, bad, unlabelled = [], {}, 0
    for path in paths:
        scan_id = scan_id_of(path)
        truth = root / "labels" / f"{scan_id}.txt"
        unlabelled += not truth.exists()
        try:
            with naming(path, "image"):
                size = image_size(path)
            annotations = tuple(read_yolo(truth, classes, *size)) if truth.exists() else ()
        except ReadError as error:
            bad[scan_id] = str(error)
            continue
        scanner = scan_id[:scanner_digits] if scanner_digits else "unknown"
        records.append(Record(scan_id, path, annotations, scanner=f"{root.name}-{scanner}" if scanner_digits else scanner, about=view_named(scan_id)))
    notes = [f"{len(records)} images, {sum(len(r.annotations) for r in records)} boxes of {len(classes)} classes."]
    if unlabelled:
        notes.append(f"{unlabelled} images have no label file: taken as without annotations.")
    if bad:
        notes.append(f"{len(bad)} images or labels could not be read.")
    return Collection(root.name, tuple(records), tuple(notes), bad=bad)
