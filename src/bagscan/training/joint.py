"""Joint and two-stage training of the sub-component network (paper A, section II-B; methods page, 1).

L = reconstruction + lambda * compactness + mu * (classification + ranking). In separate training the regioner
learns by reconstruction and compactness alone; in two-stage training it is left as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.association import Grid
from bagscan.contracts import MapEncoder, SoftRegioner
from bagscan.core import Regions, View
from bagscan.core.errors import ConfigError, DataError
from bagscan.evaluation.metrics import auroc
from bagscan.evaluation.within_bag import (
    JudgedView,
    darkness_map,
    judge_bag,
    summarise,
    view_arrays,
)
from bagscan.model import Model
from bagscan.training.components import Components
from bagscan.training.compute import autocast_bf16, compute
from bagscan.training.crops import Crops
from bagscan.training.joint_config import JointConfig
from bagscan.training.losses import (
    channel_reconstruction_loss,
    compactness_loss,
    label_reconstruction_loss,
)
from bagscan.training.samples import Sample, subsample_evenly
from bagscan.training.targets import (
    ABSENT,
    Batch,
    SegmentTruth,
    balanced,
    hard_shares,
    ranking_loss,
    segment_truth,
    soft_shares,
    verdict_loss,
)


class JointTask:
    """Crops of scans in, the joint loss out; validated by the within-bag protocol."""

    def __init__(
        self, model: Model, train: Sequence[Sample], val: Sequence[Sample], config: JointConfig
    ) -> None:
        if not (config.augment.threats or any(sample.annotations for sample in train)):
            raise DataError(
                f"none of {len(train)} scans to train on has anything marked: look at the annotations with bagscan data check"
            )
        if config.mode != "two_stage" and not model.segments_differentiably:
            raise ConfigError(
                f"regioner {model.config.regioner['name']!r} cannot learn: set training.mode=two_stage"
            )
        model.to(compute().device)
        self.model, self.train, self.val, self.config = (
            model,
            list(train),
            subsample_evenly(val, config.validation_scans),
            config,
        )
        self.modules = {"encoder": model.encoder, "scorer": model.scorer}
        if config.mode != "two_stage":
            self.modules["regioner"] = model.regioner
        model.regioner.cutter.requires_grad_(
            config.mode != "two_stage"
        )  # what finds items stands still
        self.components = None
        if config.components:
            if not isinstance(model.encoder, MapEncoder):
                raise ConfigError(
                    "training.components needs encoder pooled, whose maps it is learnt from"
                )
            self.components = Components(self.train, model.encoder.dim)
            self.modules["components"] = self.components.layer.to(compute().device)
        # Object level: the item's own mask is the one region.
        self.object_level = judges_whole_items(model) and self.train[0].region is not None
        self.crops = Crops(
            self.train, config, model.scorer.config.classes, self.object_level, self.components
        )
        # Regions that no gradient reaches are cut while drawing, by a network that lies on the accelerator where there is one.
        self.draws_apart = (
            self.object_level
            or model.segments_differentiably
            or next(model.regioner.parameters(), None) is None
        )

    def batch(self, rng: np.random.Generator) -> Batch:
        drawn = self.crops.batch(self.config.batch_size, rng)
        pixels, objects, presence, own_classes, made_of = zip(*drawn, strict=True)
        classes = torch.zeros(len(drawn), max(1, *map(len, own_classes)), dtype=torch.long)
        for row, own in zip(classes, own_classes, strict=True):
            row[: len(own)] = torch.tensor(own)
        labels = None
        if self.object_level:
            labels = torch.stack(presence).long() - 1
        elif not self.model.segments_differentiably:
            views = [
                View(p.numpy(), self.train[0].view.channels, self.train[0].view.quantity)
                for p in pixels
            ]
            count = self._superpixels(*pixels[0].shape[-2:])
            labels = torch.from_numpy(
                np.stack([self.model.regioner.regions(v, count).labels for v in views])
            ).long()
        return Batch(
            torch.stack(pixels),
            torch.stack(objects),
            classes,
            torch.stack(presence),
            labels,
            self.crops.present_from,
            torch.stack(made_of) if self.components else None,
        )

    def _superpixels(self, height: int, width: int) -> int:
        """As many for a crop as leaves a superpixel the size that it has in use."""
        by_area = self.model.config.input.superpixels(height, width)
        if by_area:
            return by_area
        settings = self.model.config.regioner
        per_scan: int = settings.get("parts", settings).get("n_superpixels", 1)
        side = self.model.config.input.working_side_px
        return max(4, round(per_scan * height * width / side**2)) if side else per_scan

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        config = self.config
        image = self.model.normalise(batch.pixels)
        if batch.labels is not None:
            share, present = hard_shares(batch)
            regions: Any = batch.labels
            extra: Tensor = image.new_zeros(())
            parts: dict[str, float] = {}
        else:
            regions, extra, parts = self._segment(batch)
            share, present = soft_shares(batch, *regions)
        truth = segment_truth(
            share,
            present,
            batch.classes,
            config.positive_from,
            config.negative_to,
            config.background_weight,
            batch.present_from,
        )
        chosen = self._choose(truth)
        rows, columns = chosen[:, 0], chosen[:, 1]
        with autocast_bf16(image.device, config.bf16):
            if self.components and batch.made_of is not None:
                assert isinstance(self.model.encoder, MapEncoder)
                maps = self.model.encoder.maps(image)
                known = self.components.loss(
                    maps.float(), batch.made_of, batch.presence, batch.present_from
                )
                extra, parts["components"] = (
                    extra + config.components * known,
                    float(known.detach()),
                )
                described = self.model.encoder.described(maps, regions, chosen)
            else:
                described = self.model.encoder(image, regions, chosen)
            logits = self.model.scorer(described).float()
        target, weight = truth.target[rows, columns], truth.weight[rows, columns]
        each = F.cross_entropy(
            logits, target, reduction="none", label_smoothing=config.label_smoothing
        )
        classification = (each * balanced(target, weight)).sum()
        margin = logits[:, 1:].logsumexp(1) - logits[:, 0]
        margins = torch.full_like(present, ABSENT).index_put((rows, columns), margin)
        ranking, verdict = ranking_loss(margins, truth), verdict_loss(margins, truth)
        parts |= {
            "classification": float(classification.detach()),
            "ranking": float(ranking.detach()),
            "verdict": float(verdict.detach()),
        }
        return config.mu * (
            classification + config.ranking * ranking + config.verdict * verdict
        ) + extra, parts

    def _segment(self, batch: Batch) -> tuple[tuple[Tensor, Grid], Tensor, dict[str, float]]:
        """Soft association of the batch with the regioner's own losses."""
        config, regioner = self.config, self.model.regioner.cutter
        assert isinstance(regioner, SoftRegioner)  # of others labels are drawn
        view = self.train[0].view
        prepared = regioner.prepare(batch.pixels, view.quantity, view.channels)
        count = self._superpixels(*batch.pixels.shape[-2:])
        if config.mode == "two_stage":
            regioner.eval()
            with torch.no_grad():
                q, grid, _ = regioner(prepared, count)
            return (q, grid), q.new_zeros(()), {}
        q, grid, features = regioner(prepared, count)
        channels = len(view.channels)
        extra = config.compactness * compactness_loss(q, grid, features[:, :2])
        extra = extra + config.channel_reconstruction * channel_reconstruction_loss(
            q, grid, features[:, 2 : 2 + channels]
        )
        if config.label_reconstruction:
            small = F.interpolate(
                batch.objects[:, None].float(), size=(grid.height, grid.width), mode="nearest"
            )[:, 0].long()
            extra = extra + config.label_reconstruction * label_reconstruction_loss(q, grid, small)
        return (
            (q.detach() if config.mode == "separate" else q, grid),
            extra,
            {"segmentation": float(extra.detach())},
        )

    def _choose(self, truth: SegmentTruth) -> Tensor:
        """(M, 2) regions to describe: all that count, or a balanced draw of them."""
        counted = truth.weight > 0
        if not self.model.encoder.draws:
            return counted.nonzero()
        half = max(1, self.config.segments_per_scan // 2)
        rank = torch.rand(counted.shape, device=counted.device).masked_fill(~counted, 2.0)
        rows = []
        for wanted in (truth.target > 0, truth.target == 0):
            best, index = rank.masked_fill(~wanted, 2.0).topk(
                min(half, rank.shape[1]), dim=1, largest=False
            )
            image = torch.arange(len(rank), device=rank.device)[:, None].expand_as(index)
            rows.append(torch.stack([image, index], -1)[best < 2])
        return torch.cat(rows)

    def validate(self) -> dict[str, float]:
        """Within the bag; of items, how well benign and anomalous ones are told apart too."""
        with autocast_bf16(self.model.device, self.config.bf16):
            bags = judge_samples(self.model, self.val)
        scores = summarise(bags)
        kept = {k: scores[k] for k in ("auroc", "hit_at_1", "hit_at_5")}
        if self.val[0].region is None:
            return {"monitor": (kept["auroc"] + kept["hit_at_1"]) / 2, **kept}
        kept["item_auroc"] = auroc(*view_arrays(bags)[:2])
        # Of whole items there is nothing to rank within, of benign ones alone nothing at all.
        known = [v for v in (kept["item_auroc"], kept["auroc"]) if np.isfinite(v)]
        return {"monitor": float(np.mean(known)) if known else 0.0, **kept}


def judges_whole_items(model: Model) -> bool:
    """Whether one item is one region: the object level of paper A."""
    return model.regioner.kind != "superpixel"


def judge_samples(
    model: Model, samples: Sequence[Sample], report: Callable[[str], None] | None = None
) -> list[JudgedView]:
    """Score every sample's regions, as in use, for the within-bag protocol."""
    results = []
    for number, (sample, regions, embeddings) in enumerate(described(model, samples), 1):
        if report and number % 25 == 0:
            report(f"scored {number} of {len(samples)} scans")
        results.append(as_bag(sample, regions, model.score(embeddings)))
    return results


def described(model: Model, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Regions, Tensor]]:
    """Every sample with its regions, as in use, and their descriptions (n, dim)."""
    model.eval()
    on_items = model.everywhere()  # an item that the truth tells of, no detector has to find
    for sample in samples:
        view = sample.full_view()
        if judges_whole_items(model) and sample.region is not None:
            regions = Regions(sample.region[None], 1, "instance")
        else:
            regions = (model if sample.region is None else on_items).regions(view)
        image = model.normalise(torch.from_numpy(np.array(view.pixels))[None])
        yield sample, regions, model.describe(image, regions)


def as_bag(sample: Sample, regions: Regions, scores: np.ndarray) -> JudgedView:
    """Scores (n,) of a sample's regions in the form of the within-bag protocol."""
    view = sample.full_view()
    bag = judge_bag(
        regions,
        scores,
        darkness_map(view.pixels, view.channels),
        sample.annotations,
        sample.record.origin,
        sample.region,
    )
    return dataclasses.replace(
        bag,
        scan=sample.record.scan,
        view=sample.record.about.view or "0",
        about=sample.record.about,
    )
