"""GBAD, and what it must beat: one JSON a cell, resumable by phase.

A cell is a data set, a skew (negative images for each positive one in training, as far as the set allows;
the realised ratio is in the record) and a variant:

- ``plain``, ``weighted``, ``focal``: the network trained on the skewed set as it is;
- ``resampled``: the same, half of every batch drawn from positive images;
- ``phase I``: the same on the ideal set, as many negatives as positives;
- ``GBAD``: phase I, then BiGAN and SVM on its features (``GBAD gate alone``, ``GBAD hard gate`` are ablations);
- ``gaussian``, ``memory``, ``isolation``: a simple control in the place of BiGAN, behind the same SVM.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bagscan.benchmark.place import is_result_of
from bagscan.benchmark.scales import ScanSet
from bagscan.core.errors import ConfigError, DataError, nearest
from bagscan.datasets.record import Record, data_folder
from bagscan.datasets.splits import make_split
from bagscan.evaluation.baseline import image_statistics, trivial_baseline
from bagscan.evaluation.metrics import auroc
from bagscan.evaluation.multi_label import map_interval, ranking_table
from bagscan.evaluation.results import make_record, write_record
from bagscan.model import Model
from bagscan.model_config import InputConfig, ModelConfig
from bagscan.simulate.dataset import load_recipe, simulate
from bagscan.training.data import DataConfig, SourceConfig, load_records, load_source
from bagscan.training.loop import LoopConfig, run
from bagscan.training.multi_label import MultiLabelConfig, MultiLabelTask, embeddings_of, label_matrix
from bagscan.training.samples import Sample, load_samples

Report = Callable[[str], None]
TABLE = "gbad"
SIXRAY_CLASSES = ("Gun", "Knife", "Wrench", "Pliers", "Scissors")
# Of simulated scans: these devices stand for threats, bags with none of them are normal.
SIMULATED_CLASSES = ("hairdryer", "iron", "toaster")
LISTS = ("10", "100", "1000")
ON_SKEWED = {"plain": "bce", "weighted": "weighted", "focal": "focal", "resampled": "bce"}
GATES = {"GBAD": "bigan", "GBAD hard gate": "bigan", "GBAD gate alone": "bigan", "gaussian": "gaussian", "memory": "memory", "isolation": "isolation"}
VARIANTS = (*ON_SKEWED, "phase I", *GATES)
MODES = {"GBAD hard gate": "hard_gate", "GBAD gate alone": "gan_alone"}


@dataclass(frozen=True)
class GBADScale:
    """Sizes of one scale.

    Attributes:
        sets: simulated, by preset and count, pooled. backbone, level_dim: of the encoder. pretrained: its ImageNet weights.
        side_px: of images. batch, steps: of phase I and of the networks beside it. epochs: of BiGAN.
        skews: negatives for each positive. seeds: of every cell. optimizer, learning_rate: of phase I.
    """

    name: str
    sets: tuple[ScanSet, ...]
    backbone: str
    level_dim: int
    pretrained: bool
    side_px: int
    batch: int
    steps: int
    epochs: int
    skews: tuple[int, ...]
    seeds: tuple[int, ...]
    optimizer: str = "adamw"
    learning_rate: float = 1e-3


SCALES = {
    "smoke": GBADScale("smoke", (ScanSet("smoke", 60),), "test_resnet", 8, False, 32, 4, 4, 2, (1, 10), (0,)),
    "small": GBADScale("small", (ScanSet("deei", 2400), ScanSet("lab", 2000)), "tf_efficientnet_lite0", 64, True, 96, 16, 200, 30, (1, 10, 100, 1000), (0, 1, 2)),
    "full": GBADScale(
        "full",
        (ScanSet("deei", 7022), ScanSet("lab", 2000), ScanSet("visible", 1400)),
        "resnext50_32x4d",
        256,
        False,
        256,
        32,
        6000,
        100,
        (1, 10, 100, 1000),
        (0, 1, 2),
        "sgd",
        0.01,
    ),
}


@dataclass(frozen=True)
class GBADCell:
    """One training and its judgement. Attributes: dataset: ``simulated`` or ``sixray``. skew: see the module; of SIXray the list."""

    dataset: str
    skew: int
    variant: str
    seed: int = 0

    @property
    def slug(self) -> str:
        """File name."""
        return f"{self.dataset}_{self.skew}_{self.variant.lower().replace(' ', '-')}_seed{self.seed}"


@dataclass(frozen=True)
class GBADPlace:
    """Where it reads and writes: simulated sets, checkpoints, results."""

    scale: GBADScale
    data: Path
    runs: Path
    results: Path

    def result(self, cell: GBADCell) -> Path:
        return self.results / self.scale.name / f"{cell.slug}.json"

    def is_done(self, cell: GBADCell) -> bool:
        """Whether the result is there, of these very settings."""
        return is_result_of(self.result(cell), settings_hash(cell, self.scale))


def settings_hash(cell: GBADCell, scale: GBADScale) -> str:
    """Of all that a cell's result depends on but the code; of SIXray also how many images are there."""
    present = len(list((data_folder() / "sixray" / "JPEGImage").glob("*.jpg"))) if cell.dataset == "sixray" else None
    return hashlib.sha256(json.dumps([dataclasses.asdict(cell), dataclasses.asdict(scale), present], sort_keys=True).encode()).hexdigest()


