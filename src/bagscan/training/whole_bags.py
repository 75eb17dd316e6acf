"""Train all weights of a two-view detector on whole bags: the network of single views and the two-view network together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bagscan.core.errors import ConfigError
from bagscan.datasets.packed import LABEL_STRIDE, PackedScene, PackedView
from bagscan.detector.depthwise import quicken
from bagscan.detector.features import CELL_PX, N_FEATURES, as_seen
from bagscan.detector.network import DetectorNetwork, Maps
from bagscan.detector.sampling import GAIN, N_BITS, Pose, cut
from bagscan.detector.together import VIEWS
from bagscan.training.compute import autocast_bf16, compute
from bagscan.training.detector import CropBatch, DetectorTask, DetectorTaskConfig, degrade
from bagscan.training.detector_experiment import packed_scenes, trained_before
from bagscan.training.experiment import Report, Scores, SimulatedExperiment
from bagscan.training.resolved import save_resolved
from bagscan.training.samples import subsample_evenly
from bagscan.training.seen_maps import HALF_A_CELL, TRUTHS, truth_of
from bagscan.training.two_views import (
    MIN_CELLS,
    WHOLE,
    BagBatch,
    TwoViewsTaskConfig,
    losses,
    validated,
)

MULTIPLE_PX = 64  # sides of the network's input are multiples of this
VERDICTS_AT_ONCE = 16


@dataclass(frozen=True)
class WholeBagsConfig(TwoViewsTaskConfig):
    """Attributes:
    alone_weight: weight of the single-view losses. alone: the single-view losses, see :class:`DetectorTaskConfig`; no crops are drawn.
    """

    alone_weight: float = 0.5
    alone: DetectorTaskConfig = field(
        default_factory=lambda: DetectorTaskConfig(verdict_weight=0.3)
    )


@dataclass(frozen=True)
class ShownBags:
    """One training batch. Attributes: views: pixels, label counts and host device of each view. bags: truth over both views; its maps are empty."""

    views: tuple[CropBatch, ...]
    bags: BagBatch


@dataclass(frozen=True)
class Rows:
    """The part of a scan that is used. Attributes: poses: of both views. lone: index of the only available view; None if both are. devices: indices of complete devices."""

    scene: PackedScene
    anomalous: bool
    poses: tuple[Pose, Pose]
    lone: int | None
    devices: tuple[int, ...]


def rows_of(
    scene: PackedScene,
    first_px: int,
    rows_px: int,
    mirrored: tuple[bool, bool, bool],
    gains: np.ndarray,
    lone: int | None = None,
) -> Rows:
    """Select rows of both views of the benign scan.

    Args:
        mirrored: across the belt for each view, and along the belt for both. gains: (2, 2) factors, by view, of low and high log attenuation.
    """
    poses = []
    for view, flipped, gain in zip(scene.views, mirrored, gains, strict=False):
        width = view.pixels.shape[2]
        down = (-1.0, first_px + rows_px - 1.0) if mirrored[2] else (1.0, float(first_px))
        across = (-1.0, width - 1.0) if flipped else (1.0, 0.0)
        poses.append(
            Pose(
                np.array([[down[0], 0, down[1]], [0, across[0], across[1]]]),
                (float(gain[0]), float(gain[1])),
            )
        )
    whole = [
        k
        for k in range(len(scene.views[0].devices))
        if all(_share(view, k, first_px, rows_px) >= WHOLE for view in scene.views[:VIEWS])
    ]
    return Rows(scene, False, (poses[0], poses[1]), lone, tuple(whole))


def _share(view: PackedView, device: int, first_px: int, rows_px: int) -> float:
    """Share of a device within the rows."""
    rows = view.device_points[device][:, 0].astype(int) * LABEL_STRIDE
    return float(((rows >= first_px) & (rows < first_px + rows_px)).mean()) if len(rows) else 0.0


def shown_bags(
    shown: Sequence[Rows],
    rows_px: int,
    kinds: int,
    images: str,
    noise: float,
    rng: np.random.Generator,
) -> ShownBags:
    """Cut the rows and stack them into a batch."""
    n = len(shown)
    rows_px = -(-rows_px // MULTIPLE_PX) * MULTIPLE_PX
    widths = [
        max(-(-one.scene.views[v].pixels.shape[2] // MULTIPLE_PX) * MULTIPLE_PX for one in shown)
        for v in range(VIEWS)
    ]
    h, w = rows_px // CELL_PX, max(widths) // CELL_PX
    truth, there = (
        np.zeros((VIEWS * n, TRUTHS, h, w), np.float32),
        np.zeros((VIEWS * n, 1, h, w), np.float32),
    )
    views = []
    for v, width in enumerate(widths):
        features, counts = (
            np.zeros((n, N_FEATURES, rows_px, width), np.float32),
            np.zeros((n, N_BITS, h, width // CELL_PX), np.uint8),
        )
        for k, one in enumerate(shown):
            view = one.scene.views[v]
            cut(view, one.anomalous, one.poses[v], features[k], counts[k])
            if one.lone in (None, v):
                truth[v * n + k, :, :, : counts.shape[3]] = truth_of(counts[k], kinds)
                there[v * n + k, :, :, : -(-view.pixels.shape[2] // CELL_PX)] = 1
        if noise:
            degrade(features, noise, rng)
        host = torch.tensor([one.scene.views[v].host for one in shown])
        views.append(
            CropBatch(torch.from_numpy(as_seen(features, images)), torch.from_numpy(counts), host)
        )
    return ShownBags(
        tuple(views), _truth_of(shown, torch.from_numpy(truth), torch.from_numpy(there))
    )


def _truth_of(shown: Sequence[Rows], truth: Tensor, there: Tensor) -> BagBatch:
    n, masks, bag, hidden = len(shown), [], [], []
    for k, one in enumerate(shown):
        seen = [
            one.lone in (None, v) and bool(view.about["visible"])
            for v, view in enumerate(one.scene.views[:VIEWS])
        ]
        for d in one.devices:
            mask = truth[k::n, 2 + d] > HALF_A_CELL
            is_hidden = one.anomalous and d == one.scene.views[0].host
            if mask.sum() >= MIN_CELLS and (
                any(seen) or not is_hidden
            ):  # an invisible anomaly has no truth
                masks.append(mask)
                bag.append(k)
                hidden.append(float(is_hidden))
    nothing = truth.new_zeros(0)
    devices = torch.stack(masks) if masks else truth.new_zeros((0, VIEWS, *truth.shape[2:]))
    return BagBatch(
        nothing,
        nothing,
        truth,
        there,
        devices.float(),
        torch.tensor(bag, dtype=torch.long),
        torch.tensor(hidden),
        nothing,
    )


class WholeBagsTask:
    """The task that :func:`bagscan.training.loop.run` trains. See :class:`WholeBagsConfig`.

    Args:
        train, val: packed scenes of two views. kinds, devices, images: see :class:`bagscan.training.detector.DetectorTask`.
    """

    def __init__(
        self,
        network: DetectorNetwork,
        config: WholeBagsConfig,
        train: Sequence[PackedScene],
        val: Sequence[PackedScene],
        kinds: int,
        devices: int,
        images: str = "raw",
    ) -> None:
        assert network.two_views is not None
        self.network, self.together, self.config, self.kinds, self.images = (
            network.to(memory_format=torch.channels_last),
            network.two_views,
            config,
            kinds,
            images,
        )
        quicken(self.network)
        self.alone = DetectorTask(network, config.alone, [], [], kinds, devices, images)
        self.train = [scene for scene in train if _of_two_views(scene)]
        self.val = subsample_evenly(
            [scene for scene in val if _of_two_views(scene)], config.val_bags
        )
        self.modules: dict[str, nn.Module] = {"network": network}
        # A step shows rows of a few bags, mostly air: their statistics say little about other bags, so the stored ones are used.
        self.normalisations = [
            module for module in network.modules() if isinstance(module, nn.BatchNorm2d)
        ]

    def batch(self, rng: np.random.Generator) -> ShownBags:
        """Draw bags. Each appears twice with the same rows: without and with its anomaly."""
        drawn = [self._draw(rng) for _ in range(self.config.bags)]
        pairs = [replace(one, anomalous=anomalous) for one in drawn for anomalous in (False, True)]
        return shown_bags(
            pairs, self.config.rows * CELL_PX, self.kinds, self.images, self.config.alone.noise, rng
        )

    def _draw(self, rng: np.random.Generator) -> Rows:
        config = self.config
        scene = self.train[int(rng.integers(len(self.train)))]
        view, rows_px = scene.views[0], config.rows * CELL_PX
        device = view.host if rng.random() < config.host else int(rng.integers(len(view.devices)))
        points = view.device_points[device]
        middle = (
            points[:, 0].astype(float).mean() * LABEL_STRIDE
            if len(points)
            else view.pixels.shape[1] / 2
        )
        first = int(
            np.clip(
                middle + rng.uniform(-3, 3) * CELL_PX - rows_px / 2,
                0,
                max(0, view.pixels.shape[1] - rows_px),
            )
        )
        flips = rng.random(3) < 0.5
        lone = int(rng.integers(VIEWS)) if rng.random() < config.lone else None
        return rows_of(
            scene,
            first,
            rows_px,
            (bool(flips[0]), bool(flips[1]), bool(flips[2])),
            1 + rng.normal(0, GAIN, (VIEWS, 2)),
            lone,
        )

    def loss(self, batch: ShownBags) -> tuple[Tensor, dict[str, float]]:
        """Return the total loss and its terms."""
        for normalisation in self.normalisations:
            normalisation.eval()
        maps = self._maps(batch)
        alone = [
            self.alone.loss_of(of_view, view)
            for of_view, view in zip(maps, batch.views, strict=True)
        ]
        loss, parts = losses(self.together, self.config, self._seen(batch, maps))
        return loss + self.config.alone_weight * torch.stack(
            [each for each, _ in alone]
        ).mean(), parts | {f"alone {k}": v for k, v in alone[0][1].items()}

    def _maps(self, batch: ShownBags) -> list[Maps]:
        with autocast_bf16(compute().device, True):
            return [self.network(view.features) for view in batch.views]

    def _seen(self, batch: ShownBags, maps: Sequence[Maps]) -> BagBatch:
        """Add the maps and single-view verdicts to the truth."""
        bags, width = batch.bags, batch.bags.truth.shape[3]
        merged, anomaly = (
            torch.cat([F.pad(plane, (0, width - plane.shape[3])) for plane in planes]).float()
            for planes in ([m.merged for m in maps], [m.anomaly for m in maps])
        )
        of_view = torch.stack(
            [
                self._verdicts(m, bags.devices[:, v, :, : m.anomaly.shape[3]], bags.bag)
                for v, m in enumerate(maps)
            ],
            1,
        )
        return replace(bags, merged=merged, anomaly=anomaly, of_view=of_view)

    def _verdicts(self, maps: Maps, devices: Tensor, bag: Tensor) -> Tensor:
        found = [
            self.network.verdict(
                maps.anomaly[of], maps.fine[of], maps.coarse[of], devices[some][:, None]
            )
            for some, of in zip(
                torch.arange(len(bag)).split(VERDICTS_AT_ONCE),
                bag.split(VERDICTS_AT_ONCE),
                strict=True,
            )
            if len(of)
        ]
        return torch.cat(found) if found else maps.anomaly.new_zeros(0).float()

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Validate on complete bags with true device masks, see :func:`bagscan.training.two_views.validated`."""
        self.network.eval()
        return validated(
            self.together,
            (
                (s.views[0].host, [bool(v.about["visible"]) for v in s.views], self._whole(s))
                for s in self.val
            ),
        )

    def _whole(self, scene: PackedScene) -> list[BagBatch]:
        """Return the complete bag without and with its anomaly."""
        rows_px = max(view.pixels.shape[1] for view in scene.views)
        shown = rows_of(scene, 0, rows_px, (False, False, False), np.ones((VIEWS, 2)))
        found = []
        for anomalous in (False, True):
            batch = shown_bags(
                [replace(shown, anomalous=anomalous)],
                rows_px,
                self.kinds,
                self.images,
                0.0,
                np.random.default_rng(0),
            )
            found.append(self._seen(batch, self._maps(batch)))
        return found


