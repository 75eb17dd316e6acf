"""Train a detector on few labelled real scans, from a simulated model and from ImageNet weights.

    python -m experiments.few_labels MODEL [--labels 0 10 30 100] [--seeds 3] [--steps 300] [--keep]

For every number of labels and every seed, both starts see the same scans and the same crops. The
annotated classes are trained as the simulated classes of the same items
(:data:`experiments.real_scans.SAME`); all foreground in a box counts as the item. The scans
compared are those of :mod:`experiments.real_scans` in another part of a split that keeps
near-duplicates together. The licences of the real scans forbid publishing the trained weights,
which are deleted. Without labels, the simulated model is compared as it is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bagscan.datasets.record import Record
from bagscan.datasets.splits import make_split
from bagscan.detector.depthwise import use_fast_depthwise
from bagscan.detector.features import CELL_PX, of_colours
from bagscan.detector.model import Detector
from bagscan.detector.network import DetectorNetwork
from bagscan.training.compute import autocast_bf16
from bagscan.training.detector_targets import item_loss
from bagscan.training.loop import run
from bagscan.training.loop_config import LoopConfig
from bagscan.training.samples import subsample_evenly
from experiments.engine import Run, keep, remaining
from experiments.real_scans import SAME, measure_model, read_real, real_scans

STARTS = ("simulated", "imagenet")
FRACTIONS = {"labelled": 0.5, "compared": 0.5}
SIDE_PX, CROPS, ON_OBJECT = 256, 8, 0.7
JITTER = 0.15  # largest relative change of the absorption of a colour
WHITE_ABSORPTION = 0.12  # mean absorbed share of colour below which a pixel is air


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="detector for pseudo-colour with item classes")
    parser.add_argument("--labels", type=int, nargs="+", default=[0, 10, 30, 100])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--compared", type=int, default=150, help="scans to compare on")
    parser.add_argument("--keep", action="store_true", help="store in the table few_labels")
    arguments = parser.parse_args()
    trained = Detector.load(arguments.model)
    items = trained.network.config.categories[trained.numbers.of_items]
    for name, records in real_scans(0).items():
        split = make_split(records, FRACTIONS)
        pool = split.select(records, "labelled")
        compared = subsample_evenly(split.select(records, "compared"), arguments.compared)
        for labels in arguments.labels:
            starts = STARTS if labels else STARTS[:1]
            for seed in range(arguments.seeds if labels else 1):
                chosen = choose(pool, labels, np.random.default_rng(seed))
                views = read_all(chosen, items)
                settings = {"scans": name, "labels": labels, "seed": seed}
                runs = [Run("few_labels", settings | {"start": start}) for start in starts]
                for one in remaining(runs, again=not arguments.keep):
                    start = one.settings["start"]
                    if labels:
                        result = compare(trained, start, views, compared, arguments.steps, seed)
                    else:
                        result = measure_model(compared, arguments.model)
                    print(one.name, {k: round(float(v), 3) for k, v in result.items()}, flush=True)
                    if arguments.keep:
                        counts = {"views": len(compared)}
                        data = {"name": name, "hash": split.data_hash, "counts": counts}
                        keep(one, result, data=data, seeds=[seed])


def choose(pool: Sequence[Record], count: int, rng: np.random.Generator) -> list[Record]:
    """Choose scans at random, the classes of their objects in turn."""
    left = [pool[int(k)] for k in rng.permutation(len(pool))]
    classes = sorted({a.label for record in pool for a in record.annotations})
    chosen: list[Record] = []
    while len(chosen) < min(count, len(pool)):
        label = classes[len(chosen) % len(classes)]
        with_class = (k for k, r in enumerate(left) if any(a.label == label for a in r.annotations))
        chosen.append(left.pop(next(with_class, 0)))
    return chosen


def compare(
    trained: Detector,
    start: str,
    labelled: Sequence[LabelledView],
    compared: Sequence[Record],
    steps: int,
    seed: int,
) -> dict[str, Any]:
    """Train on labelled scans and return the within-bag figures of the compared scans.

    Args:
        trained: simulated model, whose network is used.
        start: ``simulated`` for its weights, ``imagenet`` for those of its backbone alone.
        labelled: views to train on.
        compared: other scans.
        steps: steps of training.
        seed: seed of weights and crops.
    """
    torch.manual_seed(seed)
    network = DetectorNetwork(replace(trained.network.config, pretrained=start == "imagenet"))
    if start == "simulated":
        network.load_state_dict(trained.network.state_dict())
    task = LabelledScans(network, labelled, trained.numbers.of_items)
    loop = LoopConfig(steps=steps, learning_rate=5e-4, ema=0.98, validate_every=steps, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        # Thresholds of classes were chosen for one of the starts.
        own = replace(
            trained,
            network=network,
            thresholds=replace(trained.thresholds, prohibited=()),
            operating_point=None,
        )

        def save(scores: dict[str, float]) -> None:
            own.save(Path(folder) / "model")

        run(task, loop, Path(folder), save)
        return measure_model(compared, Path(folder) / "model")


@dataclass(frozen=True)
class LabelledView:
    """A view with boxes.

    Attributes:
        absorbed: (3, H, W) float32 features, see :func:`bagscan.detector.features.of_colours`.
        boxes: (n, 4) x1, y1, x2, y2 in pixels.
        classes: for each box, the numbers of its simulated classes.
    """

    absorbed: np.ndarray
    boxes: np.ndarray
    classes: tuple[tuple[int, ...], ...]


def read_all(records: Sequence[Record], items: Sequence[str]) -> list[LabelledView]:
    """Read scans with their boxes; those that cannot be read are left out.

    Args:
        records: scans.
        items: simulated classes in the order of the network's maps.
    """
    views = []
    for record in records:
        if (view := read_real(record)) is None:
            continue
        boxes = np.array([a.box_xyxy for a in record.annotations], float).reshape(-1, 4)
        classes = tuple(
            tuple(items.index(name) for name in SAME[a.label] if name in items)
            for a in record.annotations
        )
        views.append(LabelledView(of_colours(view.pixels[:3]), boxes, classes))
    return views


class LabelledScans:
    """Training of the item maps on boxes, for :func:`bagscan.training.loop.run`.

    Args:
        network: network to train.
        views: labelled views.
        items: numbers of the categories of items.
    """

    def __init__(self, network: nn.Module, views: Sequence[LabelledView], items: slice) -> None:
        self.network, self.views = network.to(memory_format=torch.channels_last), list(views)
        self.items, self.count = items, items.stop - items.start
        use_fast_depthwise(self.network)
        self.modules: dict[str, nn.Module] = {"network": self.network}

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw (B, 3, H, W) crops and the (B, p, H / 8, W / 8) shares of items in their cells."""
        crops = [
            draw_crop(self.views[int(rng.integers(len(self.views)))], self.count, rng)
            for _ in range(CROPS)
        ]
        features, shares = (np.stack(arrays) for arrays in zip(*crops, strict=True))
        return torch.from_numpy(features), torch.from_numpy(shares)

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of the item maps."""
        features, shares = batch
        with autocast_bf16(features.device):
            maps = self.network(features)
        loss = item_loss(maps.categories[:, self.items].float(), shares)
        return loss, {"items": float(loss.detach())}

    def validate(self) -> dict[str, float]:
        """Return no score: there are too few labels to validate on, so the last step counts."""
        return {"monitor": 0.0}


def draw_crop(
    view: LabelledView, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a (3, H, W) crop, most often around an object, and its (p, H / 8, W / 8) shares."""
    height, width = view.absorbed.shape[1:]
    centre = rng.random(2) * (height, width)
    if len(view.boxes) and rng.random() < ON_OBJECT:
        x1, y1, x2, y2 = view.boxes[int(rng.integers(len(view.boxes)))]
        centre = np.array([(y1 + y2) / 2, (x1 + x2) / 2]) + rng.uniform(-0.35, 0.35, 2) * SIDE_PX
    zoom = float(np.exp(rng.normal(0, 0.15)))  # pixels of the view per pixel of the crop
    steps = (np.arange(SIDE_PX) - SIDE_PX / 2 + 0.5) * zoom
    down, across = rng.choice([-1, 1], 2)
    rows, columns = (
        np.floor(middle + sign * steps).astype(int)
        for middle, sign in zip(centre, (down, across), strict=True)
    )
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    picked = view.absorbed[:, rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)]
    crop = (picked * inside * rng.uniform(1 - JITTER, 1 + JITTER, (3, 1, 1))).astype(np.float32)
    solid = (crop.mean(0) > WHITE_ABSORPTION).astype(np.float32)
    shares = np.zeros((count, SIDE_PX, SIDE_PX), np.float32)
    for (x1, y1, x2, y2), classes in zip(view.boxes, view.classes, strict=True):
        within = ((rows >= y1) & (rows < y2))[:, None] & ((columns >= x1) & (columns < x2))
        shares[list(classes)] = np.maximum(shares[list(classes)], within * solid)
    cells = SIDE_PX // CELL_PX
    return crop, shares.reshape(count, cells, CELL_PX, cells, CELL_PX).mean((2, 4))


if __name__ == "__main__":
    main()
