"""GDXray, group Baggages: series of grey X-ray images, some with boxes (Mery et al. 2015).

Layout: ``Baggages/B0001/B0001_0001.png`` and so on. ``ground_truth.txt`` in the folder of a series
has rows of image number, x1, x2, y1, y2, in pixels counted from 1. The files do not name the
classes of the boxes; see the description of the dataset. Research and education only.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from bagscan.core import Annotation
from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import Collection, Record, count_beyond, image_size
from bagscan.datasets.source import Source
from bagscan.formats.limits import MAX_TEXT_BYTES, check_size, naming
from bagscan.formats.truth import beyond_note, check_on_picture

TRUTH = "ground_truth.txt"
PUBLISHED_COUNT = 8_150


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Settings of GDXray.

    Attributes:
        series: series to load, such as ``[B0046]``; empty for all.
        labels: label of the boxes of a series, such as ``{B0046: gun}``; ``object`` for the others.
    """

    series: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.series, self.labels)


def load(
    root: str | Path, series: tuple[str, ...] = (), labels: dict[str, str] | None = None
) -> Collection:
    """Load the series. A split keeps the images of a series together, since they show one bag.

    Raises:
        DataError: a series is missing, labels are given for a series that is not loaded, or no
            image is usable.
    """
    root = Path(root)
    root = root / "Baggages" if (root / "Baggages").is_dir() else root
    folders = [
        folder
        for folder in sorted(root.glob("B*"))
        if folder.is_dir() and (not series or folder.name in series)
    ]
    if missing := set(series) - {folder.name for folder in folders}:
        raise DataError(f"{root}: series {', '.join(sorted(missing))} is missing")
    if unused := set(labels or {}) - {folder.name for folder in folders}:
        raise DataError(
            f"{root}: labels are given for series {', '.join(sorted(unused))}, which is not "
            "loaded; remove the labels, or add the series"
        )
    records, bad, boxed, beyond = [], {}, 0, 0
    for folder in folders:
        try:
            boxes, wrong = _boxes(folder / TRUTH, (labels or {}).get(folder.name, "object"))
        except ReadError as error:
            bad[folder.name] = str(error)
            continue
        boxed += bool(boxes)
        numbers = set()
        for path in sorted(folder.glob(f"{folder.name}_*.png")):
            try:
                number = int(path.stem.rpartition("_")[2])
                numbers.add(number)
                if number in wrong:
                    raise ReadError(wrong[number])
                record, n_beyond = _load_record(path, boxes[number])
                records.append(record)
                beyond += n_beyond
            except (ReadError, ValueError) as error:
                bad[path.stem] = str(error)
        for number in sorted((boxes.keys() | wrong.keys()) - numbers):
            bad[f"{folder.name}/{TRUTH}: {number}"] = (
                f"{folder / TRUTH}: there are boxes of image {number}, but the image is missing"
            )
    notes = [
        f"{len(records)} images of {len(folders)} series; {boxed} series have boxes.",
        *beyond_note(beyond),
    ]
    return Collection("gdxray", tuple(records), tuple(notes), bad=bad).called(
        "gdxray", None if series else PUBLISHED_COUNT
    )


def _load_record(path: Path, annotations: list[Annotation]) -> tuple[Record, int]:
    """Return the record of an image, and the number of its boxes that reach beyond the image."""
    with naming(path, "image"):
        size = image_size(path)
        for annotation in annotations:
            check_on_picture(annotation, *size)
    record = Record(path.stem, path, tuple(annotations), group=path.parent.name)
    return record, count_beyond(path, annotations, size)


def _boxes(path: Path, label: str) -> tuple[dict[int, list[Annotation]], dict[int, str]]:
    """Return the boxes by image number, and the errors in rows by image number.

    Raises:
        ReadError: a row does not begin with an image number.
    """
    found: dict[int, list[Annotation]] = defaultdict(list)
    wrong: dict[int, str] = {}
    if not path.exists():
        return found, wrong
    check_size(path, MAX_TEXT_BYTES)
    with naming(path, "GDXray ground truth"):
        for row, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            if not line.strip():
                continue
            number = int(float(line.split()[0]))
            try:
                _, x1, x2, y1, y2 = (float(value) for value in line.split())
                found[number].append(Annotation(label, (x1 - 1, y1 - 1, x2, y2)))
            except ValueError as error:
                wrong[number] = f"{path}: row {row}, {line.strip()[:60]!r}: {error}"
    return found, wrong
