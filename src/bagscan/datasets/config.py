"""Data of an experiment: datasets, their records, and the split."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bagscan.config import apply_settings, fill, read_yaml
from bagscan.core.errors import ConfigError, DataError
from bagscan.datasets import simulated
from bagscan.datasets.record import Record
from bagscan.datasets.source import Source
from bagscan.datasets.splits import (
    Split,
    fingerprint,
    given_split,
    make_split,
    read_split,
    write_split,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataConfig:
    """Datasets and their split.

    Attributes:
        sources: datasets to read.
        split: split file to use. If null, a split is written to the run folder: the datasets' own
            split if they have one, else one that keeps near-duplicates together.
        fractions: share of the scans in train, val and test.
        seed: random seed of the split.
        leave_out_scanner: scanner to leave out of train and val; test then holds all scans of this
            scanner and no others.
    """

    sources: tuple[Source, ...]
    split: str | None = None
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 0
    leave_out_scanner: str | None = None


def read_data(path: str | Path, settings: Sequence[str] = ()) -> DataConfig:
    """Read only the section ``data`` of a configuration; this does not need torch.

    Args:
        path: the YAML file.
        settings: overrides, as given to ``--set``.

    Raises:
        ConfigError: the section is missing, or has an unknown key or an invalid value.
    """
    tree, lines = read_yaml(path)
    apply_settings(tree, settings, lines)
    if not isinstance(tree.get("data"), dict):
        raise ConfigError(
            f"{path}: section data is missing; expected a configuration of kind joint, detection, "
            "multi_label or one_class"
        )
    return fill(DataConfig, tree["data"], str(path), lines, ("data",))


def use_whole_views(data: DataConfig) -> DataConfig:
    """Return the configuration with whole views in place of single devices of simulated scans."""
    sources = tuple(
        dataclasses.replace(source, items=False) if isinstance(source, simulated.Config) else source
        for source in data.sources
    )
    return dataclasses.replace(data, sources=sources)


def load_records(config: DataConfig, bad: dict[str, str] | None = None) -> list[Record]:
    """Load the records of all datasets.

    Args:
        config: the datasets.
        bad: if given, filled with the reason for each record that cannot be read, keyed by id.

    Raises:
        DataError: a dataset is missing or has no usable scan.
    """
    records: list[Record] = []
    for source in config.sources:
        collection = source.load()
        if bad is not None:
            bad |= collection.bad
        for note in collection.notes:
            log.info(f"{collection.name}: {note}")
        if collection.absent or collection.bad:
            log.info(
                f"{collection.name}: left out {len(collection.absent)} absent and "
                f"{len(collection.bad)} bad scans; bagscan data check lists them"
            )
        usable = [r for r in collection.records if r.annotations or not source.with_objects_only]
        kept = np.unique(np.linspace(0, len(usable) - 1, source.limit or len(usable)).astype(int))
        # Simulated datasets use the same scan numbers, so several need a prefix.
        several = sum(isinstance(other, simulated.Config) for other in config.sources) > 1
        records += [_add_prefix(usable[i], collection.name) if several else usable[i] for i in kept]
        log.info(f"{collection.name}: {len(kept)} scans loaded")
    return records


def _add_prefix(record: Record, name: str) -> Record:
    return dataclasses.replace(
        record, id=f"{name}:{record.id}", about=dataclasses.replace(record.about, collection=name)
    )


def load_or_make_split(config: DataConfig, records: list[Record], out: Path) -> Split:
    """Return the split that the configuration names, or that of the run, which is made if missing.

    Args:
        config: the configuration.
        records: records of its datasets.
        out: run folder.

    Raises:
        DataError: the split of the run was made with another seed or with other fractions.
    """
    path = Path(config.split) if config.split else out / "split.json"
    fractions = dict(zip(("train", "val", "test"), config.fractions, strict=True))
    is_new = not path.exists() and not config.split
    if is_new:
        log.info("splitting ...")
        out.mkdir(parents=True, exist_ok=True)
        if all(record.part for record in records):
            new_split = given_split(records, fractions, config.seed)
        else:
            new_split = make_split(records, fractions, config.seed)
        write_split(path, new_split)
    split = read_split(path)
    if not config.split and (split.seed, dict(split.fractions)) != (config.seed, fractions):
        earlier = ", ".join(
            f"{part} {split.fractions[part]}" for part in fractions if part in split.fractions
        )
        raise DataError(
            f"{path} was made with data.seed={split.seed} and data.fractions {earlier}, which "
            "differ from the configuration; use the same values, or delete the file if no model "
            "was trained on it"
        )
    ids, known = {r.id for r in records}, set(split.sha256)
    # make_split has already reported the unreadable records of a new split.
    added = [] if is_new else [record for record in records if record.id not in known]
    unreadable = [reason for reason in map(fingerprint, added) if isinstance(reason, str)]
    for reason in unreadable:
        log.info(f"left out: {reason}")
    if len(added) > len(unreadable):
        log.info(
            f"left out: {len(added) - len(unreadable)} scans that were added after {path} was made"
        )
    if known - ids:
        log.info(f"{len(known - ids)} scans of {path} are absent now")
    return split


def part_records(
    config: DataConfig, records: list[Record], split: Split, part: str
) -> list[Record]:
    """Return the records of one part (``train``, ``val`` or ``test``).

    If a scanner is left out, ``test`` holds all records of that scanner.

    Raises:
        DataError: the scanner to leave out has no records.
    """
    left_out = config.leave_out_scanner
    scanners = {r.scanner for r in records}
    if left_out and left_out not in scanners:
        raise DataError(
            f"data.leave_out_scanner: no scans of scanner {left_out!r}; "
            f"expected one of {', '.join(sorted(scanners))}"
        )
    if left_out and part == "test":
        return [r for r in records if r.scanner == left_out]
    return [r for r in split.select(records, part) if r.scanner != left_out]
