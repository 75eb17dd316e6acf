"""Training what looks at both views of a bag together, on the maps of a trained detector, whose own weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bagscan.core.errors import ConfigError
from bagscan.detector.network import DetectorNetwork
from bagscan.detector.together import VIEWS
from bagscan.detector.two_views import TwoViews, TwoViewsConfig
from bagscan.evaluation.metrics import auroc
from bagscan.training.compute import autocast_bf16, compute
from bagscan.training.detector import map_losses
from bagscan.training.detector_experiment import packed_scenes, trained_before
from bagscan.training.experiment import Report, Scores, SimulatedExperiment
from bagscan.training.resolved import save_resolved
from bagscan.training.samples import subsample_evenly
from bagscan.training.seen_maps import HALF_A_CELL, TRUTHS, SeenScan, SeenScene, seen_scenes

FULL = 16.0  # label pixels of a cell
MIN_CELLS = 8  # of a device, for a verdict on it
WHOLE = 0.9  # share of a device that must lie within the rows that are shown
FAR_BELOW = -8.0


@dataclass(frozen=True)
class TwoViewsTaskConfig:
    """Attributes:
    rows: of cells that are shown of a bag, across its whole width. bags: a step, of each of which both scans are shown.
    host: how often the rows are those of the device under test, and not of any. lone: share of bags of which one view is missing.
    map_weight, dice, verdict_weight: of the losses. anomaly_weight: of anomalous cells. outside_weight: of cells away from any device.
    val_bags: that are validated on.
    """

    rows: int = 32
    bags: int = 4
    host: float = 0.8
    lone: float = 0.1
    map_weight: float = 1.0
    dice: float = 0.3
    verdict_weight: float = 0.5
    anomaly_weight: float = 4.0
    outside_weight: float = 0.25
    val_bags: int = 200


@dataclass(frozen=True)
class BagBatch:
    """Bags, the second views behind the first, filled up to one size.

    Attributes:
        merged, anomaly, truth, there: (2 B, n, h, w), see :class:`bagscan.training.seen_maps.SeenScan`; there: whether the view has the cell.
        devices: (D, 2, h, w) masks. bag: (D,) of each. hidden: (D,) 1 where something is hidden in it. of_view: (D, 2) verdicts by view.
    """

    merged: Tensor
    anomaly: Tensor
    truth: Tensor
    there: Tensor
    devices: Tensor
    bag: Tensor
    hidden: Tensor
    of_view: Tensor


@dataclass(frozen=True)
class Shown:
    """Rows of one scan. Attributes: mirrored: across each of the two views, and along the belt. lone: the view that alone is there; None for both."""

    scene: SeenScene
    anomalous: bool
    first_row: int
    rows: int
    mirrored: tuple[bool, bool, bool] = (False, False, False)
    lone: int | None = None


def bags_of(shown: Sequence[Shown]) -> BagBatch:
    """A batch of what is shown of some bags."""
    scans = [one.scene.scans(one.anomalous) for one in shown]
    n, features = len(shown), scans[0][0].merged.shape[0]
    rows, width = (
        max(one.rows for one in shown),
        max(w for one in shown for _, w in one.scene.shapes),
    )
    merged, anomaly = (
        np.zeros((VIEWS * n, features, rows, width), np.float16),
        np.full((VIEWS * n, 1, rows, width), FAR_BELOW, np.float16),
    )
    truth, there = (
        np.zeros((VIEWS * n, TRUTHS, rows, width), np.float16),
        np.zeros((VIEWS * n, 1, rows, width), np.float32),
    )
    for k, (one, views) in enumerate(zip(shown, scans, strict=True)):
        for v, view in enumerate(views):
            if one.lone in (None, v):
                _place(
                    one,
                    view,
                    v,
                    (merged[v * n + k], anomaly[v * n + k], truth[v * n + k], there[v * n + k]),
                )
    result = [
        device
        for k, (one, views) in enumerate(zip(shown, scans, strict=True))
        for device in _devices(k, one, views, truth[k::n])
    ]
    masks = np.array([mask for mask, *_ in result], bool).reshape(-1, VIEWS, rows, width)
    images = [torch.from_numpy(array).float() for array in (merged, anomaly, truth, there, masks)]
    bag = torch.tensor([k for _, k, *_ in result], dtype=torch.long)
    hidden, of_view = (
        torch.tensor([row[i] for row in result], dtype=torch.float32) for i in (2, 3)
    )
    return BagBatch(
        images[0],
        images[1],
        images[2],
        images[3],
        images[4],
        bag,
        hidden,
        of_view.reshape(-1, VIEWS),
    )


def _place(one: Shown, view: SeenScan, v: int, into: tuple[np.ndarray, ...]) -> None:
    h, w = view.merged.shape[1:]
    rows = slice(one.first_row, min(h, one.first_row + one.rows))
    for target, source in zip(
        into, (view.merged, view.anomaly, view.truth, np.ones((1, h, w), np.float32)), strict=True
    ):
        cells = source[:, rows, :: -1 if one.mirrored[v] else 1]
        target[:, : cells.shape[1], :w] = cells[:, :: -1 if one.mirrored[2] else 1]


def _devices(
    k: int, one: Shown, views: Sequence[SeenScan], truth: np.ndarray
) -> list[tuple[np.ndarray, int, float, list[float]]]:
    """Mask, bag, truth and verdicts by view of every device that is shown whole; one whose anomaly nobody could see has no truth."""
    found = []
    for d in range(len(views[0].verdicts)):
        whole = np.array([(view.truth[2 + d] > HALF_A_CELL).sum() for view in views])
        mask = truth[:, 2 + d] > HALF_A_CELL
        there = np.array([one.lone in (None, v) for v in range(VIEWS)])
        if (whole < MIN_CELLS).any() or (mask.sum((1, 2)) < WHOLE * whole)[there].any():
            continue
        hidden = one.anomalous and d == one.scene.host
        if hidden and not (np.array(one.scene.visible) & there).any():
            continue
        found.append((mask, k, float(hidden), [view.verdicts[d] for view in views]))
    return found


class TwoViewsTask:
    """The task that :func:`bagscan.training.loop.run` trains. See :class:`TwoViewsTaskConfig`."""

    def __init__(
        self,
        network: TwoViews,
        config: TwoViewsTaskConfig,
        train: Sequence[SeenScene],
        val: Sequence[SeenScene],
    ) -> None:
        self.network, self.config, self.train = (
            network.to(memory_format=torch.channels_last),
            config,
            list(train),
        )
        self.val = subsample_evenly(list(val), config.val_bags)
        self.modules: dict[str, nn.Module] = {"network": network}

    def batch(self, rng: np.random.Generator) -> BagBatch:
        """Some bags, each without and with its anomaly, shown alike."""
        drawn = [self._draw(rng) for _ in range(self.config.bags)]
        return bags_of(
            [replace(one, anomalous=anomalous) for one in drawn for anomalous in (False, True)]
        )

    def _draw(self, rng: np.random.Generator) -> Shown:
        config = self.config
        scene = self.train[int(rng.integers(len(self.train)))]
        views = scene.scans(False)
        device = (
            scene.host if rng.random() < config.host else int(rng.integers(len(views[0].verdicts)))
        )
        rows = np.flatnonzero((views[0].truth[2 + device] > HALF_A_CELL).any(1))
        height = max(h for h, _ in scene.shapes)
        middle = (rows.mean() if len(rows) else height / 2) + rng.uniform(-3, 3)
        first = int(np.clip(middle - config.rows / 2, 0, max(0, height - config.rows)))
        mirrored = tuple(bool(draw < 0.5) for draw in rng.random(3))
        lone = int(rng.integers(VIEWS)) if rng.random() < config.lone else None
        return Shown(
            scene, False, first, config.rows, (mirrored[0], mirrored[1], mirrored[2]), lone
        )

    def loss(self, batch: BagBatch) -> tuple[Tensor, dict[str, float]]:
        """The sum of all losses and its parts."""
        return losses(self.network, self.config, batch)

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Of whole bags with true device masks: see :func:`validated`."""
        self.network.eval()
        return validated(
            self.network,
            (
                (
                    s.host,
                    s.visible,
                    [
                        bags_of([Shown(s, scan, 0, max(h for h, _ in s.shapes))])
                        for scan in (False, True)
                    ],
                )
                for s in self.val
            ),
        )


