"""Kind ``whole_bags``: training of all weights of a two-view detector on whole bags.

The network of single views and the two-view network are trained together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bagscan.core.errors import ConfigError
from bagscan.datasets.packed import PackedScene
from bagscan.detector.depthwise import use_fast_depthwise
from bagscan.detector.inference import Categories
from bagscan.detector.network import DetectorNetwork, Maps
from bagscan.detector.together import VIEWS
from bagscan.training.compute import autocast_bf16, compute, move_batch
from bagscan.training.detector_experiment import load_start
from bagscan.training.detector_loss import SingleViewLoss
from bagscan.training.experiment import Scores, SimulatedExperiment
from bagscan.training.map_batches import BagBatch
from bagscan.training.pixel_batches import PixelBatch, build_pixel_batch
from bagscan.training.resolved import save_resolved
from bagscan.training.samples import subsample_evenly
from bagscan.training.two_views import BagsTaskConfig, losses, validate_bags
from bagscan.training.window_sampler import WindowSampler
from bagscan.training.windows import select_window, whole_box

log = logging.getLogger(__name__)

MAX_DEVICES_PER_PASS = 16  # limits memory


@dataclass(frozen=True)
class WholeBagsConfig(BagsTaskConfig):
    """Settings of the training on windows of bags, each around a whole device.

    Attributes:
        margin: smallest distance between the device and the window's edges, in cells; less at the
            edge of the view.
        overlay: share of bags to which the contents of another, randomly chosen bag are added as
            clutter.
        projected: share of bags that show the anomaly of another scene in place of their own, once
            beside the device and once on it. Bags without a place for it keep their own.
        noise: largest standard deviation of noise on the features.
        single_view_weight: weight of the single-view losses.
        single_view_verdict_weight: weight of the loss of verdicts within these losses.
    """

    margin: int = 4
    overlay: float = 0.0
    projected: float = 0.0
    noise: float = 0.03
    single_view_weight: float = 0.5
    single_view_verdict_weight: float = 0.3


class WholeBagsTask:
    """Task that trains all weights of a two-view detector; see :class:`WholeBagsConfig`.

    Args:
        network: network with a two-view network.
        config: settings.
        train: packed scenes for training.
        val: packed scenes for validation.
        numbers: numbers of categories of each sort.
        images: ``raw`` or ``colour``.
    """

    def __init__(
        self,
        network: DetectorNetwork,
        config: WholeBagsConfig,
        train: Sequence[PackedScene],
        val: Sequence[PackedScene],
        numbers: Categories,
        images: str = "raw",
    ) -> None:
        assert network.two_views is not None
        self.network = network.to(compute().device).to(memory_format=torch.channels_last)
        self.together, self.config = network.two_views, config
        self.kinds, self.images = numbers.kinds, images
        use_fast_depthwise(self.network)
        self.single_view_loss = SingleViewLoss(network, numbers, config.single_view_verdict_weight)
        self.train = [scene for scene in train if _has_two_views(scene)]
        self.val = subsample_evenly(
            [scene for scene in val if _has_two_views(scene)], config.val_bags
        )
        self.sampler = WindowSampler(config, self.train, self.kinds, images)
        self.modules: dict[str, nn.Module] = {"network": network}
        # A batch has few bags and is mostly air. Its statistics do not represent other bags, so
        # normalisation uses the stored ones.
        self.normalisations = [
            module for module in network.modules() if isinstance(module, nn.BatchNorm2d)
        ]

    def batch(self, rng: np.random.Generator) -> PixelBatch:
        """Draw bags, see :meth:`WindowSampler.draw`."""
        return self.sampler.draw(rng)

    def loss(self, batch: PixelBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the losses, and each loss."""
        for normalisation in self.normalisations:
            normalisation.eval()
        maps = self._maps(batch)
        single_view = [
            self.single_view_loss(view_maps, view)
            for view_maps, view in zip(maps, batch.views, strict=True)
        ]
        loss, terms = losses(self.together, self.config, self._add_maps(batch, maps))
        single_view_loss = torch.stack([view_loss for view_loss, _ in single_view]).mean()
        loss = loss + self.config.single_view_weight * single_view_loss
        return loss, terms | {
            f"single view {name}": value for name, value in single_view[0][1].items()
        }

    def _maps(self, batch: PixelBatch) -> list[Maps]:
        with autocast_bf16(compute().device):
            return [self.network(view.features) for view in batch.views]

    def _add_maps(self, batch: PixelBatch, maps: Sequence[Maps]) -> BagBatch:
        """Add maps and single-view verdicts to the truth of a batch."""
        bags, width = batch.bags, batch.bags.truth.shape[3]
        merged, anomaly = (
            torch.cat([F.pad(plane, (0, width - plane.shape[3])) for plane in planes]).float()
            for planes in ([m.merged for m in maps], [m.anomaly for m in maps])
        )
        verdicts = [
            self._verdicts(m, bags.devices[:, v, :, : m.anomaly.shape[3]], bags.bag)
            for v, m in enumerate(maps)
        ]
        return replace(bags, merged=merged, anomaly=anomaly, of_view=torch.stack(verdicts, 1))

    def _verdicts(self, maps: Maps, devices: Tensor, bag: Tensor) -> Tensor:
        """Return (D,) log-odds of the (D, h, w) devices of one view; ``bag`` is the bag of each."""
        verdicts = [
            self.network.verdict(
                maps.anomaly[bags], maps.fine[bags], maps.coarse[bags], devices[indices][:, None]
            )
            for indices, bags in zip(
                torch.arange(len(bag), device=bag.device).split(MAX_DEVICES_PER_PASS),
                bag.split(MAX_DEVICES_PER_PASS),
                strict=True,
            )
            if len(bags)
        ]
        return torch.cat(verdicts) if verdicts else maps.anomaly.new_zeros(0).float()

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Validate on whole bags with true device masks.

        See :func:`bagscan.training.two_views.validate_bags`.
        """
        self.network.eval()
        return validate_bags(
            self.together,
            (
                (s.views[0].host, [bool(v.about["visible"]) for v in s.views], self._whole_bag(s))
                for s in self.val
            ),
        )

    def _whole_bag(self, scene: PackedScene) -> list[BagBatch]:
        """Return the whole bag without and with its anomaly."""
        window = select_window(scene, whole_box(scene), (False,) * 3, np.ones((VIEWS, 2)))
        batches = []
        for anomalous in (False, True):
            batch = build_pixel_batch(
                [replace(window, anomalous=anomalous)],
                self.kinds,
                self.images,
                0.0,
                np.random.default_rng(0),
            )
            batch = move_batch(batch, compute().device)
            batches.append(self._add_maps(batch, self._maps(batch)))
        return batches


def _has_two_views(scene: PackedScene) -> bool:
    return (
        len(scene.views) >= VIEWS
        and scene.views[0].host >= 0
        and scene.views[1].host == scene.views[0].host
    )


@dataclass(frozen=True, kw_only=True)
class WholeBagsExperiment(SimulatedExperiment):
    """Training of all weights of a two-view detector on whole bags.

    It starts from a model whose two networks were trained one after the other.

    Attributes:
        sets: directories of the simulated sets that the starting model was trained on.
        start: model folder of a two-view detector.
        training: see :class:`WholeBagsConfig`.
    """

    kind = "whole_bags"
    figures = "The best step has the highest monitor: the AUROC of devices over both views."
    start: str
    training: WholeBagsConfig = field(default_factory=WholeBagsConfig)

    def prepare(self, out: Path) -> tuple[WholeBagsTask, Callable[[Scores], None]]:
        """Prepare the task; see :meth:`LoopExperiment.prepare`."""
        save_resolved(self, self.kind, out)
        detector, scenes = load_start(self.start, self.sets, self.pack_workers)
        if detector.network.two_views is None:
            raise ConfigError(
                f"start: {self.start} has no two-view network; train kind two_views first"
            )
        if detector.prohibited:
            raise ConfigError(
                f"start: {self.start} knows prohibited items, which kind whole_bags does not "
                "train; it would forget them"
            )
        detector.operating_point, before = None, dict(detector.about)

        def keep(scores: Scores) -> None:
            detector.about = before | {
                "validation over both views": {k: round(v, 4) for k, v in scores.items()}
            }
            detector.save(out / self.written)

        task = WholeBagsTask(
            detector.network,
            self.training,
            scenes["train"],
            scenes["val"],
            detector.numbers,
            detector.images,
        )
        log.info(f"{len(task.train)} training scenes, {len(task.val)} validation scenes")
        return task, keep
