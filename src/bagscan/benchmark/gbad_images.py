"""The images of report B's table: SIXray by its lists, or simulated scans, and how a training set is skewed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from bagscan.benchmark.gbad_cells import SIMULATED_CLASSES, SIXRAY_CLASSES, TABLE, GBADCell, GBADPlace, GBADScale
from bagscan.benchmark.run import complete
from bagscan.core.errors import DataError
from bagscan.datasets.record import Record, data_folder
from bagscan.datasets.splits import make_split
from bagscan.model import Model
from bagscan.model_config import InputConfig, ModelConfig
from bagscan.simulate.dataset import load_recipe
from bagscan.training.data import DataConfig, SourceConfig, load_records, load_source
from bagscan.training.samples import Sample, load_samples

Report = Callable[[str], None]


@dataclass(frozen=True)
class Images:
    """Samples of one data set by part, its classes, and what a reader must know of it."""

    parts: dict[str, list[Sample]]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def images_of(place: GBADPlace, cell: GBADCell, report: Report) -> Images:
    """The images of a cell's data set, read once a process."""
    return _simulated(place, report) if cell.dataset == "simulated" else _sixray(place, str(cell.skew), report)


def input_of(scale: GBADScale) -> InputConfig:
    """Colour pictures, squared as report B has them."""
    return InputConfig(working_side_px=scale.side_px, square=True)


def _load(records: Sequence[Record], scale: GBADScale, report: Report) -> list[Sample]:
    return load_samples(records, Model(ModelConfig(input_of(scale), {"name": "whole_image"}, {"name": "pixels"}, {"name": "softmax"})), report)


@lru_cache(maxsize=1)
def _simulated(place: GBADPlace, report: Report) -> Images:
    sources = []
    for one in place.scale.sets:
        root = place.data / one.name
        complete(load_recipe(one.preset, one.count), root, place.workers, report)
        sources.append(SourceConfig("simulated", str(root), views="below", label="device"))
    records = load_records(DataConfig(tuple(sources)), report)
    parts = {part: _load([r for r in records if r.part == part], place.scale, report) for part in ("train", "val", "test")}
    return Images(parts, SIMULATED_CLASSES, ())


def require_sixray() -> None:
    """Raises :class:`DataError` where there are no images of SIXray at all."""
    images = data_folder() / "sixray" / "JPEGImage"
    if not images.is_dir():
        raise DataError(f"{images}: no such folder; set BAGSCAN_DATA to the folder that holds sixray")


@lru_cache(maxsize=1)
def _sixray(place: GBADPlace, name: str, report: Report) -> Images:
    found = {"train": load_source(SourceConfig("sixray", "sixray", subset=name, list_of="train"))}
    try:
        found["test"] = load_source(SourceConfig("sixray", "sixray", subset=name, list_of="test"))
    except DataError as error:
        report(f"SIXray{name} test: {error}")
    for part, collection in found.items():
        listed = len(collection.records) + len(collection.absent)
        report(f"SIXray{name} {part}: {len(collection.records)} of {listed} listed images are there ({100 * len(collection.records) / listed:.1f} %)")
        write_labels(collection.records, SIXRAY_CLASSES, place.runs / TABLE / f"labels_sixray{name}_{part}.json")
    training = list(found["train"].records)
    notes = [f"{part}: {note}" for part, c in found.items() for note in c.notes]
    fractions = {"train": 0.9, "val": 0.1} if "test" in found else {"train": 0.7, "val": 0.1, "test": 0.2}
    split = make_split(training, fractions, 0)  # near-duplicates stay together
    parts = {part: split.select(training, part) for part in fractions}
    if "test" in found:
        parts["test"] = list(found["test"].records)
    else:
        notes.append("No image of the test list is there: a fifth of the training list's stands in for it. Not comparable with published figures.")
        report(notes[-1])
    return Images({part: _load(records, place.scale, report) for part, records in parts.items()}, SIXRAY_CLASSES, tuple(notes))


def write_labels(records: Sequence[Record], classes: Sequence[str], path: Path) -> None:
    """``{image: [1, 0, ...]}`` as report B writes its lists; a class that nobody knows of is null."""
    vectors = {r.id: [None if r.labels.get(c) == 0 else int(r.labels.get(c) == 1) for c in classes] for r in records}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"classes": list(classes), "labels": vectors}))


def skewed(labels: np.ndarray, skew: int, seed: int) -> np.ndarray:
    """Indices of a training set of one positive image to ``skew`` negative ones: all negatives that there are, but for 1:1.

    So the skew grows as positives get fewer: what it does and what their number does come together.

    Args:
        labels: (n, classes). At least one image of every class stays, where there is one; what nobody knows is no negative.
    """
    rng = np.random.default_rng(seed)
    positive, negative = np.flatnonzero((labels == 1).any(1)), np.flatnonzero((labels == 0).all(1))
    wanted = max(1, min(len(positive), round(len(negative) / max(skew, 1))))
    order = rng.permutation(positive)
    first = [next((i for i in order if labels[i, k] == 1), None) for k in range(labels.shape[1])]
    kept = list(dict.fromkeys([i for i in first if i is not None] + list(order)))[: max(wanted, len({i for i in first if i is not None}))]
    return np.sort(np.concatenate([np.array(kept, int), negative if skew > 1 else rng.permutation(negative)[: len(kept)]]))
