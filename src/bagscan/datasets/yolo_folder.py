"""A YOLO folder: ``images/``, ``labels/`` with one text file each, and ``classes.txt``."""

from __future__ import annotations

from pathlib import Path

from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import Collection, Record, image_size
from bagscan.formats.limits import naming
from bagscan.formats.yolo import read_classes, read_yolo

ENDINGS = (".jpg", ".jpeg", ".png")


def load(root: str | Path, scanner_digits: int = 0) -> Collection:
    """Read every image of a YOLO folder; an image without a label file has no annotations.

    Args:
        root: the folder. scanner_digits: how many leading characters of the file name tell the
            scanner; 0 where they do not.
    """
    root = Path(root)
    paths = sorted(p for p in (root / "images").glob("*") if p.suffix.lower() in ENDINGS)
    if not paths:
        raise DataError(f"{root / 'images'}: no images ({', '.join(ENDINGS)})")
    classes = read_classes(root / "classes.txt")
    records, bad, unlabelled = [], {}, 0
    for path in paths:
        truth = root / "labels" / f"{path.stem}.txt"
        unlabelled += not truth.exists()
        try:
            with naming(path, "image"):
                size = image_size(path)
            annotations = tuple(read_yolo(truth, classes, *size)) if truth.exists() else ()
        except ReadError as error:
            bad[path.stem] = str(error)
            continue
        scanner = path.stem[:scanner_digits] if scanner_digits else "unknown"
        records.append(Record(path.stem, path, annotations, scanner=f"{root.name}-{scanner}" if scanner_digits else scanner))
    notes = [f"{len(records)} images, {sum(len(r.annotations) for r in records)} boxes of {len(classes)} classes."]
    if unlabelled:
        notes.append(f"{unlabelled} images have no label file: taken as without annotations.")
    if bad:
        notes.append(f"{len(bad)} images or labels could not be read.")
    return Collection(root.name, tuple(records), tuple(notes), bad=bad)
