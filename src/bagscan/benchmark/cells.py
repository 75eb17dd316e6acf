"""Cells of the tables: one kind of image, one network, one way of training; each an experiment of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bagscan.benchmark.scales import Scale
from bagscan.config import apply_settings, fill
from bagscan.core.errors import ConfigError
from bagscan.model_config import InputConfig, ModelConfig
from bagscan.training.augment import AugmentConfig
from bagscan.training.joint_config import JointConfig
from bagscan.training.loop import LoopConfig

RAW, COLOUR = ("low", "high", "zeff"), ("red", "green", "blue")
ALL = RAW + COLOUR
# Rows of paper A: Table I has the first four, Table II the fifth too; the sixth is its future work.
DATA: dict[str, tuple[str, ...]] = {
    "pseudo-colour": COLOUR,
    "high": ("high",),
    "low": ("low",),
    "effective Z": ("zeff",),
    "high + low + Z": RAW,
    "pseudo-colour + high + low + Z": ALL,
}
NETWORKS = {"SqueezeNet": "squeezenet1_1", "VGG-16": "vgg16", "ResNet-50": "resnet50", "EfficientNet-Lite0 (ImageNet)": "tf_efficientnet_lite0"}
# The same with batch normalisation, where there are no ImageNet weights: from random ones the plain forms end at one score for every image.
FROM_SCRATCH = {"squeezenet1_1": "squeezenet1_1_bn", "vgg16": "vgg16_bn"}
OURS = "EfficientNet-Lite0 (ImageNet)"  # not in the paper: its ImageNet weights come as a package
TABLE_1, TABLE_2, ABLATION = "table-1", "table-2", "ablation"
# Mean and standard deviation of what a network sees: -ln of transmissions, Z, brightness.
STATISTICS = {"low": (0.9, 0.9), "high": (0.6, 0.7), "zeff": (8.0, 5.0)}
BRIGHTNESS = (0.8, 0.25)
TWO_STAGE = ("training.mode=two_stage",)
# Side of superpixels that cut an item into about so many, in pixels of the scanner; the median window of an item has 80,000.
COUNTS = {f"K about {k}": (80_000 / k) ** 0.5 for k in (25, 50, 100, 200, 400)}
LONGER = "five times the steps"
# What explains the gain: one thing changed at a time, on the stack, with our network.
ABLATIONS: dict[str, tuple[str, ...]] = {
    "joint": (),
    "crop": (),
    "two-stage": ("training.mode=separate",),
    "SLIC": (*TWO_STAGE, "model.regioner={name: slic}"),
    "square grid": (*TWO_STAGE, "model.regioner={name: grid}"),
    "context: attention": ("model.encoder.attention_heads=4",),
    "components: what it is made of": ("training.components=0.2",),
    **dict.fromkeys(COUNTS, ()),
    **{f"label threshold {t}": (f"training.positive_from={t}", f"training.negative_to={min(t / 2, 0.1)}") for t in (0.1, 0.3, 0.7, 0.9)},
    **{f"lambda {v}": (f"training.compactness={v}",) for v in ("1e-5", "1e-3")},
    **{f"mu {v}": (f"training.mu={v}",) for v in (0.3, 3.0)},
    "without verdict loss": ("training.verdict=0",),
    LONGER: (),
}


@dataclass(frozen=True)
class Cell:
    """One training and its judgement.

    Attributes:
        table: one of ``table-1``, ``table-2``, ``ablation``. data: a key of ``DATA``. network: of ``NETWORKS``.
        variant: how it differs from the joint pooled network; a key of ``ABLATIONS``.
    """

    table: str
    data: str
    network: str
    seed: int = 0
    variant: str = ""

    @property
    def slug(self) -> str:
        """Folder and file name."""
        words = [self.data, self.network.split(" (")[0], self.variant or "", f"seed{self.seed}"]
        return "_".join("-".join("".join(c if c.isalnum() or c == "." else " " for c in w).split()) for w in words if w).lower()


def cells(table: str, scale: Scale) -> list[Cell]:
    """The cells of a table in an order in which it fills from the most telling row, seeds last.

    Raises:
        ConfigError: no such table.
    """
    rows = list(DATA)
    if table == ABLATION:
        return [Cell(ABLATION, "high + low + Z", OURS, 0, name) for name in ABLATIONS]
    if table not in (TABLE_1, TABLE_2):
        raise ConfigError(f"no table {table!r}: {TABLE_1}, {TABLE_2} or {ABLATION}")
    rows = rows if table == TABLE_2 else rows[:4]
    return [Cell(table, data, network, seed) for seed in scale.seeds for network in reversed(NETWORKS) for data in rows]


def names_with(names: Sequence[str], words: Sequence[str]) -> list[str]:
    """The names that hold every word of ``--only``.

    Raises:
        ConfigError: none does.
    """
    found = [name for name in names if all(word.lower() in name for word in words)]
    if not found:
        raise ConfigError(f"--only {' --only '.join(words)}: no name holds all of it; there are {', '.join(names[:12])}{' ...' * (len(names) > 12)}")
    return found


def quantity_of_row(data: str) -> str:
    """Quantity of the views of a row: a key of ``DATA``."""
    return "pseudo_colour" if DATA[data] == COLOUR else "dual_energy"


def model_and_training(cell: Cell, scale: Scale) -> tuple[ModelConfig, JointConfig]:
    """Settings of a cell, resolved."""
    channels = DATA[cell.data]
    stats = [STATISTICS.get(name, BRIGHTNESS) for name in channels]
    quantity = quantity_of_row(cell.data)
    side = COUNTS[cell.variant] / scale.shrink if cell.variant in COUNTS else scale.superpixel_side_px
    taken = InputConfig(quantity, channels, 0, side, quantity == "dual_energy", tuple(m for m, _ in stats), tuple(s for _, s in stats))
    published = "test_resnet" if scale.tiny_networks else NETWORKS[cell.network]
    pretrained = not scale.tiny_networks and (scale.pretrained or cell.network == OURS)
    net = {"backbone": published if pretrained else FROM_SCRATCH.get(published, published), "pretrained": pretrained}
    small_change: dict[str, Any] = {"gain": 0.03, "gamma": 0.06, "noise": 0.003}
    loop = LoopConfig(scale.steps, scale.learning_rate, weight_decay=0.02, warmup=min(50, scale.steps), ema=0.99 if scale.steps > 50 else 0.0, seed=cell.seed)
    pixels_a_mm = (0.75 / scale.shrink, 1.33 / scale.shrink)
    augment = AugmentConfig(scale.window_px, (0.75, 1.33), threats=scale.threats, threat_scale=pixels_a_mm, **small_change)
    bf16 = not scale.tiny_networks and cell.network != OURS  # depthwise convolutions are slower in 16 bits
    training = JointConfig(batch_size=scale.batch, ranking=0.1, verdict=0.5, label_reconstruction=1.0, balance_labels=1.0, balance_scanners=0.0, bf16=bf16, augment=augment)
    training = dataclasses.replace(training, validation_scans=scale.validation_items)
    if cell.table == TABLE_1:
        encoder = {"name": "crop", "size_px": scale.object_px, **net}
        steps = scale.object_steps
        training = dataclasses.replace(
            training,
            mode="two_stage",
            batch_size=2 * scale.batch,
            positive_from=1e-4,
            negative_to=0.0,
            verdict=0.0,
            augment=AugmentConfig(scale.object_window_px, (0.8, 1.25), near_object=1.0, jitter=0.05, threats=scale.threats, threat_scale=pixels_a_mm, **small_change),
        )
        model = ModelConfig(taken, {"name": "whole_image"}, encoder, {"name": "softmax", "hidden": 0})
    else:
        crop = cell.variant == "crop"
        encoder = {"name": "crop", "size_px": scale.segment_px, "context": 0.15, **net} if crop else {"name": "pooled", "dim": scale.dim, **net}
        steps = scale.crop_steps if crop else scale.steps * (5 if cell.variant == LONGER else 1)
        regioner = {"name": "ssn", "width": scale.ssn_width, "stride": scale.ssn_stride, "min_size": 0.25}
        model = ModelConfig(taken, regioner, encoder, {"name": "softmax", "hidden": 96})
    steps = max(1, round(steps * dict(scale.network_share).get(cell.network, 1.0)))
    training = dataclasses.replace(training, loop=dataclasses.replace(loop, steps=steps, validate_every=max(1, steps // 3), checkpoint_every=max(1, steps // 6)))
    return _changed(model, training, ABLATIONS.get(cell.variant, ()))


def _changed(model: ModelConfig, training: JointConfig, settings: Sequence[str]) -> tuple[ModelConfig, JointConfig]:
    if not settings:
        return model, training
    tree: dict[str, Any] = json.loads(json.dumps({"model": dataclasses.asdict(model), "training": dataclasses.asdict(training)}))
    apply_settings(tree, settings)
    return fill(ModelConfig, tree["model"], "ablation"), fill(JointConfig, tree["training"], "ablation")
