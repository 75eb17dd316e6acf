"""A YOLO dataset.

Layout: images in ``images/``, a text file per image in ``labels/``, and ``classes.txt``. The
layouts of Roboflow, Ultralytics and CVAT (YOLO 1.1) are also read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bagscan.config import read_yaml
from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import (
    Collection,
    Record,
    check_upright,
    image_size,
    missing_truth_note,
    orphan_annotations,
    parse_view_name,
)
from bagscan.datasets.source import Source
from bagscan.formats.limits import naming
from bagscan.formats.scans import READERS, find_scans, scan_id_of
from bagscan.formats.yolo import read_classes, read_yolo

TOGETHER = "obj_*_data"  # folders of CVAT's YOLO 1.1, with labels beside images


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Settings of a YOLO dataset.

    Attributes:
        scanner_digits: number of leading characters of a file name that identify the scanner; 0
            if file names do not.
    """

    scanner_digits: int = 0

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.scanner_digits)


def load(root: str | Path, scanner_digits: int = 0) -> Collection:
    """Load a YOLO folder. An image without a label file has no annotations.

    The label file of ``images/train/7.jpg`` is ``labels/train/7.txt``. Class names are read from
    ``classes.txt``, ``obj.names`` or a YAML file with ``names``.

    Args:
        root: folder of the dataset.
        scanner_digits: see :class:`Config`.

    Raises:
        DataError: there are no images or no valid class names, no label file belongs to an image,
            or no image is usable.
        ReadError: the list of classes cannot be read.
    """
    root = Path(root)
    folders = _image_folders(root)
    paths = {path: folder for folder in folders for path in find_scans([folder])}
    if not paths:
        raise DataError(f"{root / 'images'}: no images found; expected {', '.join(READERS)}")
    together = folders[0].match(TOGETHER)
    classes = _classes(root)
    records, bad, used = [], {}, set()
    ids = {path: _id_of(path, folder, root) for path, folder in paths.items()}
    times = Counter(ids.values())
    for path, scan_id in ids.items():
        labels = paths[path] if together else paths[path].parent / "labels"
        truth = labels / path.parent.relative_to(paths[path]) / f"{scan_id_of(path)}.txt"
        if shared := times[scan_id] > 1:
            scan_id += path.suffix
        used |= {truth} if truth.exists() else set()
        try:
            if shared and truth.exists():
                raise ReadError(
                    f"{path}: {truth} is ambiguous, since several images differ only in their "
                    "extension; rename them"
                )
            with naming(path, "image"):
                size = image_size(path)
            annotations = tuple(read_yolo(truth, classes, *size)) if truth.exists() else ()
            if annotations:
                check_upright(path)
        except ReadError as error:
            bad[scan_id] = str(error)
            continue
        scanner = path.name[:scanner_digits] if scanner_digits else "unknown"
        records.append(
            Record(
                scan_id,
                path,
                annotations,
                scanner=f"{root.name}-{scanner}" if scanner_digits else scanner,
                about=parse_view_name(scan_id),
            )
        )
    label_folders = [folder if together else folder.parent / "labels" for folder in folders]
    label_files = {path for folder in label_folders for path in folder.rglob("*.txt")}
    orphans = [path for path in sorted(label_files - used) if path.name != "classes.txt"]
    if orphans and not used:
        raise DataError(
            f"{root}: none of the {len(orphans)} label files has an image (for example "
            f"{orphans[0]}); the label file of images/a/7.jpg must be labels/a/7.txt"
        )
    bad |= orphan_annotations(orphans, root)
    n_boxes = sum(len(r.annotations) for r in records)
    notes = [f"{len(records)} images, {n_boxes} boxes of {len(classes)} classes."]
    notes += missing_truth_note(len(paths) - len(used), "label file")
    if bad:
        notes.append(f"{len(bad)} images or labels could not be read.")
    return Collection(root.name, tuple(records), tuple(notes), bad=bad)


def _id_of(path: Path, folder: Path, root: Path) -> str:
    """Return the path of an image within its folder of images, without the extension.

    If each split has a folder of its own, the id begins with its name, for example ``train/7``.
    """
    id_path = folder.parent.relative_to(root) / path.parent.relative_to(folder) / scan_id_of(path)
    return id_path.as_posix()


def _image_folders(root: Path) -> list[Path]:
    candidates = (
        [root / "images"],
        sorted(root.glob("*/images")),  # Roboflow: train/images/ and so on
        sorted(root.glob(TOGETHER)),
    )
    for paths in candidates:
        if folders := [folder for folder in paths if folder.is_dir()]:
            return folders
    return []


def _classes(root: Path) -> list[str]:
    """Return the class names in the order of their numbers."""
    for name in ("classes.txt", "obj.names"):
        if (root / name).is_file():
            return read_classes(root / name)
    named = {
        path: result["names"]
        for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
        if "names" in (result := read_yaml(path)[0])
    }
    if len(named) != 1:
        found = ", ".join(path.name for path in named) or "none"
        raise DataError(
            f"{root}: class names are missing; expected classes.txt, obj.names, or exactly one "
            f"YAML file with, for example, names: [gun, knife]; found {found}"
        )
    ((path, names),) = named.items()
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[k] for k in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(
            f"{path}: names is invalid; expected a list, or a mapping with keys 0, 1, 2, ..."
        )
    labels = [str(name) for name in names]
    count = read_yaml(path)[0].get("nc", len(labels))
    if len(set(labels)) < len(labels) or count != len(labels):
        raise DataError(
            f"{path}: names has {len(labels)} entries ({', '.join(labels[:20])}); "
            f"expected {count} different names (nc)"
        )
    return labels
