"""The data of an experiment: which sets, which records of them, and which part each belongs to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
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

Report = Callable[[str], None]


@dataclass(frozen=True)
class DataConfig:
    """Data sets and their split.

    Attributes:
        sources: sets to read. split: file to use; where null, one is made in the run folder: the
            sets' own split where they bring one, else one that keeps near-duplicates together.
        fractions: train, val, test. seed: of the split. leave_out_scanner: kept from training and validation; the
            test part is then that scanner alone.
    """

    sources: tuple[Source, ...]
    split: str | None = None
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 0
    leave_out_scanner: str | None = None


def read_data(path: str | Path, settings: Sequence[str] = ()) -> DataConfig:
    """The ``data`` of a configuration alone, with ``--set`` applied: what trains on it is not looked at, so that torch is not needed.

    Raises:
        ConfigError: no data, or an unknown key or value in them.
    """
    tree, lines = read_yaml(path)
    apply_settings(tree, settings, lines)
    if not isinstance(tree.get("data"), dict):
        raise ConfigError(
            f"{path}: this command needs a configuration with data, as those of kind joint, detection, multi_label and one_class have"
        )
    return fill(DataConfig, tree["data"], str(path), lines, ("data",))


def by_whole_views(data: DataConfig) -> DataConfig:
    """The same data, simulated items as the whole views that they are in."""
    return dataclasses.replace(
        data,
        sources=tuple(
            dataclasses.replace(s, items=False) if isinstance(s, simulated.Config) else s
            for s in data.sources
        ),
    )


def load_records(
    config: DataConfig, report: Report = print, bad: dict[str, str] | None = None
) -> list[Record]:
    """All records of all sources; what is absent or odd is reported.

    Args:
        bad: where given, receives what could not be read and why, by id.
    """
    records: list[Record] = []
    for source in config.sources:
        collection = source.load()
        if bad is not None:
            bad |= collection.bad
        for note in collection.notes:
            report(f"{collection.name}: {note}")
        usable = [r for r in collection.records if r.annotations or not source.with_objects_only]
        kept = np.unique(np.linspace(0, len(usable) - 1, source.limit or len(usable)).astype(int))
        several = sum(isinstance(other, simulated.Config) for other in config.sources) > 1
        # Simulated sets number their scans alike.
        records += [_of_set(usable[i], collection.name) if several else usable[i] for i in kept]
        report(f"{collection.name}: {len(kept)} scans taken")
    return records


def _of_set(record: Record, name: str) -> Record:
    return dataclasses.replace(
        record, id=f"{name}:{record.id}", about=dataclasses.replace(record.about, collection=name)
    )


def obtain_split(
    config: DataConfig, records: list[Record], out: Path, report: Report = print
) -> Split:
    """The split file named, the run's own, or a new one written there.

    Raises:
        DataError: the run's own split was made with another seed or other fractions.
    """
    path = Path(config.split) if config.split else out / "split.json"
    fractions = dict(zip(("train", "val", "test"), config.fractions, strict=True))
    made = not path.exists() and not config.split
    if made:
        report("splitting ...")
        out.mkdir(parents=True, exist_ok=True)
        own = all(record.part for record in records)
        write_split(
            path,
            given_split(records, fractions, config.seed)
            if own
            else make_split(records, fractions, config.seed, report=report),
        )
    split = read_split(path)
    if not config.split and (split.seed, dict(split.fractions)) != (config.seed, fractions):
        before = ", ".join(
            f"{part} {split.fractions[part]}" for part in fractions if part in split.fractions
        )
        raise DataError(
            f"{path} was made with data.seed={split.seed} and data.fractions {before}, not the ones asked for now: ask for those, or delete it where nothing was trained on it"
        )
    ids, known = {r.id for r in records}, set(split.sha256)
    later = (
        [] if made else [record for record in records if record.id not in known]
    )  # of one just made, what is in no part was named
    unread = [reason for reason in map(fingerprint, later) if isinstance(reason, str)]
    for reason in unread:
        report(f"left out: {reason}")
    if len(later) > len(unread):
        report(
            f"{len(later) - len(unread)} scans are new since {path} was made and in no part of it"
        )
    if known - ids:
        report(f"{len(known - ids)} scans of {path} are absent now")
    return split


def part_records(
    config: DataConfig, records: list[Record], split: Split, part: str
) -> list[Record]:
    """Records of one part; with a scanner left out, ``test`` is every scan of that scanner."""
    held = config.leave_out_scanner
    if held and held not in {r.scanner for r in records}:
        raise DataError(
            f"no scanner {held!r}; there are {', '.join(sorted({r.scanner for r in records}))}"
        )
    if held and part == "test":
        return [r for r in records if r.scanner == held]
    return [r for r in split.select(records, part) if r.scanner != held]
