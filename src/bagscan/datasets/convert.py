"""Conversion of any dataset to COCO, VOC or YOLO."""

from __future__ import annotations

import filecmp
import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bagscan.core import Annotation
from bagscan.core.errors import ConfigError, DataError, ReadError
from bagscan.core.files import atomic_write_text
from bagscan.datasets.record import Record, check_annotations, image_size
from bagscan.formats.coco import CocoImage, coco_document
from bagscan.formats.scans import set_at
from bagscan.formats.voc import write_voc
from bagscan.formats.yolo import write_yolo

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Converted:
    """A record as it is written.

    Attributes:
        name: path of the image in the folder of images, without the extension.
        file: path of the image in the folder of images; for channels in several files, the first.
        annotations: clipped to the image.
        height: in pixels.
        width: in pixels.
    """

    name: str
    file: str
    annotations: tuple[Annotation, ...]
    height: int
    width: int


class Layout(Protocol):
    """Function that writes the annotations; it writes the file that marks completion last."""

    def __call__(self, out: Path, images: Sequence[Converted], /) -> None: ...


def _coco(out: Path, images: Sequence[Converted]) -> None:
    entries = [
        CocoImage(image.file, image.height, image.width, image.annotations) for image in images
    ]
    atomic_write_text(out / "annotations.json", json.dumps(coco_document(entries)))


def _voc(out: Path, images: Sequence[Converted]) -> None:
    for image in images:
        path = out / "Annotations" / f"{image.name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_voc(path, image.annotations, image.file, image.height, image.width)
    (out / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    atomic_write_text(
        out / "ImageSets" / "Main" / "all.txt", "".join(f"{image.name}\n" for image in images)
    )


def _yolo(out: Path, images: Sequence[Converted]) -> None:
    classes = sorted({a.label for image in images for a in image.annotations})
    for image in images:
        path = out / "labels" / f"{image.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_yolo(path, image.annotations, classes, image.height, image.width)
    # A JSON list is valid YAML.
    atomic_write_text(
        out / "data.yaml", f"path: .\ntrain: images\nval: images\nnames: {json.dumps(classes)}\n"
    )
    atomic_write_text(out / "classes.txt", "".join(f"{name}\n" for name in classes))


# Format: function that writes it, folder of images, file that is written last.
LAYOUTS: dict[str, tuple[Layout, str, str]] = {
    "coco": (_coco, "images", "annotations.json"),
    "voc": (_voc, "JPEGImages", "ImageSets/Main/all.txt"),
    "yolo": (_yolo, "images", "classes.txt"),
}


def convert(records: Sequence[Record], to: str, out: Path) -> list[Converted]:
    """Write records to a folder in another format.

    Images are copied unchanged. Boxes are clipped to the image, and accurate to 0.5 px. VOC and
    YOLO keep only the boxes of masks. None of the formats keeps image-level labels. An interrupted
    conversion is resumed.

    Args:
        records: records to write.
        to: format, ``coco``, ``voc`` or ``yolo``.
        out: folder to write to.

    Returns:
        The images as written, in the order of the records.

    Raises:
        ConfigError: the format is unknown.
        DataError: ``out`` holds a finished conversion, two records have the same name, or a label
            holds a control character.
        ReadError: an image cannot be read, or an annotation is not on it.
    """
    if to not in LAYOUTS:
        raise ConfigError(f"unknown format {to!r}; expected one of {', '.join(LAYOUTS)}")
    write, folder, last = LAYOUTS[to]
    if (out / last).exists():
        raise DataError(
            f"{out}: the folder already holds a finished conversion ({last}); use another folder"
        )
    names = [record.id.replace(":", "/") for record in records]
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise DataError(
            f"{len(repeated)} ids occur more than once, for example {repeated[0]!r}; "
            "ids must be unique"
        )
    labels = sorted({a.label for record in records for a in record.annotations})
    if invalid := [label for label in labels if not label.isprintable()]:
        raise DataError(
            f"label {invalid[0]!r} holds a control character, "
            "which lists of classes and XML cannot represent; rename the label"
        )
    images = []
    for number, (record, name) in enumerate(zip(records, names, strict=True), 1):
        images.append(_copy_record(record, name, out / folder))
        if number % 1000 == 0:
            log.info(f"{number} of {len(records)} images copied")
    for note in _list_losses(records, images, to):
        log.info(note)
    write(out, images)
    return images


def _copy_record(record: Record, name: str, folder: Path) -> Converted:
    height, width = image_size(record.path)
    check_annotations(record, height, width)
    files = set_at(record.path) or {"": record.path}
    target = folder / name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise ReadError(f"id {record.id!r} leads out of the output folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    for channel, file in files.items():
        ending = f"_{channel}{file.suffix}" if channel else file.suffix
        _copy_file(file, target.with_name(f"{target.name}{ending}"))
    first = next(iter(files))
    written = f"{name}_{first}{files[first].suffix}" if first else f"{name}{record.path.suffix}"
    annotations = tuple(_clip(annotation, height, width) for annotation in record.annotations)
    return Converted(name, written, annotations, height, width)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file atomically, unless the target already has the same content."""
    # Not shallow: an image of another dataset can have the same name and size.
    if target.exists() and filecmp.cmp(source, target, shallow=False):
        return
    partial = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, partial)
    partial.replace(target)


def _clip(annotation: Annotation, height: int, width: int) -> Annotation:
    x1, y1, x2, y2 = annotation.box_xyxy
    return replace(
        annotation,
        box_xyxy=(max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))),
    )


def _list_losses(records: Sequence[Record], images: Sequence[Converted], to: str) -> list[str]:
    """Return a message for each kind of information that the format cannot keep."""
    pairs = [
        pair
        for record, image in zip(records, images, strict=True)
        for pair in zip(record.annotations, image.annotations, strict=True)
    ]
    clipped = sum(before.box_xyxy != after.box_xyxy for before, after in pairs)
    masks = 0 if to == "coco" else sum(before.mask is not None for before, _ in pairs)
    labelled = sum(bool(record.labels) for record in records)
    counts = {
        "boxes reached beyond their image and were clipped": clipped,
        f"masks were reduced to boxes ({to.upper()} keeps boxes only)": masks,
        "images have image-level labels, which are lost": labelled,
    }
    return [f"{n} {message}" for message, n in counts.items() if n]
