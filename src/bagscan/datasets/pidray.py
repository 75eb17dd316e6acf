"""PIDray: boxes and masks of twelve classes of prohibited item (Wang et al., ICCV 2021).

Layout: COCO files ``annotations/xray_{train,test_easy,test_hard,test_hidden}.json``, and the image
folders ``train/``, ``easy/``, ``hard/`` and ``hidden/``. Academic use only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bagscan.core.errors import DataError
from bagscan.datasets import coco
from bagscan.datasets.record import Collection
from bagscan.datasets.source import Source

PUBLISHED_COUNTS = {"train": 29_457, "test_easy": 9_482, "test_hard": 3_733, "test_hidden": 5_005}


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Settings of PIDray.

    Attributes:
        list_of: list to load, ``train``, ``test_easy``, ``test_hard`` or ``test_hidden``.
    """

    list_of: str = "train"

    def load(self) -> Collection:
        """See :func:`load`."""
        return load(self.folder, self.list_of)


def load(root: str | Path, list_of: str = "train") -> Collection:
    """Load one list. Images that are missing on disk are counted and left out.

    Raises:
        DataError: the list is missing, or no image is usable.
    """
    path = Path(root) / "annotations" / f"xray_{list_of}.json"
    if list_of not in PUBLISHED_COUNTS or not path.is_file():
        raise DataError(
            f"{path}: list is missing; expected annotations/xray_{{list}}.json, "
            f"with list one of {', '.join(PUBLISHED_COUNTS)}"
        )
    images = Path(root) / list_of.removeprefix("test_")
    return coco.load(path, images if images.is_dir() else None).called(
        "pidray", PUBLISHED_COUNTS[list_of]
    )
