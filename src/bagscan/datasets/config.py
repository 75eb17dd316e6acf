"""The data of an experiment: which sets, which records of them, and which part each belongs to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bagscan.config import apply_settings, fill, read_yaml
from bagscan.core.errors import ConfigError, DataError
from bagscan.datasets import coco_folder, simulated, sixray, yolo_folder
from bagscan.datasets.record import Collection, Record, data_folder
from bagscan.datasets.splits import Split, given_split, make_split, read_split, write_split
from bagscan.registry import offered

Report = Callable[[str], None]
FORMATS = ("simulated", "sixray", "yolo", "coco")


@dataclass(frozen=True)
class SourceConfig:
    """One dataset.

    Attributes:
        format: ``simulated``, ``sixray``, ``yolo``, ``coco``, or one that another package adds (entry point ``bagscan.datasets``).
        root: folder (COCO: the JSON file); relative to the data folder, ``BAGSCAN_DATA``, or absolute;
            of simulated scans relative to where bagscan is run.
        images, views: simulated: ``colour``, ``raw`` or ``all`` channels; ``below``, ``side`` or ``both``.
        items: simulated: every device of a view apart, with what is around it, in place of whole views.
        annotate: simulated: ``anomaly``, or ``device`` for detectors of items.
        label: simulated: classes of a whole scan, for kind ``multi_label``: ``anomaly``, its ``kind``, or the ``device`` classes in the bag.
        subset, list_of: SIXray: list ``10``, ``100`` or ``1000``, and ``train`` or ``test`` of it.
        scanner_digits: YOLO: leading characters of a file name that tell the scanner.
        with_objects_only: leave out scans without annotations. limit: use at most so many records (views of
            simulated bags, or items in them), spread evenly through the set; 0 for all.
    """

    format: str
    root: str
    subset: str = "10"
    list_of: str = "train"
    scanner_digits: int = 0
    with_objects_only: bool = False
    limit: int = 0
    images: str = "colour"
    views: str = "both"
    items: bool = False
    annotate: str = "anomaly"
    label: str = "anomaly"


@dataclass(frozen=True)
class DataConfig:
    """Data sets and their split.

    Attributes:
        sources: sets to read. split: file to use; where null, one is made in the run folder: the
            sets' own split where they bring one, else one that keeps near-duplicates together.
        fractions: train, val, test. seed: of the split. leave_out_scanner: kept from training and validation; the
            test part is then that scanner alone.
    """

    sources: tuple[SourceConfig, ...]
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
    apply_settings(tree, settings)
    if not isinstance(tree.get("data"), dict):
        raise ConfigError(f"{path}: this command needs a configuration with data, as those of kind joint, detection, multi_label and one_class have")
    return fill(DataConfig, tree["data"], str(path), lines, ("data",))


def load_source(source: SourceConfig) -> Collection:
    """Read one dataset. Raises :class:`DataError` naming ``BAGSCAN_DATA`` where it is absent."""
    if source.format == "simulated":
        return simulated.load(source.root, source.images, source.views, source.items, source.annotate, source.label)
    root = data_folder() / source.root
    if not root.exists():
        raise DataError(f"{root}: no such data; set BAGSCAN_DATA to the folder that holds {source.root}")
    if source.format == "sixray":
        return sixray.load(root, source.subset, source.list_of)
    if source.format == "yolo":
        return yolo_folder.load(root, source.scanner_digits)
    if source.format == "coco":
        return coco_folder.load(root)
    if source.format in (others := offered("datasets")):
        found: Collection = others[source.format].load().load(root)
        return found
    raise ConfigError(f"data.sources.format must be {', '.join([*FORMATS, *others])}, got {source.format!r}")


def load_records(config: DataConfig, report: Report = print) -> list[Record]:
    """All records of all sources; what is absent or odd is reported."""
    records: list[Record] = []
    for source in config.sources:
        collection = load_source(source)
        for note in collection.notes:
            report(f"{collection.name}: {note}")
        usable = [r for r in collection.records if r.annotations or not source.with_objects_only]
        kept = np.unique(np.linspace(0, len(usable) - 1, source.limit or len(usable)).astype(int))
        several = sum(other.format == "simulated" for other in config.sources) > 1
        # Simulated sets number their scans alike.
        records += [_of_set(usable[i], collection.name) if several else usable[i] for i in kept]
        report(f"{collection.name}: {len(kept)} scans taken")
    return records


def _of_set(record: Record, name: str) -> Record:
    return dataclasses.replace(record, id=f"{name}:{record.id}", about=dataclasses.replace(record.about, collection=name))


def obtain_split(config: DataConfig, records: list[Record], out: Path, report: Report = print) -> Split:
    """The split file named, the run's own, or a new one written there.

    Raises:
        DataError: the run's own split was made with another seed or other fractions.
    """
    path = Path(config.split) if config.split else out / "split.json"
    fractions = dict(zip(("train", "val", "test"), config.fractions, strict=True))
    if not path.exists() and not config.split:
        report("splitting ...")
        out.mkdir(parents=True, exist_ok=True)
        own = all(record.part for record in records)
        write_split(path, given_split(records, fractions, config.seed) if own else make_split(records, fractions, config.seed))
    split = read_split(path)
    if not config.split and (split.seed, dict(split.fractions)) != (config.seed, fractions):
        before = ", ".join(f"{part} {split.fractions[part]}" for part in fractions if part in split.fractions)
        raise DataError(
            f"{path} was made with data.seed={split.seed} and data.fractions {before}, not the ones asked for now: ask for those, or delete it where nothing was trained on it"
        )
    ids, known = {r.id for r in records}, set(split.sha256)
    if ids - known:
        report(f"{len(ids - known)} scans are new since {path} was made and in no part of it")
    if known - ids:
        report(f"{len(known - ids)} scans of {path} are absent now")
    return split


def part_records(config: DataConfig, records: list[Record], split: Split, part: str) -> list[Record]:
    """Records of one part; with a scanner left out, ``test`` is every scan of that scanner."""
    held = config.leave_out_scanner
    if held and held not in {r.scanner for r in records}:
        raise DataError(f"no scanner {held!r}; there are {', '.join(sorted({r.scanner for r in records}))}")
    if held and part == "test":
        return [r for r in records if r.scanner == held]
    return [r for r in split.select(records, part) if r.scanner != held]