def losses(
    network: TwoViews, config: TwoViewsTaskConfig, batch: BagBatch
) -> tuple[Tensor, dict[str, float]]:
    """The sum of the losses of what looks at both views together, and its parts."""
    anomaly, verdicts = judged(network, batch)
    shares = batch.truth / FULL
    ignored = torch.maximum(shares[:, 1:2], 1 - batch.there)
    where, dice = map_losses(
        anomaly,
        shares[:, :1],
        shares[:, 2:].amax(1, keepdim=True),
        ignored,
        config.anomaly_weight,
        config.outside_weight,
    )
    verdict = (
        F.binary_cross_entropy_with_logits(verdicts, batch.hidden)
        if len(verdicts)
        else anomaly.sum() * 0
    )
    right = (
        ((verdicts > 0) == (batch.hidden > 0)).float().mean()
        if len(verdicts)
        else torch.tensor(0.5)
    )
    loss = config.map_weight * (where + config.dice * dice) + config.verdict_weight * verdict
    return loss, {
        "map": float((where + config.dice * dice).detach()),
        "verdict": float(verdict.detach()),
        "right": float(right),
    }


def judged(network: TwoViews, batch: BagBatch) -> tuple[Tensor, Tensor]:
    """(2 B, 1, h, w) anomaly maps, and (D,) verdicts."""
    with autocast_bf16(compute().device, True):
        anomaly, cells = network(batch.merged, batch.anomaly, batch.there)
    if not len(batch.bag):
        return anomaly.float(), anomaly.new_zeros(0)
    n = len(batch.merged) // VIEWS
    of_device = [
        maps.unflatten(0, (VIEWS, n)).transpose(0, 1)[batch.bag]
        for maps in (anomaly.float(), batch.anomaly, cells)
    ]
    return anomaly.float(), network.verdict(
        of_device[0][:, :, 0], of_device[1][:, :, 0], of_device[2], batch.devices, batch.of_view
    )


