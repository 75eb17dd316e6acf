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
from bagscan.datasets.record import Collection, Record, image_size
from bagscan.datasets.source import Source
from bagscan.formats.limits import MAX_TEXT_BYTES, check_size, naming
from bagscan.formats.truth import check_on_picture

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


def load(root: str | Path, series: tuple[str, ...] = (), labels: dict[str, str] | None = None) -> Collection:
    """Read the series of GDXray's baggage; images of one series stay in one part of a split, since they show one bag turned.

    Raises:
        DataError: no series there, or nothing can be used.
    """
    root = Path(root)
    root = root / "Baggages" if (root / "Baggages").is_dir() else root
    folders = [folder for folder in sorted(root.glob("B*")) if folder.is_dir() and (not series or folder.name in series)]
    if missing := set(series) - {folder.name for folder in folders}:
        raise DataError(f"{root}: no series {', '.join(sorted(missing))}")
    records, bad, boxed = [], {}, 0
    for folder in folders:
        try:
            boxes = _boxes(folder / TRUTH, (labels or {}).get(folder.name, "object"))
        except ReadError as error:
            bad[folder.name] = str(error)
            continue
        boxed += bool(boxes)
        for path in sorted(folder.glob(f"{folder.name}_*.png")):
            try:
                records.append(_record(path, boxes[int(path.stem.rpartition("_")[2])]))
            except (ReadError, ValueError) as error:
                bad[path.stem] = str(error)
    notes = [f"{len(records)} images of {len(folders)} series, {boxed} of these with boxes."]
    return Collection("gdxray", tuple(records), tuple(notes), bad=bad).called("gdxray", None if series else PUBLISHED_COUNT)


def _record(path: Path, annotations: list[Annotation]) -> Record:
    with naming(path, "image"):
        size = image_size(path)
        for annotation in annotations:
            check_on_picture(annotation, *size)
    return Record(path.stem, path, tuple(annotations), group=path.parent.name)


def _boxes(path: Path, label: str) -> dict[int, list[Annotation]]:
    """Boxes by number of the image."""
    found: dict[int, list[Annotation]] = defaultdict(list)
    if not path.exists():
        return found
    check_size(path, MAX_TEXT_BYTES)
    with naming(path, "GDXray ground truth"):
        for line in path.read_text(encoding="utf-8-sig").splitlines():
            if line.strip():
                number, x1, x2, y1, y2 = (float(value) for value in line.split())
                found[int(number)].append(Annotation(label, (x1 - 1, y1 - 1, x2, y2)))
    return found
