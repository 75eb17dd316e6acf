"""Kind ``two_views``: training of a network that scores both views of a bag together.

It is trained on the maps of a trained detector, whose own weights stay fixed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bagscan.core.errors import ConfigError
from bagscan.detector.network import DetectorNetwork
from bagscan.detector.sampling import LABEL_PIXELS_PER_CELL
from bagscan.detector.together import VIEWS
from bagscan.detector.two_views import TwoViews, TwoViewsConfig
from bagscan.evaluation.metrics import auroc
from bagscan.training.compute import autocast_bf16, compute, move_batch
from bagscan.training.detector_experiment import load_start
from bagscan.training.detector_targets import map_loss, verdict_loss
from bagscan.training.experiment import Scores, SimulatedExperiment
from bagscan.training.map_batches import BagBatch, Shown, bags_of
from bagscan.training.resolved import save_resolved
from bagscan.training.samples import subsample_evenly
from bagscan.training.seen_maps import HALF_CELL, SceneMaps, load_scene_maps

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BagsTaskConfig:
    """Settings of the training on both views of bags.

    Attributes:
        bags: bags per step; both scans of each are used.
        host: share of bags that show the device under test, not any device.
        one_view_share: share of bags without one of their views.
        verdict_weight: weight of the loss of verdicts, beside that of the anomaly map.
        val_bags: largest number of bags for validation.
    """

    bags: int = 4
    host: float = 0.8
    one_view_share: float = 0.1
    verdict_weight: float = 0.5
    val_bags: int = 200


@dataclass(frozen=True)
class TwoViewsTaskConfig(BagsTaskConfig):
    """Settings of the training of a two-view network on stored maps.

    Attributes:
        rows: rows of cells of a bag, across its whole width. A device that does not fit gets no
            verdict.
    """

    rows: int = 56


class TwoViewsTask:
    """Training for :func:`bagscan.training.loop.run`; see :class:`TwoViewsTaskConfig`."""

    def __init__(
        self,
        network: TwoViews,
        config: TwoViewsTaskConfig,
        train: Sequence[SceneMaps],
        val: Sequence[SceneMaps],
    ) -> None:
        self.network = network.to(compute().device).to(memory_format=torch.channels_last)
        self.config, self.train = config, list(train)
        self.val = subsample_evenly(list(val), config.val_bags)
        self.modules: dict[str, nn.Module] = {"network": network}

    def batch(self, rng: np.random.Generator) -> BagBatch:
        """Draw bags. Each appears twice with the same rows: without and with its anomaly."""
        rows = [self._draw(rng) for _ in range(self.config.bags)]
        return bags_of(
            [replace(item, anomalous=anomalous) for item in rows for anomalous in (False, True)]
        )

    def _draw(self, rng: np.random.Generator) -> Shown:
        config = self.config
        scene = self.train[int(rng.integers(len(self.train)))]
        views = scene.scans(False)
        device = (
            scene.host if rng.random() < config.host else int(rng.integers(len(views[0].verdicts)))
        )
        rows = np.flatnonzero((views[0].truth[2 + device] > HALF_CELL).any(1))
        height = max(h for h, _ in scene.shapes)
        middle = (rows.mean() if len(rows) else height / 2) + rng.uniform(-3, 3)
        first = int(np.clip(middle - config.rows / 2, 0, max(0, height - config.rows)))
        mirrored = tuple(bool(value < 0.5) for value in rng.random(3))
        only_view = int(rng.integers(VIEWS)) if rng.random() < config.one_view_share else None
        return Shown(
            scene, False, first, config.rows, (mirrored[0], mirrored[1], mirrored[2]), only_view
        )

    def loss(self, batch: BagBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the losses, and each loss."""
        return losses(self.network, self.config, batch)

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Validate on whole bags with true device masks, see :func:`validate_bags`."""
        self.network.eval()
        return validate_bags(
            self.network, ((s.host, s.visible, self._whole_bag(s)) for s in self.val)
        )

    @staticmethod
    def _whole_bag(scene: SceneMaps) -> list[BagBatch]:
        """Return the whole bag without and with its anomaly."""
        rows = max(h for h, _ in scene.shapes)
        return [
            move_batch(bags_of([Shown(scene, anomalous, 0, rows)]), compute().device)
            for anomalous in (False, True)
        ]


def losses(
    network: TwoViews, config: BagsTaskConfig, batch: BagBatch
) -> tuple[Tensor, dict[str, float]]:
    """Return the weighted sum of the losses of a two-view network, and each loss.

    Args:
        network: two-view network.
        config: weights of the losses.
        batch: bags.
    """
    anomaly, verdicts = score_bags(network, batch)
    shares = batch.truth / LABEL_PIXELS_PER_CELL
    ignored = torch.maximum(shares[:, 1:2], 1 - batch.there)
    of_map = map_loss(anomaly, shares[:, :1], shares[:, 2:].amax(1, keepdim=True), ignored)
    verdict, accuracy = verdict_loss(verdicts, batch.hidden)
    loss = of_map + config.verdict_weight * verdict
    return loss, {
        "map": float(of_map.detach()),
        "verdict": float(verdict.detach()),
        "right": accuracy,
    }


def score_bags(network: TwoViews, batch: BagBatch) -> tuple[Tensor, Tensor]:
    """Return (2 B, 1, h, w) anomaly maps and (D,) verdicts, both log-odds."""
    with autocast_bf16(compute().device):
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


def validate_bags(
    network: TwoViews, bags: Iterable[tuple[int, Sequence[bool], Sequence[BagBatch]]]
) -> dict[str, float]:
    """Return validation scores over both views.

    Args:
        network: two-view network.
        bags: for each bag the number of the device under test, the visibility of the anomaly by
            view, and the whole bag without and with its anomaly.

    Returns:
        ``monitor``: AUROC of devices. ``by_view_summed``: AUROC of the sum of single-view verdicts.
        ``hit``: share of views in which the highest cell of the device is anomalous.
    """
    truth: list[float] = []
    scores: list[float] = []
    single_view_scores: list[float] = []
    hits: list[bool] = []
    for host, visible, (benign, anomalous) in bags:
        for batch in (benign, anomalous):
            anomaly, verdicts = score_bags(network, batch)
            truth += batch.hidden.tolist()
            scores += verdicts.tolist()
            single_view_scores += batch.of_view.sum(1).tolist()
        hits += _hits(host, visible, anomaly, anomalous)
    labels = np.array(truth, bool)
    return {
        "monitor": auroc(labels, np.array(scores)),
        "by_view_summed": auroc(labels, np.array(single_view_scores)),
        "hit": float(np.mean(hits)) if hits else float("nan"),
    }


def _hits(host: int, visible: Sequence[bool], anomaly: Tensor, batch: BagBatch) -> list[bool]:
    """Return whether the highest cell of the device is anomalous, for each view that shows it."""
    hits = []
    for v, is_visible in enumerate(visible):
        truth, logits = batch.truth[v], anomaly[v, 0]
        on_anomaly = truth[0] > HALF_CELL
        benign = (truth[0] < 2) & (truth[2 + host] > HALF_CELL)
        if is_visible and bool(on_anomaly.any()) and bool(benign.any()):
            hits.append(bool(logits[on_anomaly].max() >= logits[benign].max()))
    return hits


@dataclass(frozen=True, kw_only=True)
class TwoViewsExperiment(SimulatedExperiment):
    """Training of a two-view network on the maps of a trained detector.

    Attributes:
        sets: directories of the simulated sets that the detector was trained on.
        start: model folder of the detector.
        two_views: see :class:`TwoViewsConfig`.
        training: see :class:`TwoViewsTaskConfig`.
    """

    kind = "two_views"
    figures = "The best step has the highest monitor: the AUROC of devices over both views."
    start: str
    two_views: TwoViewsConfig = field(default_factory=lambda: TwoViewsConfig(width=96))
    training: TwoViewsTaskConfig = field(default_factory=TwoViewsTaskConfig)

    def prepare(self, out: Path) -> tuple[TwoViewsTask, Callable[[Scores], None]]:
        """Prepare the task; see :meth:`LoopExperiment.prepare`."""
        if not self.two_views.width:
            raise ConfigError("two_views.width must be at least 1")
        save_resolved(self, self.kind, out)
        trained, scenes = load_start(self.start, self.sets, self.pack_workers)
        maps = {
            part: load_scene_maps(trained, scenes[part], out / "seen" / trained.id)
            for part in ("train", "val")
        }
        log.info(f"{len(maps['train'])} training scenes, {len(maps['val'])} validation scenes")
        network = DetectorNetwork(
            replace(trained.network.config, pretrained=False, two_views=self.two_views)
        )
        # Not strict: the two-view network is new.
        network.load_state_dict(trained.network.state_dict(), strict=False)
        assert network.two_views is not None
        detector = replace(trained, network=network, operating_point=None)

        def keep(scores: Scores) -> None:
            detector.about = trained.about | {
                "validation over both views": {k: round(v, 4) for k, v in scores.items()}
            }
            detector.save(out / self.written)

        task = TwoViewsTask(network.two_views, self.training, maps["train"], maps["val"])
        return task, keep
