"""What a dataset is to a configuration: settings that load it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bagscan.config import OneOf
from bagscan.core.errors import ConfigError
from bagscan.datasets.record import Collection, located
from bagscan.registry import part


@dataclass(frozen=True, kw_only=True)
class Source(OneOf):
    """One dataset. A module of one has a subclass ``Config`` with settings of its own.

    Attributes:
        format: the dataset's name, ``simulated``, ``sixray``, ``yolo``, ``coco``, or one that another package adds.
        root: folder (COCO: the JSON file); absolute, or relative to the data folder, ``BAGSCAN_DATA``, or else to
            where bagscan is run.
        with_objects_only: leave out scans without annotations. limit: use at most so many records (views of
            simulated bags, or items in them), spread evenly through the set; 0 for all.
    """

    format: str
    root: str
    with_objects_only: bool = False
    limit: int = 0

    @abstractmethod
    def load(self) -> Collection:
        """All records, and notes on what is absent or odd.

        Raises:
            DataError: it is not there, or nothing of it can be used. ConfigError: a setting.
        """

    @property
    def folder(self) -> Path:
        """``root``, see :func:`bagscan.datasets.record.located`.

        Raises:
            DataError: it is not there.
        """
        return located(self.root)

    @classmethod
    def chosen(cls, data: Mapping[str, Any], where: str) -> type:
        """The dataset of this ``format``."""
        name = data.get("format")
        if not isinstance(name, str):
            raise ConfigError(f"{where}: needs a format")
        config: type = part("datasets", name).Config
        return config
