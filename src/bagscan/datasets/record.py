"""What every dataset gives: records of scans on disk with their truth."""

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
from bagscan.formats.truth import reaches_beyond

EXIF_ORIENTATION = 0x0112


def data_folder() -> Path:
    """``BAGSCAN_DATA``, default ``../shared/data``."""
    return Path(os.environ.get("BAGSCAN_DATA", "../shared/data"))


def located(root: str | Path) -> Path:
    """Where data lie that a configuration names: in the data folder, or where bagscan is run.

    Raises:
        DataError: in neither of the two.
    """
    places = list(dict.fromkeys((data_folder() / root, Path(root))))  # one, where it is absolute
    for place in places:
        if place.exists():
            return place
    raise DataError(
        f"no such data: {' nor '.join(map(str, places))}; set BAGSCAN_DATA to the folder that holds {root}"
    )


@dataclass(frozen=True)
class Record:
    """One scan on disk.

    Attributes:
        id: unique within the collection. path: for :func:`bagscan.formats.read_scan`.
        annotations: boxes or masks. labels: image-level, 1, -1 or 0 (unknown), by class.
        scanner: name or number of the machine, where the dataset tells.
        part, group: the part of the dataset's own split that it belongs to, and what must not be
            split apart (a family of devices); None where the dataset has no split.
        about: what else is known of it.
        window: the part of the view (x1, y1, x2, y2 in pixels) that is this record, for records of
            single items; annotations are then in the window's own pixels. None for the whole view.
        also: a second image of the same view, pixel for pixel, whose channels are appended.
        item: the item that the window shows, its mask in the window.
        truth: the file that tells what is in the view and what it is made of, of simulated sets.
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
        """The scan that this is a view or an item of, where that is known; else its own id."""
        if not self.about.scan:
            return self.id
        return (
            f"{self.about.collection}:{self.about.scan}"
            if self.about.collection
            else self.about.scan
        )

    @property
    def origin(self) -> str:
        """What crops are balanced over and tables are split by: the class of a simulated device, else the scanner."""
        return self.about.device or self.scanner


def view_named(scan_id: str) -> About:
    """Scan and view of a file that is called as a view of a bag is (``7_below``); nothing of others."""
    return next(
        (
            About(scan=scan_id.removesuffix(f"_{view}"), view=view)
            for view in VIEWS
            if scan_id.endswith(f"_{view}")
        ),
        About(),
    )


@dataclass(frozen=True)
class Collection:
    """A dataset's records, and in ``notes`` what a user should know about what is missing or odd.

    Attributes:
        absent: ids that the dataset lists but the folder lacks.
        bad: ids whose files could not be read, with the reason.
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
        repeated = sorted(
            name for name, n in Counter(record.id for record in self.records).items() if n > 1
        )
        if repeated:
            raise DataError(
                f"{self.name}: {len(repeated)} ids are those of several scans, as {repeated[0]!r}: which is which in a split or a result could not be told"
            )

    def called(self, name: str, published: int | None = None) -> Collection:
        """The same under the name of its dataset, with a note on what is absent of the images that were published."""
        named = replace(self, name=name)
        here = len(self.records) + len(self.bad)
        if published is None or here == published:
            return named
        return named.noting(f"{here} images are here, the published set has {published}.")

    def noting(self, note: str) -> Collection:
        """The same with one note more."""
        return replace(self, notes=(*self.notes, note))


def files_in(folder: Path, endings: Endings[str] = READERS) -> dict[str, Path]:
    """Files of one folder by stem, in the order of their names.

    Args:
        endings: in small letters, of the files that are taken; those that a reader takes by default.
    """
    return {path.stem: path for path in sorted(folder.glob("*")) if path.suffix.lower() in endings}


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of a scan; of a JPEG or PNG from its header alone."""
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        return read_view(path).shape
    with Image.open(path) as image:
        return image.height, image.width


def marks_beyond(path: Path, annotations: Sequence[Annotation], size: tuple[int, int]) -> int:
    """How many annotations reach beyond their picture; that they lie on it at all, their reader has checked.

    Args:
        size: (height, width) of the picture.

    Raises:
        ReadError: the picture is turned by its EXIF tag.
    """
    if annotations:
        check_upright(path)
    return sum(reaches_beyond(annotation, *size) for annotation in annotations)


def missing_truth_note(without: int, what: str) -> list[str]:
    """A note on images without a file of annotations, which are taken as having none; none where each has one."""
    return [f"{without} images have no {what}: taken as without annotations."] if without else []


def truth_of_nothing(files: Iterable[Path], root: Path) -> dict[str, str]:
    """Files of annotations that are of no image, as a collection's ``bad`` names them."""
    return {path.relative_to(root).as_posix(): f"{path}: no image of that name" for path in files}


def check_upright(path: Path) -> None:
    """Require of a picture with annotations that no EXIF tag turns or mirrors it: some tools obey the tag and others do not.

    Raises:
        ReadError: one does.
    """
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        return
    with naming(path, "image"), Image.open(path) as image:
        turned = image.getexif().get(EXIF_ORIENTATION, 1)
    if turned not in (0, 1):
        raise ReadError(
            f"{path}: its EXIF tag (orientation {turned}) turns or mirrors it, and annotations may be of either; store it upright and mark it anew"
        )
