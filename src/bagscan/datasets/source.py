"""Base class of the settings of a dataset."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bagscan.config import OneOf
from bagscan.core.errors import ConfigError
from bagscan.datasets.record import Collection, locate
from bagscan.registry import part


@dataclass(frozen=True, kw_only=True)
class Source(OneOf):
    """Settings of a dataset. The module of each dataset has a subclass ``Config``.

    Attributes:
        format: name of the dataset, for example ``simulated``, ``sixray``, ``yolo``, ``coco``, or a
            name that another package adds.
        root: folder of the dataset, or the JSON file for ``coco``: an absolute path, or one
            relative to the data folder (``BAGSCAN_DATA``), or else to the working directory.
        with_objects_only: leave out scans without annotations.
        limit: largest number of records to use, at even steps through the dataset; 0 for all.
            Records of simulated datasets are views, or items in views.
    """

    format: str
    root: str
    with_objects_only: bool = False
    limit: int = 0

    @abstractmethod
    def load(self) -> Collection:
        """Load the records, with notes on absent or invalid files.

        Raises:
            DataError: the dataset is missing, or none of its scans is usable.
            ConfigError: a setting is invalid.
        """

    @property
    def folder(self) -> Path:
        """``root`` as an existing path; see :func:`bagscan.datasets.record.locate`.

        Raises:
            DataError: the path does not exist.
        """
        return locate(self.root)

    @classmethod
    def chosen(cls, data: Mapping[str, Any], where: str) -> type:
        """Return the settings class for ``data["format"]``.

        Raises:
            ConfigError: the format is missing or unknown.
        """
        name = data.get("format")
        if not isinstance(name, str):
            raise ConfigError(f"{where}: format is missing; expected the name of a dataset")
        config: type = part("datasets", name).Config
        return config
