"""Joint and two-stage training of the sub-component network (paper A, section II-B; methods page, 1).

L = reconstruction + lambda * compactness + mu * (classification + ranking). In separate training the regioner
learns by reconstruction and compactness alone; in two-stage training it is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.core import Grid, Regions, View
from bagscan.core.errors import ConfigError
from bagscan.evaluation.levels import scan_arrays
from bagscan.evaluation.metrics import auroc
from bagscan.evaluation.within_bag import FOREGROUND_DARKNESS, ITEM_SHARE, BagResult, darkness_map, judge_bag, summarise
from bagscan.model import Model
from bagscan.training.augment import AugmentConfig, draw_crop, recolour
from bagscan.training.compute import compute, in_16_bits
from bagscan.training.loop import LoopConfig
from bagscan.training.losses import channel_reconstruction_loss, compactness_loss, label_reconstruction_loss
from bagscan.training.samples import Sample, spread
from bagscan.training.targets import ABSENT, Batch, SegmentTruth, balanced, hard_shares, ranking_loss, segment_truth, soft_shares, verdict_loss
from bagscan.training.threats import projector


@dataclass(frozen=True)
class JointConfig:
    """How the three parts are trained together.

    Attributes:
        mode: ``joint``, ``separate`` (no gradient of the classification reaches the regioner) or ``two_stage``
            (the regioner is left as it is). batch_size: crops a step.
        mu: weight of classification and ranking. compactness: lambda.
        ranking: weight of an object's best segments against the worst benign ones of its bag.
        verdict: weight of anomalous crops against benign ones, each by the smooth maximum over its segments.
        label_reconstruction: weight; 0 where truth is boxes, whose outline is not the object's.
        channel_reconstruction: weight.
        positive_from, negative_to: overlap of a segment that makes it anomalous or benign.
        background_weight: of air segments, which are benign beyond doubt.
        label_smoothing: share of the truth given to the other classes.
        segments_per_scan: drawn, balanced, for encoders that pay per region; others take all.
        balance_scanners: share of crops drawn from all scanners equally often, small ones too.
        balance_labels: share of crops drawn from scans with and without objects equally often.
        twins: share of crops of anomalous items that are drawn together with the same crop of the scan
            without the anomaly (sets with ``twins: true``), so that nothing else tells the two apart.
        validation_scans: judged while training, spread evenly through the validation split.
        bf16: whether encoder and scorer calculate in 16 bits, twice as fast for dense convolutions; only where the device has it.
        augment, loop: see :class:`AugmentConfig` and :class:`LoopConfig`.
    """

    mode: str = "joint"
    batch_size: int = 8
    mu: float = 1.0
    ranking: float = 0.3
    verdict: float = 0.0
    compactness: float = 1e-4
    label_reconstruction: float = 0.0
    channel_reconstruction: float = 0.1
    positive_from: float = 0.5
    negative_to: float = 0.1
    background_weight: float = 0.1
    label_smoothing: float = 0.02
    segments_per_scan: int = 12
    balance_scanners: float = 0.5
    balance_labels: float = 0.0
    twins: float = 0.0
    validation_scans: int = 80
    bf16: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        if self.mode not in ("joint", "separate", "two_stage"):
            raise ValueError(f"mode must be joint, separate or two_stage, got {self.mode!r}")
        if min(self.batch_size, self.validation_scans, self.segments_per_scan) < 1:
            raise ValueError("batch_size, validation_scans and segments_per_scan must be at least 1")
        if not 0 <= self.negative_to < self.positive_from <= 1:
            raise ValueError(f"expected 0 <= negative_to < positive_from <= 1, got {self.negative_to} and {self.positive_from}")
        if not (0 <= self.balance_scanners <= 1 and 0 <= self.balance_labels <= 1 and 0 <= self.label_smoothing < 1):
            raise ValueError("balance_scanners, balance_labels and label_smoothing are shares between 0 and 1")


class JointTask:
    """Crops of scans in, the joint loss out; validated by the within-bag protocol."""

    def __init__(self, model: Model, train: Sequence[Sample], val: Sequence[Sample], config: JointConfig) -> None:
        if config.mode != "two_stage" and not model.segments_differentiably:
            raise ConfigError(f"regioner {model.config.regioner['name']!r} cannot learn: set training.mode=two_stage")
        model.to(compute().device)
        self.model, self.train, self.val, self.config = model, list(train), spread(val, config.validation_scans), config
        self.modules = {"encoder": model.encoder, "scorer": model.scorer}
        if config.mode != "two_stage":
            self.modules["regioner"] = model.regioner
        getattr(model.regioner, "parts", model.regioner).requires_grad_(config.mode != "two_stage")  # what finds items stands still
        self.classes = list(model.scorer.config.classes)
        self.present_from = FOREGROUND_DARKNESS if self.train[0].region is None else ITEM_SHARE
        self.project = projector() if config.augment.threats else None
        # Object level: the item's own mask is the one region.
        self.object_level = judges_whole_items(model) and self.train[0].region is not None
        self.by_scanner = _members(self.train, lambda sample: sample.record.scanner)
        self.twin = {_scene(sample): sample for sample in self.train if not sample.annotations} if config.twins else {}
        if config.twins and not any(_scene(sample) in self.twin for sample in self.train if sample.annotations):
            raise ConfigError("training.twins needs a set that holds them: bagscan simulate --preset twins")
        self.by_label = _members(self.train, lambda sample: str(bool(sample.annotations)))

    def batch(self, rng: np.random.Generator) -> Batch:
        drawn: list[tuple[Tensor, Tensor, Tensor, list[int]]] = []
        while len(drawn) < self.config.batch_size:
            drawn += self._draw(rng)
        drawn = drawn[: self.config.batch_size]
        pixels, objects, presence, own_classes = zip(*drawn, strict=True)
        classes = torch.zeros(len(drawn), max(1, *map(len, own_classes)), dtype=torch.long)
        for row, own in zip(classes, own_classes, strict=True):
            row[: len(own)] = torch.tensor(own)
        labels = None
        if self.object_level:
            labels = torch.stack(presence).long() - 1
        elif not self.model.segments_differentiably:
            views = [View(p.numpy(), self.train[0].view.channels, self.train[0].view.quantity) for p in pixels]
            count = self._superpixels(*pixels[0].shape[-2:])
            labels = torch.from_numpy(np.stack([self.model.regioner.regions(v, count).labels for v in views])).long()
        return Batch(torch.stack(pixels), torch.stack(objects), classes, torch.stack(presence), labels, self.present_from)

    def _draw(self, rng: np.random.Generator) -> list[tuple[Tensor, Tensor, Tensor, list[int]]]:
        """One crop; or two cut and coloured alike: of a pair of twins, or of a benign item without and with a projected threat."""
        sample = self._pick(rng)
        seed, aim = int(rng.integers(2**31)), self._aim(sample, sample.masks(), rng)
        twin = self.twin.get(_scene(sample)) if sample.annotations and rng.random() < self.config.twins else None
        project = rng.random() < self.config.augment.threats and not (sample.annotations and sample.region is not None)
        drawn = [(sample, project), *([(twin, False)] if twin is not None else [(sample, False)] if project and sample.region is not None else [])]
        return [self._crop(s, aim, np.random.default_rng(seed), with_threat) for s, with_threat in drawn]

    def _crop(self, sample: Sample, aim: np.ndarray, rng: np.random.Generator, with_threat: bool = False) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Pixels, object numbers and presence of one crop, and the class of every object."""
        masks, config, names = sample.masks(), self.config.augment, sample.view.channels
        region = [] if sample.region is None else [sample.region[None]]
        # A threat is projected into all channels that there are, whichever of them the model sees.
        source = sample.whole if with_threat and sample.whole is not None else sample
        pixels, planes = draw_crop(source.pixels(), np.concatenate([masks, *region]), config, rng, source.view.channels, aim)
        masks_drawn = planes[: len(masks)]
        presence = planes[-1].float() if region else torch.from_numpy(darkness_map(pixels.numpy(), source.view.channels)).float()
        objects = torch.zeros(pixels.shape[-2:], dtype=torch.long)
        for number, mask in enumerate(masks_drawn, 1):
            objects[mask] = number
        classes = [1 + (self.classes.index(a.label) if a.label in self.classes else 0) for a in sample.annotations]
        # From a stream of its own, so that a pair is coloured alike.
        colours = np.random.default_rng(int(rng.integers(2**31)))
        if self.project and with_threat:
            pixels, projected = self.project(pixels, source.view.channels, presence > self.present_from, rng, config.threat_scale)
            if projected.any():
                classes.append(1)
                objects[projected] = len(classes)
        pixels = pixels[[source.view.channels.index(name) for name in names]]
        # Last: what was projected is seen by the same scanner.
        return recolour(pixels, config, colours, names), objects, presence, classes

    def _aim(self, sample: Sample, masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n, H, W) what crops are drawn near: the anomaly, or of a benign item any place on it.

        Not its middle: a network would learn that what lies off the middle is anomalous.
        """
        if sample.region is None:
            return masks
        if self.object_level:
            return sample.region[None]
        if len(masks):
            return masks
        places = np.argwhere(sample.region)
        aim = np.zeros((1, *sample.region.shape), bool)
        aim[(0, *places[int(rng.integers(len(places)))])] = True
        return aim

    def _pick(self, rng: np.random.Generator) -> Sample:
        for members, share in ((self.by_label, self.config.balance_labels), (self.by_scanner, self.config.balance_scanners)):
            if rng.random() < share:
                names = sorted(members)
                of_one = members[names[int(rng.integers(len(names)))]]
                return self.train[of_one[int(rng.integers(len(of_one)))]]
        return self.train[int(rng.integers(len(self.train)))]

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
        truth = segment_truth(share, present, batch.classes, config.positive_from, config.negative_to, config.background_weight, batch.present_from)
        chosen = self._choose(truth)
        rows, columns = chosen[:, 0], chosen[:, 1]
        with in_16_bits(image.device, config.bf16):
            logits = self.model.scorer(self.model.encoder(image, regions, chosen)).float()
        target, weight = truth.target[rows, columns], truth.weight[rows, columns]
        each = F.cross_entropy(logits, target, reduction="none", label_smoothing=config.label_smoothing)
        classification = (each * balanced(target, weight)).sum()
        margin = logits[:, 1:].logsumexp(1) - logits[:, 0]
        margins = torch.full_like(present, ABSENT).index_put((rows, columns), margin)
        ranking, verdict = ranking_loss(margins, truth), verdict_loss(margins, truth)
        parts |= {"classification": float(classification.detach()), "ranking": float(ranking.detach()), "verdict": float(verdict.detach())}
        return config.mu * (classification + config.ranking * ranking + config.verdict * verdict) + extra, parts

    def _segment(self, batch: Batch) -> tuple[tuple[Tensor, Grid], Tensor, dict[str, float]]:
        """Soft association of the batch with the regioner's own losses."""
        config, regioner = self.config, self.model.regioner
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
        extra = extra + config.channel_reconstruction * channel_reconstruction_loss(q, grid, features[:, 2 : 2 + channels])
        if config.label_reconstruction:
            small = F.interpolate(batch.objects[:, None].float(), size=(grid.height, grid.width), mode="nearest")[:, 0].long()
            extra = extra + config.label_reconstruction * label_reconstruction_loss(q, grid, small)
        return (q.detach() if config.mode == "separate" else q, grid), extra, {"segmentation": float(extra.detach())}

    def _choose(self, truth: SegmentTruth) -> Tensor:
        """(M, 2) regions to describe: all that count, or a balanced draw of them."""
        counted = truth.weight > 0
        if not self.model.encoder.needs_choice:
            return counted.nonzero()
        half = max(1, self.config.segments_per_scan // 2)
        rank = torch.rand(counted.shape, device=counted.device).masked_fill(~counted, 2.0)
        rows = []
        for wanted in (truth.target > 0, truth.target == 0):
            best, index = rank.masked_fill(~wanted, 2.0).topk(min(half, rank.shape[1]), dim=1, largest=False)
            image = torch.arange(len(rank), device=rank.device)[:, None].expand_as(index)
            rows.append(torch.stack([image, index], -1)[best < 2])
        return torch.cat(rows)

    def validate(self) -> dict[str, float]:
        """Within the bag; of items, how well benign and anomalous ones are told apart too."""
        with in_16_bits(self.model.device, self.config.bf16):
            bags = judge_samples(self.model, self.val)
        scores = summarise(bags)
        kept = {k: scores[k] for k in ("auroc", "hit_at_1", "hit_at_5")}
        if self.val[0].region is None:
            return {"monitor": (kept["auroc"] + kept["hit_at_1"]) / 2, **kept}
        kept["item_auroc"] = auroc(*scan_arrays(bags))
        # Of whole items there is nothing to rank within, of benign ones alone nothing at all.
        known = [v for v in (kept["item_auroc"], kept["auroc"]) if np.isfinite(v)]
        return {"monitor": float(np.mean(known)) if known else 0.0, **kept}


def _scene(sample: Sample) -> tuple[str, str, str, tuple[int, ...]]:
    """What the two scans of a pair share: set, number of the scene, view, and where the item lies."""
    about = sample.record.about
    return sample.record.id.partition(":")[0] if ":" in sample.record.id else "", about.get("scan", sample.record.id)[:5], about.get("view", ""), sample.record.window or ()


def judges_whole_items(model: Model) -> bool:
    """Whether one item is one region: the object level of paper A."""
    return model.regioner.kind != "superpixel"


def _members(samples: Sequence[Sample], key: Callable[[Sample], str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        found.setdefault(key(sample), []).append(i)
    return found


def judge_samples(model: Model, samples: Sequence[Sample], report: Callable[[str], None] | None = None) -> list[BagResult]:
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


def as_bag(sample: Sample, regions: Regions, scores: np.ndarray) -> BagResult:
    """Scores (n,) of a sample's regions in the form of the within-bag protocol."""
    view = sample.full_view()
    return judge_bag(regions, scores, darkness_map(view.pixels, view.channels), sample.annotations, sample.record.scanner, sample.region)
