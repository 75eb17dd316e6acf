"""A YOLO folder: ``images/``, ``labels/`` with one text file each, and ``classes.txt``; or as Roboflow, Ultralytics and CVAT (YOLO 1.1) lay them out."""

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
    truth_of_nothing,
    view_named,
)
from bagscan.datasets.source import Source
from bagscan.formats.limits import naming
from bagscan.formats.scans import READERS, find_scans, scan_id_of
from bagscan.formats.yolo import read_classes, read_yolo

TOGETHER = "obj_*_data"  # folders of CVAT's YOLO 1.1, with labels beside pictures


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

    Labels mirror images: that of ``images/train/7.jpg`` is ``labels/train/7.txt``. Names of classes are those of ``classes.txt`` or ``data.yaml``.

    Args:
        root: the folder. scanner_digits: how many leading characters of the file name tell the
            scanner; 0 where they do not.

    Raises:
        DataError: no scans there, or labels that are of none of them. ReadError: no list of classes.
    """
    root = Path(root)
    folders = _image_folders(root)
    paths = {path: folder for folder in folders for path in find_scans([folder])}
    if not paths:
        raise DataError(f"{root / 'images'}: no scans ({', '.join(READERS)})")
    together = folders[0].match(TOGETHER)
    classes = _classes(root)
    records, bad, taken = [], {}, set()
    ids = {path: _id_of(path, folder, root) for path, folder in paths.items()}
    times = Counter(ids.values())
    for path, scan_id in ids.items():
        labels = paths[path] if together else paths[path].parent / "labels"
        truth = labels / path.parent.relative_to(paths[path]) / f"{scan_id_of(path)}.txt"
        if shared := times[scan_id] > 1:
            scan_id += path.suffix
        taken |= {truth} if truth.exists() else set()
        try:
            if shared and truth.exists():
                raise ReadError(
                    f"{path}: {truth} would be of several pictures that differ in their ending alone"
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
                about=view_named(scan_id),
            )
        )
    lost = sorted(
        {
            label
            for folder in folders
            for label in (folder if together else folder.parent / "labels").rglob("*.txt")
        }
        - taken
    )
    lost = [path for path in lost if path.name != "classes.txt"]
    if lost and not taken:
        raise DataError(
            f"{root}: {len(lost)} label files and no image of theirs (as {lost[0]}): labels mirror images, labels/a/7.txt is of images/a/7.jpg"
        )
    bad |= truth_of_nothing(lost, root)
    notes = [
        f"{len(records)} images, {sum(len(r.annotations) for r in records)} boxes of {len(classes)} classes."
    ]
    notes += missing_truth_note(len(paths) - len(taken), "label file")
    if bad:
        notes.append(f"{len(bad)} images or labels could not be read.")
    return Collection(root.name, tuple(records), tuple(notes), bad=bad)


def _id_of(path: Path, folder: Path, root: Path) -> str:
    """Where an image lies within the folder of images, without its ending; with the name of a part, ``train/7``, where each has a folder of its own."""
    return (
        folder.parent.relative_to(root) / path.parent.relative_to(folder) / scan_id_of(path)
    ).as_posix()


def _image_folders(root: Path) -> list[Path]:
    """``images/``; ``train/images/`` and the like of Roboflow; ``obj_train_data/`` and the like of CVAT's YOLO 1.1, where labels lie beside pictures."""
    for found in ([root / "images"], sorted(root.glob("*/images")), sorted(root.glob(TOGETHER))):
        if folders := [folder for folder in found if folder.is_dir()]:
            return folders
    return []


def _classes(root: Path) -> list[str]:
    """Names of the classes by number: of ``classes.txt``, CVAT's ``obj.names`` or the one YAML file that has ``names``."""
    for name in ("classes.txt", "obj.names"):
        if (root / name).is_file():
            return read_classes(root / name)
    named = {
        path: result["names"]
        for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
        if "names" in (result := read_yaml(path)[0])
    }
    if len(named) != 1:
        several = f"; {' and '.join(path.name for path in named)} both have names" if named else ""
        raise DataError(
            f"{root}: names of classes must be in classes.txt, obj.names or one YAML file, as names: [gun, knife]{several}"
        )
    ((path, names),) = named.items()
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[k] for k in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: names must be a list, or be numbered from 0 without a gap")
    listed = [str(name) for name in names]
    many = read_yaml(path)[0].get("nc", len(listed))
    if len(set(listed)) < len(listed) or many != len(listed):
        raise DataError(
            f"{path}: names must be as many as nc says, {many}, each another: {', '.join(listed[:20])}"
        )
    return listed