def cells(dataset: str, scale: GBADScale, lists: Sequence[str] = ()) -> list[GBADCell]:
    """Every cell of a data set, seeds last.

    Raises:
        ConfigError: no such data set or list.
    """
    if dataset not in ("simulated", "sixray"):
        raise ConfigError(f"no dataset {dataset!r}{nearest(dataset, ('simulated', 'sixray'))}: simulated or sixray")
    for name in lists:
        if name not in LISTS:
            raise ConfigError(f"no list {name!r}: {', '.join(LISTS)}")
    skews = scale.skews if dataset == "simulated" else tuple(int(name) for name in lists or LISTS[:1])
    return [GBADCell(dataset, skew, variant, seed) for seed in scale.seeds for skew in skews for variant in VARIANTS]


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
        if len(list((root / "scans").glob("*.json"))) < one.count:
            report(f"simulating {one.name}")
            simulate(load_recipe(one.preset, one.count), root, report=report)
        sources.append(SourceConfig("simulated", str(root), views="below", label="device"))
    records = load_records(DataConfig(tuple(sources)), report)
    parts = {part: _load([r for r in records if r.part == part], place.scale, report) for part in ("train", "val", "test")}
    return Images(parts, SIMULATED_CLASSES, ())


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


def run_gbad(place: GBADPlace, wanted: Sequence[GBADCell], report: Report = print) -> int:
    """Run what is missing; returns how many failed. An error in one cell is told, and the others go on."""
    todo = [cell for cell in wanted if not place.is_done(cell)]
    report(f"{len(wanted) - len(todo)} of {len(wanted)} cells of scale {place.scale.name} are there")
    for cell in todo:
        try:
            report(f"{cell.slug}: {run_cell(place, cell, report):.0f} s")
        except Exception as error:  # one cell must not take the table with it
            report(f"{cell.slug} failed: {type(error).__name__}: {error}")
    return sum(not place.is_done(cell) for cell in wanted)


def run_cell(place: GBADPlace, cell: GBADCell, report: Report) -> float:
    """Train and judge one cell. Returns seconds."""
    started = time.monotonic()
    images = images_of(place, cell, report)
    train, test = images.parts["train"], images.parts["test"]
    if cell.dataset == "simulated":
        train = [train[i] for i in skewed(label_matrix(train, images.classes), cell.skew, cell.seed)]
    model, curves = _network(place, cell, train, images, report)
    told: list[str] = []
    if cell.variant in GATES:

        def tell(text: str) -> None:
            told.append(text)
            report(f"[{cell.slug}] {text}")

        model = _gated(place, cell, model, train, images.classes, tell)
    truth = label_matrix(test, images.classes)
    embeddings = embeddings_of(model, test)
    with torch.no_grad():
        scores = model.scorer.by_class(embeddings).numpy()
    results: dict[str, Any] = ranking_table(truth, scores, images.classes)
    results["map_interval"] = map_interval(truth, scores)
    results["any_auroc"] = auroc((truth == 1).any(1).astype(int), scores.max(1))
    results["trivial_baseline"] = _baseline(train, test, images.classes)
    results["curves"], results["told"] = curves, told
    for name, labels in (("train", label_matrix(train, images.classes)), ("test", truth)):
        positives = int((labels == 1).any(1).sum())
        results[name] = {"positives": positives, "negatives": len(labels) - positives}
    results["seconds"] = time.monotonic() - started
    record = make_record(
        f"gbad-{cell.slug}-{place.scale.name}",
        results,
        data={"name": cell.dataset, "hash": hashlib.sha256(",".join(s.record.id for s in train).encode()).hexdigest(), "counts": {"train": len(train), "test": len(test)}},
        config={"cell": dataclasses.asdict(cell), "scale": place.scale.name, "settings": settings_hash(cell, place.scale), "classes": list(images.classes)},
        seeds=[cell.seed],
        notes=[*images.notes, "A whole-image score proves nothing unless it is well above trivial_baseline, which knows image statistics alone."],
    )
    write_record(place.result(cell), record)
    return time.monotonic() - started


