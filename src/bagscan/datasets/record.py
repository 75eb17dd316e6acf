"""Records of scans on disk with their annotations, as every dataset provides them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection as Endings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from bagscan.core import Annotation
from bagscan.core.about import About
from bagscan.core.errors import DataError, ReadError
from bagscan.formats import read_view
from bagscan.formats.limits import naming
from bagscan.formats.scans import READERS, VIEWS
from bagscan.formats.truth import check_on_picture, reaches_beyond

EXIF_ORIENTATION = 0x0112


def data_folder() -> Path:
    """Return the data folder: ``BAGSCAN_DATA``, by default ``../shared/data``."""
    return Path(os.environ.get("BAGSCAN_DATA", "../shared/data"))


def locate(root: str | Path) -> Path:
    """Find a path of a configuration in the data folder, else relative to the working directory.

    Raises:
        DataError: it exists in neither.
    """
    # The two are equal if the path is absolute.
    candidates = list(dict.fromkeys((data_folder() / root, Path(root))))
    for path in candidates:
        if path.exists():
            return path
    raise DataError(
        f"data not found: {' and '.join(map(str, candidates))} do not exist; "
        f"set BAGSCAN_DATA to the folder that holds {root}"
    )


@dataclass(frozen=True)
class Record:
    """One scan on disk.

    Attributes:
        id: unique within the collection.
        path: file for :func:`bagscan.formats.read_scan`.
        annotations: boxes or masks.
        labels: image-level labels by class: 1, -1, or 0 for unknown.
        scanner: name or number of the scanner, if the dataset states it.
        part: part of the dataset's own split (``train``, ``val`` or ``test``); None without split.
        group: records of one group, for example a family of devices, stay in one part of a split.
        about: further metadata.
        window: for a record of a single item, its window in the view (x1, y1, x2, y2 in pixels);
            annotations are then relative to the window. None for the whole view.
        also: second image of the same view, aligned with the first, whose channels are appended.
        item: the item in the window, with its mask relative to the window.
        truth: for simulated scans, file with the contents of the view and their components.
    """

    id: str
    path: Path
    annotations: tuple[Annotation, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    scanner: str = "unknown"
    part: str | None = None
    group: str | None = None
    about: About = field(default_factory=About)
    window: tuple[int, int, int, int] | None = None
    also: Path | None = None
    item: Annotation | None = None
    truth: Path | None = None

    @property
    def scan(self) -> str:
        """The id of the scan that this view or item belongs to, if known; else the record's id."""
        if not self.about.scan:
            return self.id
        if not self.about.collection:
            return self.about.scan
        return f"{self.about.collection}:{self.about.scan}"

    @property
    def origin(self) -> str:
        """The class of a simulated device, else the scanner.

        Training crops are balanced over origins, and tables of results have a row per origin.
        """
        return self.about.device or self.scanner


def parse_view_name(scan_id: str) -> About:
    """Return scan and view if an id ends with the name of a view (``7_below``), else neither."""
    for view in VIEWS:
        if scan_id.endswith(f"_{view}"):
            return About(scan=scan_id.removesuffix(f"_{view}"), view=view)
    return About()


@dataclass(frozen=True)
class Collection:
    """The records of a dataset.

    Attributes:
        name: name of the dataset.
        records: at least one, with unique ids.
        notes: messages for the user, for example on missing images.
        absent: ids that the dataset lists but that have no file.
        bad: the reason for each id whose files cannot be read.

    Raises:
        DataError: there is no record, or ids are not unique.
    """

    name: str
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    bad: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.records:
            first = next((f"{name}: {reason}" for name, reason in self.bad.items()), "")
            raise DataError(
                f"{self.name}: no usable scans found. {' '.join(self.notes)} {first}".strip()
            )
        counts = Counter(record.id for record in self.records)
        repeated = sorted(scan_id for scan_id, n in counts.items() if n > 1)
        if repeated:
            raise DataError(
                f"{self.name}: {len(repeated)} ids occur more than once, "
                f"for example {repeated[0]!r}; ids must be unique"
            )

    def called(self, name: str, published: int | None = None) -> Collection:
        """Return a copy with another name.

        If the number of images differs from the published one, the copy has a note on it.
        """
        renamed = replace(self, name=name)
        n = len(self.records) + len(self.bad)
        if published is None or n == published:
            return renamed
        return renamed.noting(f"{n} images found; the published dataset has {published}.")

    def noting(self, note: str) -> Collection:
        """Return a copy with a note added."""
        return replace(self, notes=(*self.notes, note))


def files_in(folder: Path, endings: Endings[str] = READERS) -> dict[str, Path]:
    """Return the files of a folder by stem, ordered by name.

    Args:
        folder: the folder.
        endings: extensions to include, in lower case; by default those of readable images.
    """
    return {path.stem: path for path in sorted(folder.glob("*")) if path.suffix.lower() in endings}


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of a scan. JPEG and PNG files are not decoded for it."""
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        return read_view(path).shape
    with Image.open(path) as image:
        return image.height, image.width


def check_annotations(record: Record, height: int, width: int) -> None:
    """Require that the annotations of a record lie on its image, or on its window of the image.

    Args:
        record: the record.
        height: height of the entire image in pixels.
        width: width of the entire image in pixels.

    Raises:
        ReadError: an annotation does not.
    """
    if record.window is not None:
        left, top, right, bottom = record.window
        height, width = bottom - top, right - left
    for annotation in record.annotations:
        try:
            check_on_picture(annotation, height, width)
        except ValueError as error:
            raise ReadError(f"{record.path}: {error}") from error


def count_beyond(path: Path, annotations: Sequence[Annotation], size: tuple[int, int]) -> int:
    """Count the annotations that reach beyond their image.

    Args:
        path: the image.
        annotations: its annotations.
        size: (height, width) of the image.

    Raises:
        ReadError: there are annotations, and an EXIF tag rotates or mirrors the image.
    """
    if annotations:
        check_upright(path)
    return sum(reaches_beyond(annotation, *size) for annotation in annotations)


def missing_truth_note(without: int, what: str) -> list[str]:
    """Return a note on images without an annotation file, or an empty list if there are none.

    Args:
        without: number of images.
        what: name of the annotation file, for example ``text file``.
    """
    if not without:
        return []
    return [f"{without} images have no {what} and are loaded without annotations."]


def orphan_annotations(files: Iterable[Path], root: Path) -> dict[str, str]:
    """Return entries of ``Collection.bad`` for annotation files that have no image."""
    return {
        path.relative_to(root).as_posix(): f"{path}: image of that name is missing"
        for path in files
    }


def check_upright(path: Path) -> None:
    """Check that no EXIF tag rotates or mirrors an image with annotations.

    Some annotation tools apply the tag and others do not, so the annotations are ambiguous.

    Raises:
        ReadError: such a tag is present.
    """
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        return
    with naming(path, "image"), Image.open(path) as image:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if orientation not in (0, 1):
        raise ReadError(
            f"{path}: EXIF tag (orientation {orientation}) rotates or mirrors the image, so the "
            "annotations are ambiguous; store the image upright and annotate it again"
        )
