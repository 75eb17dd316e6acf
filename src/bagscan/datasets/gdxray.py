"""GDXray, group Baggages: grey X-ray images in series, some with boxes (Mery et al. 2015). Research and education only.

Layout: ``Baggages/B0001/B0001_0001.png`` and so on; ``ground_truth.txt`` in a series has rows of number of the image, x1, x2, y1, y2 in pixels from 1.
What the boxes of a series hold is told in the set's own description, not in its files.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from bagscan.core import Annotation
from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import Collection, Record, image_size, marks_beyond
from bagscan.datasets.source import Source
from bagscan.formats.limits import MAX_TEXT_BYTES, check_size, naming
from bagscan.formats.truth import beyond_note, check_on_picture

TRUTH = "ground_truth.txt"
PUBLISHED_COUNT = 8_150


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Attributes:
    series: to take, such as ``[B0046]``; empty for all. labels: what the boxes of a series hold, such as ``{B0046: gun}``; ``object`` of others.
    """

    series: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.series, self.labels)


def load(
    root: str | Path, series: tuple[str, ...] = (), labels: dict[str, str] | None = None
) -> Collection:
    """Read the series of GDXray's baggage; images of one series stay in one part of a split, since they show one bag turned.

    Raises:
        DataError: no series there, or nothing can be used.
    """
    root = Path(root)
    root = root / "Baggages" if (root / "Baggages").is_dir() else root
    folders = [
        folder
        for folder in sorted(root.glob("B*"))
        if folder.is_dir() and (not series or folder.name in series)
    ]
    if missing := set(series) - {folder.name for folder in folders}:
        raise DataError(f"{root}: no series {', '.join(sorted(missing))}")
    if odd := set(labels or {}) - {folder.name for folder in folders}:
        raise DataError(
            f"{root}: labels are given for the series {', '.join(sorted(odd))}, which is not taken"
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
                record, over = _record(path, boxes[number])
                records.append(record)
                beyond += over
            except (ReadError, ValueError) as error:
                bad[path.stem] = str(error)
        lost = sorted((boxes.keys() | wrong.keys()) - numbers)
        bad |= {
            f"{folder.name}/{TRUTH}: {number}": f"{folder / TRUTH}: rows of image {number}, which is not there"
            for number in lost
        }
    notes = [
        f"{len(records)} images of {len(folders)} series, {boxed} of these with boxes.",
        *beyond_note(beyond),
    ]
    return Collection("gdxray", tuple(records), tuple(notes), bad=bad).called(
        "gdxray", None if series else PUBLISHED_COUNT
    )


def _record(path: Path, annotations: list[Annotation]) -> tuple[Record, int]:
    """An image with its boxes, and how many of these reach beyond it."""
    with naming(path, "image"):
        size = image_size(path)
        for annotation in annotations:
            check_on_picture(annotation, *size)
    return Record(path.stem, path, tuple(annotations), group=path.parent.name), marks_beyond(
        path, annotations, size
    )


def _boxes(path: Path, label: str) -> tuple[dict[int, list[Annotation]], dict[int, str]]:
    """Boxes by number of the image, and what is wrong with the rows of others.

    Raises:
        ReadError: a row does not say of which image it is.
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
