"""Joint and two-stage training of the sub-component network (Bhowmik & Breckon, section II-B).

The loss is reconstruction + lambda * compactness + mu * (classification + ranking + verdict).
In separate training the regioner learns from reconstruction and compactness alone. In two-stage
training it stays fixed.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
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
    ScoredView,
    attenuation_map,
    score_bag,
    summarise,
    view_arrays,
)
from bagscan.model import Model
from bagscan.training.components import Components
from bagscan.training.compute import compute
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
    balance_weights,
    hard_shares,
    ranking_loss,
    segment_truth,
    soft_shares,
    verdict_loss,
)

LABEL_SMOOTHING = 0.02  # share of the truth that the other class gets

log = logging.getLogger(__name__)


class JointTask:
    """Training on crops of scans with the joint loss, validated by the within-bag protocol.

    Raises:
        DataError: no training scan has an annotation, and no threats are projected.
        ConfigError: the regioner or the encoder does not suit the settings.
    """

    def __init__(
        self, model: Model, train: Sequence[Sample], val: Sequence[Sample], config: JointConfig
    ) -> None:
        if not (config.augment.threats or any(sample.annotations for sample in train)):
            raise DataError(
                f"none of {len(train)} training scans has an annotation; "
                "check the data with bagscan data check"
            )
        if config.mode != "two_stage" and not model.segments_differentiably:
            raise ConfigError(
                f"regioner {model.config.regioner['name']!r} cannot be trained; "
                "set training.mode=two_stage"
            )
        model.to(compute().device)
        self.model, self.train, self.config = model, list(train), config
        self.val = subsample_evenly(val, config.validation_scans)
        self.modules = {"encoder": model.encoder, "scorer": model.scorer}
        if config.mode != "two_stage":
            self.modules["regioner"] = model.regioner
        # The item finder stays fixed in every mode.
        model.regioner.segmenter.requires_grad_(config.mode != "two_stage")
        self.components = None
        if config.components:
            if not isinstance(model.encoder, MapEncoder):
                raise ConfigError(
                    "training.components needs encoder pooled; components are learnt from its maps"
                )
            self.components = Components(self.train, model.encoder.dim)
            self.modules["components"] = self.components.layer.to(compute().device)
        # At object level, the mask of the item is the only region.
        self.object_level = is_object_level(model) and self.train[0].region is not None
        self.crops = Crops(
            self.train, config, model.scorer.config.classes, self.object_level, self.components
        )
        # A regioner without gradients segments crops while they are drawn. One with weights may be
        # on an accelerator, which drawing processes cannot use.
        self.can_draw_in_processes = (
            self.object_level
            or model.segments_differentiably
            or next(model.regioner.parameters(), None) is None
        )

    def batch(self, rng: np.random.Generator) -> Batch:
        crops = self.crops.batch(self.config.batch_size, rng)
        pixels, objects, presence, crop_classes, made_of = zip(*crops, strict=True)
        classes = torch.zeros(len(crops), max(1, *map(len, crop_classes)), dtype=torch.long)
        for row, numbers in zip(classes, crop_classes, strict=True):
            row[: len(numbers)] = torch.tensor(numbers)
        labels = None
        if self.object_level:
            labels = torch.stack(presence).long() - 1
        elif not self.model.segments_differentiably:
            first = self.train[0].view
            views = [View(p.numpy(), first.channels, first.quantity) for p in pixels]
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
        """Return the number of superpixels of a crop, for the same size as in use."""
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
            terms: dict[str, float] = {}
        else:
            regions, extra, terms = self._segment(batch)
            share, present = soft_shares(batch, *regions)
        truth = segment_truth(
            share,
            present,
            batch.classes,
            config.positive_from,
            config.negative_to,
            batch.present_from,
        )
        indices = self._choose(truth)
        rows, columns = indices[:, 0], indices[:, 1]
        if self.components and batch.made_of is not None:
            assert isinstance(self.model.encoder, MapEncoder)
            maps = self.model.encoder.maps(image)
            component_loss = self.components.loss(
                maps.float(), batch.made_of, batch.presence, batch.present_from
            )
            extra = extra + config.components * component_loss
            terms["components"] = float(component_loss.detach())
            embeddings = self.model.encoder.describe_maps(maps, regions, indices)
        else:
            embeddings = self.model.encoder(image, regions, indices)
        logits = self.model.scorer(embeddings).float()
        target, weight = truth.target[rows, columns], truth.weight[rows, columns]
        cross_entropy = F.cross_entropy(
            logits, target, reduction="none", label_smoothing=LABEL_SMOOTHING
        )
        classification = (cross_entropy * balance_weights(target, weight)).sum()
        margin = logits[:, 1:].logsumexp(1) - logits[:, 0]
        margins = torch.full_like(present, ABSENT).index_put((rows, columns), margin)
        ranking, verdict = ranking_loss(margins, truth), verdict_loss(margins, truth)
        terms |= {
            "classification": float(classification.detach()),
            "ranking": float(ranking.detach()),
            "verdict": float(verdict.detach()),
        }
        supervised = classification + config.ranking * ranking + config.verdict * verdict
        return config.mu * supervised + extra, terms

    def _segment(self, batch: Batch) -> tuple[tuple[Tensor, Grid], Tensor, dict[str, float]]:
        """Return the soft association of a batch, and the losses of the regioner."""
        config, regioner = self.config, self.model.regioner.segmenter
        assert isinstance(regioner, SoftRegioner)  # batch() segments for others
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
            labels = F.interpolate(
                batch.objects[:, None].float(), size=(grid.height, grid.width), mode="nearest"
            )[:, 0].long()
            extra = extra + config.label_reconstruction * label_reconstruction_loss(q, grid, labels)
        if config.mode == "separate":
            q = q.detach()
        return (q, grid), extra, {"segmentation": float(extra.detach())}

    def _choose(self, truth: SegmentTruth) -> Tensor:
        """Return (M, 2) numbers of image and region to describe.

        These are all regions with weight, or a balanced draw of them.
        """
        has_weight = truth.weight > 0
        if not self.model.encoder.samples_regions:
            return has_weight.nonzero()
        per_class = max(1, self.config.segments_per_scan // 2)
        rank = torch.rand(has_weight.shape, device=has_weight.device).masked_fill(~has_weight, 2.0)
        rows = []
        for is_member in (truth.target > 0, truth.target == 0):
            lowest, index = rank.masked_fill(~is_member, 2.0).topk(
                min(per_class, rank.shape[1]), dim=1, largest=False
            )
            image = torch.arange(len(rank), device=rank.device)[:, None].expand_as(index)
            rows.append(torch.stack([image, index], -1)[lowest < 2])
        return torch.cat(rows)

    def validate(self) -> dict[str, float]:
        """Return within-bag scores and, for items, the AUROC of items."""
        bags = score_samples(self.model, self.val)
        scores = summarise(bags)
        result = {k: scores[k] for k in ("auroc", "hit_at_1", "hit_at_5")}
        if self.val[0].region is None:
            return {"monitor": (result["auroc"] + result["hit_at_1"]) / 2, **result}
        result["item_auroc"] = auroc(*view_arrays(bags)[:2])
        # Whole items have no regions to rank. If all items are benign, neither score exists.
        finite = [v for v in (result["item_auroc"], result["auroc"]) if np.isfinite(v)]
        return {"monitor": float(np.mean(finite)) if finite else 0.0, **result}


def is_object_level(model: Model) -> bool:
    """Return True at object level (Bhowmik & Breckon), where an item is a single region."""
    return model.regioner.kind != "superpixel"


def score_samples(model: Model, samples: Sequence[Sample]) -> list[ScoredView]:
    """Score the regions of samples as in use, for the within-bag protocol."""
    results = []
    for number, (sample, regions, embeddings) in enumerate(describe_each(model, samples), 1):
        if number % 25 == 0:
            log.info(f"scored {number} of {len(samples)} scans")
        results.append(as_bag(sample, regions, model.score(embeddings)))
    return results


def describe_each(
    model: Model, samples: Sequence[Sample]
) -> Iterator[tuple[Sample, Regions, Tensor]]:
    """Yield each sample with its regions, as in use, and their descriptions (n, dim)."""
    model.eval()
    on_items = model.everywhere()  # the truth has the item, so it needs no item finder
    for sample in samples:
        view = sample.full_view()
        if is_object_level(model) and sample.region is not None:
            regions = Regions(sample.region[None], 1, "instance")
        else:
            regions = (model if sample.region is None else on_items).regions(view)
        image = model.normalise(torch.from_numpy(np.array(view.pixels))[None])
        yield sample, regions, model.describe(image, regions)


def as_bag(sample: Sample, regions: Regions, scores: np.ndarray) -> ScoredView:
    """Return a sample, with scores (n,) of its regions, in the form of the within-bag protocol."""
    view = sample.full_view()
    bag = score_bag(
        regions,
        scores,
        attenuation_map(view.pixels, view.channels),
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
