"""CLCXray: boxes of five classes of cutter and seven of liquid container (Zhao et al., TIFS 2022).

Layout: a COCO file per split in ``annotations/`` or ``annotation/``, with the name of the split in
the file name, such as ``instances_train2017.json``. Academic use only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bagscan.core.errors import DataError
from bagscan.datasets import coco
from bagscan.datasets.record import Collection
from bagscan.datasets.source import Source

PUBLISHED_COUNT = 9_565  # images in all splits


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Settings of CLCXray.

    Attributes:
        list_of: split, ``train``, ``val`` or ``test``.
    """

    list_of: str = "train"

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.list_of)


def load(root: str | Path, list_of: str = "train") -> Collection:
    """Load one split. Images that are missing on disk are counted and left out.

    Raises:
        DataError: the split has no JSON file or several, or no image is usable.
    """
    found = sorted(path for path in Path(root).glob("annotation*/*.json") if list_of in path.stem)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(
            f"{root}: expected one JSON file with {list_of!r} in its name in annotations/, "
            f"found {names}"
        )
    collection = coco.load(found[0]).called("clcxray")
    return collection.noting(
        f"The published dataset has {PUBLISHED_COUNT} images in all its splits."
    )
