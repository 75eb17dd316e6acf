"""CLCXray: COCO boxes of five kinds of cutter and seven of liquid container (Zhao et al., TIFS 2022).

Layout: a JSON file a part in ``annotations/`` or ``annotation/``, with the part's name in its own, such as
``instances_train2017.json``. Academic use only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bagscan.core.errors import DataError
from bagscan.datasets import coco
from bagscan.datasets.record import Collection
from bagscan.datasets.source import Source

PUBLISHED_COUNT = 9_565  # of all parts together


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Attributes:
    list_of: part ``train``, ``val`` or ``test``.
    """

    list_of: str = "train"

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.list_of)


def load(root: str | Path, list_of: str = "train") -> Collection:
    """Read one part; images that are absent on disk are counted and left out.

    Raises:
        DataError: no file of that part, or several; or nothing of it can be used.
    """
    found = sorted(path for path in Path(root).glob("annotation*/*.json") if list_of in path.stem)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(
            f"{root}: expected one JSON file with {list_of!r} in its name in annotations/, found {names}"
        )
    collection = coco.load(found[0]).called("clcxray")
    return collection.noting(f"The published set has {PUBLISHED_COUNT} images in all its parts.")
