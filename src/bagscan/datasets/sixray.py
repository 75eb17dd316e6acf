"""SIXray: official lists and VOC boxes (Miao et al., CVPR 2019).

Layout: ``JPEGImage/<stem>.jpg``, ``Annotation/<stem>.xml`` for positives, and
``ImageSet/{10,100,1000}/{train,test}.csv`` with 1, -1 or 0 per class. A 0 means negative for an
``N*`` image, and unknown for a ``P*`` image. Academic use only; do not redistribute the images.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from bagscan.core import Annotation
from bagscan.core.errors import DataError, ReadError
from bagscan.datasets.record import Collection, Record, check_upright, image_size
from bagscan.datasets.source import Source
from bagscan.formats.limits import naming
from bagscan.formats.voc import read_voc

CLASSES = ("Gun", "Knife", "Wrench", "Pliers", "Scissors")
PUBLISHED_COUNTS = {("10", "train"): 74_960, ("10", "test"): 13_412}


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Settings of SIXray.

    Attributes:
        subset: official list, ``10``, ``100`` or ``1000``.
        list_of: split of that list, ``train`` or ``test``.
    """

    subset: str = "10"
    list_of: str = "train"

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.subset, self.list_of)


def read_list(path: Path, bad: dict[str, str]) -> dict[str, dict[str, int]]:
    """Read an official CSV file as ``{stem: {class: 1, -1 or 0}}``.

    Args:
        path: the file.
        bad: filled with the reason for each row that is left out.

    Raises:
        DataError: the file is missing, or its header is not the official one.
    """
    if not path.exists():
        raise DataError(
            f"{path}: list is missing; expected ImageSet/{{10,100,1000}}/{{train,test}}.csv"
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        if tuple(name.strip() for name in rows.fieldnames or ()) != ("name", *CLASSES):
            raise DataError(
                f"{path}: header is {rows.fieldnames}; expected name,{','.join(CLASSES)}"
            )
        listed: dict[str, dict[str, int]] = {}
        for number, row in enumerate(rows, 2):
            try:
                stem = row["name"].strip().removesuffix(".jpg")
                labels = {name: _label(row[name]) for name in CLASSES}
            except (ValueError, AttributeError, TypeError) as error:
                bad[f"{path.name}:{number}"] = (
                    f"{path}:{number}: invalid row ({error}); "
                    f"expected a name and {len(CLASSES)} labels of 1, -1 or 0"
                )
                continue
            if listed.get(stem, labels) != labels:
                bad[stem] = f"{path}:{number}: listed twice, with different labels"
            listed[stem] = labels
        return {stem: labels for stem, labels in listed.items() if stem not in bad}


def _label(text: str) -> int:
    value = float(text or "nan")
    if value not in (-1, 0, 1):
        raise ValueError(f"label {text}")
    return int(value)


def load(root: str | Path, subset: str = "10", split: str = "train") -> Collection:
    """Load one official list. Images that are missing on disk are counted and left out.

    Args:
        root: folder with ``JPEGImage``.
        subset: ``10``, ``100`` or ``1000``.
        split: ``train`` or ``test``.

    Raises:
        DataError: the list is missing or has another header, or no image is usable.
    """
    root = Path(root)
    bad: dict[str, str] = {}
    listed = read_list(root / "ImageSet" / subset / f"{split}.csv", bad)
    present = {
        path.stem: path
        for path in (root / "JPEGImage").glob("*")
        if path.suffix.lower() in (".jpg", ".jpeg")
    }
    records, unknown = [], 0
    for stem, values in listed.items():
        if stem not in present:
            continue
        if stem.startswith("N"):
            values = {name: value or -1 for name, value in values.items()}
        unknown += sum(value == 0 for value in values.values())
        try:
            records.append(_load_record(root, present[stem], values))
        except ReadError as error:
            bad[stem] = str(error)
    absent = tuple(stem for stem in listed if stem not in present)
    notes = [
        f"{len(absent)} of {len(listed)} listed images are absent from {root / 'JPEGImage'}; "
        f"{len(records)} are loaded."
    ]
    unlisted = len(present.keys() - set(listed))
    if unlisted:
        notes.append(f"{unlisted} images on disk are not in this list and are not used.")
    expected = PUBLISHED_COUNTS.get((subset, split))
    if expected is not None and expected != len(listed):
        notes.append(f"The list has {len(listed)} rows; the published list has {expected}.")
    unboxed = sum(not r.annotations for r in records if r.id.startswith("P"))
    if unboxed:
        notes.append(f"{unboxed} positives have no box.")
    disagree = sum(
        {a.label for a in r.annotations} != {name for name, v in r.labels.items() if v == 1}
        for r in records
        if r.annotations
    )
    if disagree:
        notes.append(f"{disagree} images have boxes of other classes than the list states.")
    if unknown:
        notes.append(f"{unknown} labels of positives are 0 and count as unknown.")
    if bad:
        notes.append(f"{len(bad)} rows or annotations could not be read.")
    return Collection("sixray", tuple(records), tuple(notes), absent, bad)


def _load_record(root: Path, path: Path, labels: dict[str, int]) -> Record:
    stem = path.stem
    truth = root / "Annotation" / f"{stem}.xml"
    annotations: tuple[Annotation, ...] = ()
    if truth.exists():
        with naming(path, "image"):
            size = image_size(path)
        annotations = tuple(read_voc(truth, size))
        if annotations:
            check_upright(path)
    return Record(stem, path, annotations, labels, "sixray")
