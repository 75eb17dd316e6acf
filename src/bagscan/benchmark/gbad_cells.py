"""The cells of report B's table: a data set, a skew and a variant.

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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bagscan.benchmark.place import is_result_of
from bagscan.benchmark.scales import ScanSet
from bagscan.core.errors import ConfigError, nearest
from bagscan.datasets.record import data_folder

TABLE = "gbad"
SIXRAY_CLASSES = ("Gun", "Knife", "Wrench", "Pliers", "Scissors")
# Of simulated scans: these devices stand for threats, bags with none of them are normal.
SIMULATED_CLASSES = ("hairdryer", "iron", "toaster")
LISTS = ("10", "100", "1000")
ON_SKEWED = {"plain": "bce", "weighted": "weighted", "focal": "focal", "resampled": "bce"}
GATES = {"GBAD": "bigan", "GBAD hard gate": "bigan", "GBAD gate alone": "bigan", "gaussian": "gaussian", "memory": "memory", "isolation": "isolation"}
VARIANTS = (*ON_SKEWED, "phase I", *GATES)
BIGAN_STEPS = 3000
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
    "smoke": GBADScale("smoke", (ScanSet("smoke", 60),), "test_resnet", 8, False, 32, 4, 4, 2, (2, 10), (0,)),
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
    """Where it reads and writes: simulated sets, checkpoints, results; ``workers`` processes simulate what is missing."""

    scale: GBADScale
    data: Path
    runs: Path
    results: Path
    workers: int = 1

    def result(self, cell: GBADCell) -> Path:
        return self.results / self.scale.name / f"{cell.slug}.json"

    def is_done(self, cell: GBADCell) -> bool:
        """Whether the result is there, of these very settings."""
        return is_result_of(self.result(cell), settings_hash(cell, self.scale))


def errors_of(gate: str, scale: GBADScale) -> dict[str, Any]:
    """Settings of the scorer whose errors a gate's SVM judges; ``gate`` is a value of ``GATES``."""
    if gate != "bigan":
        return {"name": gate}
    # The skewed set leaves some five hundred negatives to phase II: in larger batches they would be few steps.
    return {"name": gate, "epochs": scale.epochs, "batch_size": min(64, 16 * scale.batch), "least_steps": BIGAN_STEPS if scale.name != "smoke" else 0}


def settings_hash(cell: GBADCell, scale: GBADScale) -> str:
    """Of all that a cell's result depends on but the code; of SIXray also how many images are there."""
    present = len(list((data_folder() / "sixray" / "JPEGImage").glob("*.jpg"))) if cell.dataset == "sixray" else None
    told = [dataclasses.asdict(cell), dataclasses.asdict(scale), present]
    gate = GATES.get(cell.variant, cell.variant.removeprefix("gate "))
    if gate == "bigan":
        told.append(errors_of(gate, scale))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


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
