"""OPIXray: boxes of five classes of knife and scissors (Wei et al., ACM Multimedia 2020).

Layout: ``{train,test}/{part}_image/<id>.jpg`` and ``{train,test}/{part}_annotation/<id>.txt``, a
text file per image with rows of image, class, x1, y1, x2, y2 in pixels. Lists of ids by level of
occlusion, such as ``test/test_knife-1.txt``. Academic use only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bagscan.core import Annotation
from bagscan.core.errors import DataError, ReadError, absent
from bagscan.datasets.record import (
    Collection,
    Record,
    count_beyond,
    files_in,
    image_size,
    missing_truth_note,
    orphan_annotations,
)
from bagscan.datasets.source import Source
from bagscan.formats.limits import MAX_TEXT_BYTES, check_size, naming
from bagscan.formats.truth import beyond_note, check_on_picture

CLASSES = ("Folding_Knife", "Straight_Knife", "Scissor", "Utility_Knife", "Multi-tool_Knife")
PUBLISHED_COUNTS = {"train": 7_109, "test": 1_776}


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Settings of OPIXray.

    Attributes:
        list_of: split, ``train`` or ``test``.
        ids: file in the folder of the split that lists the ids to load, one per line, such as
            ``test_knife-1.txt``; empty for all.
    """

    list_of: str = "train"
    ids: str = ""

    def load(self) -> Collection:
        """See :func:`load_boxes_by_line`."""
        expected = PUBLISHED_COUNTS.get(self.list_of) if not self.ids else None
        return load_boxes_by_line(self.folder, self.list_of, CLASSES, self.ids).called(
            "opixray", expected
        )


def load_boxes_by_line(
    root: Path, list_of: str, classes: Sequence[str], ids: str = ""
) -> Collection:
    """Load one split of a dataset in OPIXray's layout.

    An image without a text file has no annotations.

    Args:
        root: folder of the dataset.
        list_of: split, ``train`` or ``test``.
        classes: names that the text files use.
        ids: file that lists the ids to load; empty for all.

    Raises:
        DataError: the split or the list of ids is missing, or no image is usable.
    """
    folder = root / list_of / f"{list_of}_image"
    if not folder.is_dir():
        raise DataError(
            f"{absent(folder, 'folder')}; expected train/train_image and test/test_image"
        )
    present = files_in(folder)
    wanted = _read_ids(root / list_of / ids) if ids else list(present)
    records, bad, without, beyond = [], {}, 0, 0
    texts = files_in(root / list_of / f"{list_of}_annotation", (".txt",))
    for stem in (stem for stem in wanted if stem in present):
        without += stem not in texts
        try:
            with naming(present[stem], "image"):
                size = image_size(present[stem])
            annotations = read_boxes_by_line(texts[stem], classes, *size) if stem in texts else ()
            beyond += count_beyond(present[stem], annotations, size)
        except ReadError as error:
            bad[stem] = str(error)
            continue
        records.append(Record(stem, present[stem], annotations))
    missing = tuple(stem for stem in wanted if stem not in present)
    n_boxes = sum(len(r.annotations) for r in records)
    notes = [
        f"{len(records)} images, {n_boxes} boxes; {len(missing)} listed images are absent.",
        *missing_truth_note(without, "text file"),
        *beyond_note(beyond),
    ]
    bad |= orphan_annotations((path for stem, path in texts.items() if stem not in present), root)
    return Collection(root.name, tuple(records), tuple(notes), missing, bad)


def read_boxes_by_line(
    path: Path, classes: Sequence[str], height: int, width: int
) -> tuple[Annotation, ...]:
    """Read the boxes of one image from rows of image, class, x1, y1, x2, y2 in pixels.

    Raises:
        ReadError: a row has another form, or names another image or an unknown class; or a box
            lies outside the image.
    """
    if path.is_file() and not path.stat().st_size:
        return ()
    check_size(path, MAX_TEXT_BYTES)
    with naming(path, "annotation"):
        rows = [
            line.split()
            for line in path.read_text(encoding="utf-8-sig").splitlines()
            if line.strip()
        ]
        return tuple(_box(path, row, classes, height, width) for row in rows)


def _box(path: Path, row: list[str], classes: Sequence[str], height: int, width: int) -> Annotation:
    if len(row) != 6 or row[1] not in classes:
        raise ReadError(
            f"{path}: invalid row {' '.join(row)[:80]!r}; expected image, class, x1, y1, x2, y2, "
            f"with class one of {', '.join(classes)}"
        )
    if Path(row[0]).stem != path.stem:
        raise ReadError(f"{path}: a row names another image, {row[0]}; expected {path.stem}")
    x1, y1, x2, y2 = (float(value) for value in row[2:])
    found = Annotation(row[1], (x1, y1, x2, y2))
    check_on_picture(found, height, width)
    return found


def _read_ids(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"{path}: list of ids is missing")
    return [
        Path(line.strip()).stem
        for line in path.read_text(encoding="utf-8-sig").splitlines()
        if line.strip()
    ]
