"""COMPASS-XP: single objects in a tray, with image labels (Caldwell & Griffin 2019).

Each scan has several images, a class, and a flag "dangerous".

Layout: ``meta.txt``, tab-separated, and ``{Colour,Density,Grey,High,Low}/<basename>.png``.
``Photo/`` has no X-ray images and is not read.
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
    """Settings of COMPASS-XP.

    Attributes:
        images: image to read, ``Colour``, ``Density``, ``Grey``, ``High`` or ``Low``.
        with_classes: add a label per class of object to the label ``dangerous``.
    """

    images: str = "Colour"
    with_classes: bool = False

    def __post_init__(self) -> None:
        if self.images not in IMAGES:
            raise ConfigError(f"images is {self.images!r}; expected one of {', '.join(IMAGES)}")

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.images, self.with_classes)


def load(root: str | Path, images: str = "Colour", with_classes: bool = False) -> Collection:
    """Load one image per scan. Scans without that image are counted and left out.

    Raises:
        DataError: ``meta.txt`` is missing or has other columns, or no scan is usable.
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
            bad[name] = f"{Path(root) / 'meta.txt'}: {name} has {times[name]} rows, expected 1"
        elif dangerous not in (*TRUE, *FALSE):
            bad[name] = (
                f"{Path(root) / 'meta.txt'}: dangerous is {row['dangerous']!r}; "
                "expected True or False"
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
    n_dangerous = sum(r.labels["dangerous"] == 1 for r in records)
    notes = [
        f"{len(records)} images of {images}, {n_dangerous} dangerous; "
        f"{len(absent)} listed images are absent."
    ]
    return Collection("compass_xp", tuple(records), tuple(notes), tuple(absent), bad).called(
        "compass_xp", PUBLISHED_COUNT
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise DataError(f"{path}: file with the labels of COMPASS-XP is missing")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter="\t")
        columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
        if not columns.keys() >= COLUMNS:
            raise DataError(
                f"{path}: the first line has the columns {', '.join(columns) or '(none)'}; "
                f"expected {', '.join(sorted(COLUMNS))}, separated by tabs"
            )
        return [
            {short: (row[name] or "").strip() for short, name in columns.items()} for row in reader
        ]