def _of_two_views(scene: PackedScene) -> bool:
    return (
        len(scene.views) >= VIEWS
        and scene.views[0].host >= 0
        and scene.views[1].host == scene.views[0].host
    )


@dataclass(frozen=True, kw_only=True)
class WholeBagsExperiment(SimulatedExperiment):
    """Train all weights of a two-view detector, starting from a model whose networks were trained one after the other.

    Attributes:
        sets: directories of simulated sets, those that the starting model was trained on. start: directory of a two-view detector.
        training, loop: see :class:`WholeBagsConfig` and :class:`LoopConfig`.
    """

    kind = "whole_bags"
    figures = (
        "The best step is the one with the highest monitor: the AUROC of devices over both views."
    )
    start: str
    training: WholeBagsConfig = field(default_factory=WholeBagsConfig)

    def prepare(self, out: Path, report: Report) -> tuple[WholeBagsTask, Callable[[Scores], None]]:
        """See :meth:`LoopExperiment.prepare`."""
        save_resolved(self, self.kind, out)
        scenes, categories = packed_scenes(self.sets, self.pack_workers, report)
        detector = trained_before(self.start, self.sets, categories)
        if detector.network.two_views is None:
            raise ConfigError(
                f"start: {self.start} has no two-view network; train kind two_views first"
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
            detector.kinds,
            detector.devices,
            detector.images,
        )
        report(f"{len(task.train)} scenes to train on, {len(task.val)} to validate on")
        return task, keep