def validated(
    network: TwoViews, bags: Iterable[tuple[int, Sequence[bool], Sequence[BagBatch]]]
) -> dict[str, float]:
    """AUROC of devices over both views, and how often the best place within the device is right.

    Args:
        bags: host and visibility by view of each, and it without and with its anomaly, whole.
    """
    truth: list[float] = []
    scores: list[float] = []
    before: list[float] = []
    hits: list[bool] = []
    for host, visible, (benign, anomalous) in bags:
        for batch in (benign, anomalous):
            anomaly, verdicts = judged(network, batch)
            truth += batch.hidden.tolist()
            scores += verdicts.tolist()
            before += batch.of_view.sum(1).tolist()
        hits += _hits(host, visible, anomaly, anomalous)
    labels = np.array(truth, bool)
    return {
        "monitor": auroc(labels, np.array(scores)),
        "by_view_summed": auroc(labels, np.array(before)),
        "hit": float(np.mean(hits)) if hits else float("nan"),
    }


def _hits(host: int, visible: Sequence[bool], anomaly: Tensor, batch: BagBatch) -> list[bool]:
    """By view that shows the anomaly: whether the highest place of its device lies on it."""
    found = []
    for v, seen in enumerate(visible):
        truth, logits = batch.truth[v], anomaly[v, 0]
        on, benign = truth[0] > HALF_A_CELL, (truth[0] < 2) & (truth[2 + host] > HALF_A_CELL)
        if seen and bool(on.any()) and bool(benign.any()):
            found.append(bool(logits[on].max() >= logits[benign].max()))
    return found


@dataclass(frozen=True, kw_only=True)
class TwoViewsExperiment(SimulatedExperiment):
    """What looks at both views together, on a trained detector.

    Attributes:
        sets: folders of simulated sets, those that the detector was trained on. start: the detector's model folder.
        two_views, training, loop: see :class:`TwoViewsConfig`, :class:`TwoViewsTaskConfig` and :class:`LoopConfig`.
    """

    kind = "two_views"
    figures = (
        "The best step is the one with the highest monitor: the AUROC of devices over both views."
    )
    start: str
    two_views: TwoViewsConfig = field(default_factory=lambda: TwoViewsConfig(width=96))
    training: TwoViewsTaskConfig = field(default_factory=TwoViewsTaskConfig)

    def prepare(self, out: Path, report: Report) -> tuple[TwoViewsTask, Callable[[Scores], None]]:
        """See :meth:`LoopExperiment.prepare`."""
        if not self.two_views.width:
            raise ConfigError("two_views.width must be above 0")
        save_resolved(self, self.kind, out)
        scenes, categories = packed_scenes(self.sets, self.pack_workers, report)
        trained = trained_before(self.start, self.sets, categories)
        seen = {
            part: seen_scenes(trained, scenes[part], out / "seen" / trained.id, report)
            for part in ("train", "val")
        }
        report(f"{len(seen['train'])} scenes to train on, {len(seen['val'])} to validate on")
        network = DetectorNetwork(
            replace(trained.network.config, pretrained=False, two_views=self.two_views)
        )
        network.load_state_dict(trained.network.state_dict(), strict=False)  # all but the new part
        assert network.two_views is not None
        detector = replace(trained, network=network, operating_point=None)

        def keep(scores: Scores) -> None:
            detector.about = trained.about | {
                "validation over both views": {k: round(v, 4) for k, v in scores.items()}
            }
            detector.save(out / self.written)

        return TwoViewsTask(network.two_views, self.training, seen["train"], seen["val"]), keep
