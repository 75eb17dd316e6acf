"""COMPASS-XP: single objects in a tray, as several images of one scan, with a class and whether it is dangerous (Caldwell & Griffin 2019).

Layout: ``meta.txt``, tab-separated, and ``{Colour,Density,Grey,High,Low}/<basename>.png``; ``Photo/`` is no X-ray image and is
not read. Labels are of whole images.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bagscan.core.errors import ConfigError, DataError
from bagscan.datasets.record import Collection, Record, files_in
from bagscan.datasets.source import Source

IMAGES = ("Colour", "Density", "Grey", "High", "Low")
COLUMNS = {"basename", "class", "dangerous"}
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
PUBLISHED_COUNT = 1_928


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Attributes:
    images: ``Colour``, ``Density``, ``Grey``, ``High`` or ``Low``. with_classes: labels of every class of object beside ``dangerous``.
    """

    images: str = "Colour"
    with_classes: bool = False

    def __post_init__(self) -> None:
        if self.images not in IMAGES:
            raise ConfigError(f"images must be one of {', '.join(IMAGES)}, got {self.images!r}")

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.images, self.with_classes)


def load(root: str | Path, images: str = "Colour", with_classes: bool = False) -> Collection:
    """Read ``meta.txt`` and one kind of image; scans without it are counted and left out.

    Raises:
        DataError: no ``meta.txt``, or of other columns; nothing can be used.
    """
    rows = _rows(Path(root) / "meta.txt")
    present = files_in(Path(root) / images)
    classes = sorted({row["class"] for row in rows}) if with_classes else []
    records, bad, absent = [], {}, []
    times = Counter(row["basename"] for row in rows)
    for row in rows:
        name, dangerous = row["basename"], row["dangerous"].lower()
        if name not in present:
            absent.append(name)
        elif times[name] > 1:
            bad[name] = f"{Path(root) / 'meta.txt'}: {times[name]} rows are of {name}"
        elif dangerous not in (*TRUE, *FALSE):
            bad[name] = (
                f"{Path(root) / 'meta.txt'}: dangerous is {row['dangerous']!r}, expected True or False"
            )
        else:
            labels = {label: 1 if label == row["class"] else -1 for label in classes}
            records.append(
                Record(
                    name,
                    present[name],
                    labels=labels | {"dangerous": 1 if dangerous in TRUE else -1},
                    group=row.get("instance") or None,
                )
            )
    notes = [
        f"{len(records)} images of {images}, {sum(r.labels['dangerous'] == 1 for r in records)} dangerous; {len(absent)} listed ones are absent."
    ]
    return Collection("compass_xp", tuple(records), tuple(notes), tuple(absent), bad).called(
        "compass_xp", PUBLISHED_COUNT
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; COMPASS-XP has its labels there")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter="\t")
        columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
        if not columns.keys() >= COLUMNS:
            raise DataError(
                f"{path}: its first line must name {', '.join(sorted(COLUMNS))}, separated by tabs; it has {', '.join(columns) or 'nothing'}"
            )
        return [
            {short: (row[name] or "").strip() for short, name in columns.items()} for row in reader
        ]
