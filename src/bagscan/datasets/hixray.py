"""HiXray: boxes of eight classes of common item (Tao et al., ICCV 2021).

The layout is that of OPIXray. Academic use only.
"""

from __future__ import annotations

from dataclasses import dataclass

from bagscan.datasets.opixray import load_boxes_by_line
from bagscan.datasets.record import Collection
from bagscan.datasets.source import Source

CLASSES = (
    "Portable_Charger_1",
    "Portable_Charger_2",
    "Mobile_Phone",
    "Laptop",
    "Tablet",
    "Cosmetic",
    "Water",
    "Nonmetallic_Lighter",
)
PUBLISHED_COUNTS = {"train": 36_295, "test": 9_069}


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """Settings of HiXray.

    Attributes:
        list_of: split, ``train`` or ``test``.
    """

    list_of: str = "train"

    def load(self) -> Collection:
        """See :func:`bagscan.datasets.opixray.load_boxes_by_line`."""
        return load_boxes_by_line(self.folder, self.list_of, CLASSES).called(
            "hixray", PUBLISHED_COUNTS.get(self.list_of)
        )
