"""Any dataset written as COCO, VOC or YOLO, in the layouts that its readers and other tools take."""

from __future__ import annotations

import filecmp
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bagscan.core import Annotation
from bagscan.core.errors import ConfigError, DataError, ReadError
from bagscan.core.files import atomic_write_text
from bagscan.datasets.record import Record, image_size
from bagscan.formats.coco import CocoImage, coco_document
from bagscan.formats.scans import set_at
from bagscan.formats.voc import write_voc
from bagscan.formats.yolo import write_yolo


@dataclass(frozen=True)
class Converted:
    """One record as it is written.

    Attributes: name: where its image lies in the folder of images, without the ending. file: the image, there; of a 16-bit set the first.
    """

    name: str
    file: str
    annotations: tuple[Annotation, ...]
    height: int
    width: int


class Layout(Protocol):
    """Writes the annotations of all images, and last the file that says the folder is complete."""

    def __call__(self, out: Path, images: Sequence[Converted], /) -> None: ...


def _coco(out: Path, images: Sequence[Converted]) -> None:
    found = [
        CocoImage(image.file, image.height, image.width, image.annotations) for image in images
    ]
    atomic_write_text(out / "annotations.json", json.dumps(coco_document(found)))


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
    # Names are quoted as JSON, which YAML reads the same.
    atomic_write_text(
        out / "data.yaml", f"path: .\ntrain: images\nval: images\nnames: {json.dumps(classes)}\n"
    )
    atomic_write_text(out / "classes.txt", "".join(f"{name}\n" for name in classes))


# How each is written, its folder of images, and the file that is written last.
LAYOUTS: dict[str, tuple[Layout, str, str]] = {
    "coco": (_coco, "images", "annotations.json"),
    "voc": (_voc, "JPEGImages", "ImageSets/Main/all.txt"),
    "yolo": (_yolo, "images", "classes.txt"),
}


def convert(
    records: Sequence[Record], to: str, out: Path, report: Callable[[str], None] = print
) -> list[Converted]:
    """Write records as a folder of another format: images are copied as they are, boxes kept within 0.5 px.

    A conversion that was interrupted goes on where it stopped. Boxes are clipped to their pictures; VOC and YOLO keep the boxes of masks alone; labels
    of whole images have no place in any of the three.

    Args:
        to: ``coco``, ``voc`` or ``yolo``. report: receives what is lost and how far it has come.

    Raises:
        ConfigError: another format. DataError: ``out`` is a finished conversion; two records have one name. ReadError: an image cannot be read.
    """
    if to not in LAYOUTS:
        raise ConfigError(f"to must be one of {', '.join(LAYOUTS)}, got {to!r}")
    write, folder, last = LAYOUTS[to]
    if (out / last).exists():
        raise DataError(f"{out}: a finished conversion is there ({last}): take another folder")
    names = [record.id.replace(":", "/") for record in records]
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise DataError(f"{len(repeated)} ids are those of several records, as {repeated[0]!r}")
    if odd := sorted(
        {a.label for record in records for a in record.annotations if not a.label.isprintable()}
    ):
        raise DataError(
            f"the label {odd[0]!r} holds a control character: in a list of classes it would be two, in XML none"
        )
    images = []
    for number, (record, name) in enumerate(zip(records, names, strict=True), 1):
        images.append(_converted(record, name, out / folder))
        if number % 1000 == 0:
            report(f"{number} of {len(records)} images copied")
    for note in _lost(records, images, to):
        report(note)
    write(out, images)
    return images


def _converted(record: Record, name: str, folder: Path) -> Converted:
    height, width = image_size(record.path)
    files = set_at(record.path) or {"": record.path}
    target = folder / name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise ReadError(f"{record.id!r} leads out of the folder that is written")
    target.parent.mkdir(parents=True, exist_ok=True)
    for channel, file in files.items():
        _copied(
            file,
            target.with_name(
                f"{target.name}_{channel}{file.suffix}"
                if channel
                else f"{target.name}{file.suffix}"
            ),
        )
    first = next(iter(files))
    written = f"{name}_{first}{files[first].suffix}" if first else f"{name}{record.path.suffix}"
    return Converted(
        name, written, tuple(_clipped(a, height, width) for a in record.annotations), height, width
    )


def _copied(source: Path, target: Path) -> None:
    """Copy a file that is not there yet, whole or not at all."""
    if target.exists() and filecmp.cmp(
        source, target, shallow=False
    ):  # of another set it may have the same name and size
        return
    partial = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, partial)
    partial.replace(target)


def _clipped(annotation: Annotation, height: int, width: int) -> Annotation:
    x1, y1, x2, y2 = annotation.box_xyxy
    return replace(
        annotation,
        box_xyxy=(max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))),
    )


def _lost(records: Sequence[Record], images: Sequence[Converted], to: str) -> list[str]:
    """What the format cannot keep."""
    pairs = [
        pair
        for record, image in zip(records, images, strict=True)
        for pair in zip(record.annotations, image.annotations, strict=True)
    ]
    counts = {
        "boxes reached beyond their picture: clipped": sum(
            before.box_xyxy != after.box_xyxy for before, after in pairs
        ),
        f"masks: {to.upper()} keeps their boxes alone": sum(a.mask is not None for a, _ in pairs)
        if to != "coco"
        else 0,
        "images have labels of the whole image, which have no place there": sum(
            bool(record.labels) for record in records
        ),
    }
    return [f"{n} {what}" for what, n in counts.items() if n]