def _network(place: GBADPlace, cell: GBADCell, train: list[Sample], images: Images, report: Report) -> tuple[Model, list[dict[str, float]]]:
    """The classifier of a cell, and its curves; variants on the ideal set share one training."""
    scale, loss = place.scale, ON_SKEWED.get(cell.variant)
    shared = cell.variant if loss else "phase I"
    folder = place.runs / TABLE / scale.name / dataclasses.replace(cell, variant=shared).slug / settings_hash(dataclasses.replace(cell, variant=shared), scale)[:8]
    encoder = {"name": "fpn", "backbone": scale.backbone, "level_dim": scale.level_dim, "pretrained": scale.pretrained}
    config = ModelConfig(input_of(scale), {"name": "whole_image"}, encoder, {"name": "multi_label", "classes": list(images.classes)})
    every = max(1, scale.steps // 5)
    loop = LoopConfig(scale.steps, scale.learning_rate, scale.optimizer, weight_decay=0.02, warmup=min(30, scale.steps), ema=0.98 if scale.steps > 50 else 0.0, seed=cell.seed)
    loop = dataclasses.replace(loop, validate_every=every, checkpoint_every=every)
    balance = 0.5 if cell.variant == "resampled" else 0.0
    training = MultiLabelConfig(0.0 if loss else 1.0, loss=loss or "bce", balance=balance, draw_seed=cell.seed, batch_size=scale.batch, loop=loop)
    torch.manual_seed(cell.seed)
    model = Model(config)

    def keep(_: dict[str, float]) -> None:
        model.save(folder / "model")

    if not (folder / "done").exists():
        run(MultiLabelTask(model, train, images.parts["val"], training), loop, folder, keep, lambda text: report(f"[{cell.slug}] {text}"))
        (folder / "done").touch()
    curves = [{"step": row["step"], **row["validation"]} for row in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if "validation" in row]
    return Model.load(folder / "model"), curves


def _gated(place: GBADPlace, cell: GBADCell, phase_1: Model, train: list[Sample], classes: Sequence[str], report: Report) -> Model:
    """Phases II and III on the features of phase I: the gate sees all negatives of the skewed set, and is kept beside phase I."""
    scale, name = place.scale, GATES[cell.variant]
    errors: dict[str, Any] = {"name": name} | ({"epochs": scale.epochs, "batch_size": min(256, 16 * scale.batch)} if name == "bigan" else {})
    mode = MODES.get(cell.variant, "product")
    torch.manual_seed(cell.seed)
    model = Model(dataclasses.replace(phase_1.config, scorer={"name": "gbad", "classes": list(classes), "mode": mode, "gate": {"name": "svm", "errors": errors}}))
    model.encoder.load_state_dict(phase_1.encoder.state_dict())
    model.scorer.known.load_state_dict(phase_1.scorer.state_dict())
    model.eval()
    shared = dataclasses.replace(cell, variant=f"gate {name}")
    kept = place.runs / TABLE / scale.name / shared.slug / f"{settings_hash(shared, scale)[:8]}.safetensors"
    if kept.exists():
        model.scorer.load_state_dict(load_file(kept))
        with safe_open(kept, "pt") as file:
            for text in json.loads(file.metadata()["told"]):
                report(text)
        return model.eval()
    labels = label_matrix(train, classes)
    features = embeddings_of(model, train)
    positive, negative = (torch.from_numpy(found) for found in ((labels == 1).any(1), (labels == 0).all(1)))
    if not positive.any():
        raise DataError("phase III needs positive images")
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        report(text)

    model.scorer.fit(features[negative], features[positive], cell.seed, tell)
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.scorer.state_dict().items()}, kept, {"told": json.dumps(told)})
    return model.eval()


def _baseline(train: list[Sample], test: list[Sample], classes: Sequence[str]) -> float:
    """AUROC of any class against none by image statistics alone."""
    (x, y), (x_test, y_test) = ((np.array([image_statistics(s.pixels()) for s in part]), (label_matrix(part, classes) == 1).any(1).astype(int)) for part in (train, test))
    if min(len(np.unique(y)), len(np.unique(y_test))) < 2:
        return float("nan")
    return trivial_baseline(x, y, x_test, y_test)["auroc"]
