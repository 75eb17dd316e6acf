"""A PASCAL VOC dataset.

Layout: images in ``JPEGImages/``, an XML file per image in ``Annotations/``, and lists in
``ImageSets/Main/``; or images and XML files side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import (
    Collection,
    Record,
    count_beyond,
    image_size,
    missing_truth_note,
    orphan_annotations,
    parse_view_name,
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
    """Settings of a VOC dataset.

    Attributes:
        list_of: list in ``ImageSets/Main`` to load, such as ``train``; empty for all images.
    """

    list_of: str = ""

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.list_of)


def load(root: str | Path, list_of: str = "") -> Collection:
    """Load a VOC folder. An image without an XML file has no annotations.

    Raises:
        DataError: there are no images, the list is missing, no XML file belongs to an image, or
            no image is usable.
    """
    root = Path(root)
    images, truth = _folders(root)
    present = {
        (path.parent.relative_to(images) / scan_id_of(path)).as_posix(): path
        for path in find_scans([images])
    }
    xml_files = {
        (path.parent.relative_to(truth) / path.stem).as_posix(): path
        for path in sorted(truth.rglob("*"))
        if path.suffix.lower() == ".xml"
    }
    wanted = _read_ids(root / "ImageSets" / "Main" / f"{list_of}.txt") if list_of else list(present)
    records, bad, without, beyond = [], {}, 0, 0
    for scan_id in (scan_id for scan_id in wanted if scan_id in present):
        path, xml_file = present[scan_id], xml_files.get(scan_id)
        without += xml_file is None
        try:
            with naming(path, "image"):
                size = image_size(path)
            annotations = tuple(read_voc(xml_file, size)) if xml_file else ()
            beyond += count_beyond(path, annotations, size)
        except ReadError as error:
            bad[scan_id] = str(error)
            continue
        records.append(Record(scan_id, path, annotations, about=parse_view_name(scan_id)))
    orphans = [path for name, path in xml_files.items() if name not in present]
    if orphans and not xml_files.keys() & present.keys():
        raise DataError(
            f"{root}: none of the {len(orphans)} XML files has an image (for example "
            f"{orphans[0]}); an XML file must have the name of its image"
        )
    bad |= orphan_annotations(orphans, root)
    absent = tuple(scan_id for scan_id in wanted if scan_id not in present)
    n_boxes = sum(len(r.annotations) for r in records)
    notes = [
        f"{len(records)} images, {n_boxes} boxes; {len(absent)} listed images are absent.",
        *beyond_note(beyond),
        *missing_truth_note(without, "XML file"),
    ]
    return Collection(root.name, tuple(records), tuple(notes), absent, bad)


def _folders(root: Path) -> tuple[Path, Path]:
    """Return the folders of the images and of the XML files; they can be the same (Roboflow)."""
    images, truth = (
        next((root / name for name in names if (root / name).is_dir()), None)
        for names in (IMAGES, TRUTH)
    )
    if images is None and truth is None and next(root.rglob("*.xml"), None) is not None:
        return root, root
    if images is None or truth is None:
        names = IMAGES if images is None else TRUTH
        raise DataError(
            f"{root}: not a VOC dataset; expected a folder {' or '.join(names)}, "
            "or XML files beside images"
        )
    return images, truth


def _read_ids(path: Path) -> list[str]:
    """Read the ids of a list: the first word of every line. VOC's lists by class have a second."""
    if not path.is_file():
        raise DataError(f"{path}: list is missing")
    return [
        line.split()[0]
        for line in path.read_text(encoding="utf-8-sig").splitlines()
        if line.strip()
    ]
