"""What every segment of a batch should be called, and how much it counts (methods page, 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.association import Grid, pool, to_cells
from bagscan.evaluation.within_bag import FOREGROUND_DARKNESS

MIN_SHARE = 0.02  # of a segment that an object must fill to be found by it
ABSENT = -1e4  # a score that loses against all others; -inf would give NaN gradients


@dataclass(frozen=True)
class Batch:
    """Crops and their truth.

    Attributes:
        pixels: (B, C, P, P). presence: (B, P, P) what makes a region foreground: darkness, or lying on the item.
        present_from: mean presence above which a region is.
        objects: (B, P, P) int64 number of the object at each pixel, from 1; 0 where there is none.
        classes: (B, A) int64 class of objects 1..A, from 1; 0 where there are fewer.
        labels: (B, P, P) hard regions, from regioners that do not learn.
        made_of: (B, K, p, p) share of every kind of component, where what items are made of is learnt too.
    """

    pixels: Tensor
    objects: Tensor
    classes: Tensor
    presence: Tensor
    labels: Tensor | None
    present_from: float = FOREGROUND_DARKNESS
    made_of: Tensor | None = None

    def planes(self) -> Tensor:
        """(B, A + 1, P, P): a 0/1 plane for every object, and presence."""
        numbers = torch.arange(1, self.classes.shape[1] + 1, device=self.objects.device)[
            :, None, None
        ]
        return torch.cat([(self.objects[:, None] == numbers).float(), self.presence[:, None]], 1)


@dataclass(frozen=True)
class SegmentTruth:
    """Truth per segment.

    Attributes:
        target: (B, K) int64 class, 0 benign. weight: (B, K) float, 0 for ignored ones.
        owned: (B, K, A) bool, the segments that stand for every object.
        benign: (B, K) bool, benign ones that are not air.
    """

    target: Tensor
    weight: Tensor
    owned: Tensor
    benign: Tensor


def soft_shares(batch: Batch, q: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Share of every object in each soft superpixel (B, K, A), and its presence (B, K)."""
    planes = batch.planes()
    if planes.shape[-2:] != (grid.height, grid.width):
        planes = F.interpolate(planes, size=(grid.height, grid.width), mode="area")
    pooled = pool(q.detach(), to_cells(F.pad(planes, grid.padding), grid)).flatten(1, 2)
    return pooled[..., :-1], pooled[..., -1]


def hard_shares(batch: Batch) -> tuple[Tensor, Tensor]:
    """The same of hard regions; presence is -1 where a region does not exist."""
    assert batch.labels is not None
    b, n = len(batch.labels), max(1, int(batch.labels.max()) + 1)
    index = (torch.arange(b, device=batch.labels.device)[:, None, None] * n + batch.labels).reshape(
        -1
    )
    inside = (batch.labels >= 0).reshape(-1)
    columns = (
        torch.cat([batch.planes(), torch.ones_like(batch.presence)[:, None]], 1)
        .movedim(1, -1)
        .flatten(0, 2)
    )
    sums = (
        columns.new_zeros(b * n, columns.shape[1])
        .index_add_(0, index[inside], columns[inside])
        .reshape(b, n, -1)
    )
    means = sums / sums[..., -1:].clamp(min=1)
    return means[..., :-2], torch.where(sums[..., -1] > 0, means[..., -2], means.new_tensor(-1.0))


def segment_truth(
    share: Tensor,
    presence: Tensor,
    classes: Tensor,
    positive_from: float,
    negative_to: float,
    background_weight: float,
    present_from: float = FOREGROUND_DARKNESS,
) -> SegmentTruth:
    """Name every segment from its overlap with the objects.

    Args:
        share: (B, K, A). presence: (B, K), negative where the region does not exist.
        classes: (B, A), 0 where there is no such object.
        positive_from, negative_to: a segment at least so far inside an object is anomalous, one at
            most so far benign, the rest are ignored. The best segment of every object is its own
            even where it reaches ``positive_from`` nowhere.
        background_weight: of what is no foreground: air, or what lies beside the item. present_from: of foreground.

    Returns:
        Truth in which an object's segments weigh 1/√count each: a large object counts more than a
        small one, but not as much more as it has segments.
    """
    foreground = presence > present_from
    inside = share * foreground[..., None]
    best = (inside == inside.amax(1, keepdim=True)) & (inside > min(negative_to, MIN_SHARE))
    owned = ((inside >= positive_from) | best) & (classes > 0)[:, None]
    positive = owned.any(-1)
    overlapped = share.sum(-1) > negative_to
    benign = ~overlapped & ~positive & foreground
    air = ~overlapped & ~positive & ~foreground & (presence >= 0)
    each = owned.sum(1, keepdim=True).clamp(min=1).rsqrt()
    owner = torch.where(owned, inside, inside.new_tensor(-1.0)).argmax(-1)
    target = classes.gather(1, owner) * positive
    weight = (owned * each).amax(-1) + benign.float() + background_weight * air.float()
    return SegmentTruth(target, weight, owned, benign)


def balanced(target: Tensor, weight: Tensor) -> Tensor:
    """Weights that sum to 1, half for the anomalous and half for the benign segments of the batch."""
    positive = weight * (target > 0)
    negative = weight * (target == 0)
    return 0.5 * (
        positive / positive.sum().clamp(min=1e-6) + negative / negative.sum().clamp(min=1e-6)
    )


def ranking_loss(margin: Tensor, truth: SegmentTruth) -> Tensor:
    """How far every object's best segments fall short of the worst benign ones beside them.

    softplus(logsumexp over benign − logsumexp over the object's), averaged over objects: a smooth
    form of hit@1 that weighs segments by how much they matter, the object's clearest part and the
    bag's most suspect clutter most. A box needs only some segment that gives it away.

    Args:
        margin: (B, K) log-odds of anomaly, :data:`ABSENT` where a segment was not scored.
    """
    own = margin[..., None].masked_fill(~truth.owned, ABSENT).logsumexp(1)
    against = margin.masked_fill(~truth.benign, ABSENT).logsumexp(1)
    counted = own > ABSENT / 2
    short = F.softplus(against[:, None] - own) * counted
    return short.sum() / counted.sum().clamp(min=1)


def verdict_loss(margin: Tensor, truth: SegmentTruth) -> Tensor:
    """How far anomalous crops fall short of benign ones by their worst segment: softplus over all pairs of the batch.

    What decides about an item is its worst segment, and items are compared with one another: the
    ranking inside a bag says nothing of a benign one's worst segment. Pairs leave the level of scores
    free; a cross-entropy of the smooth maximum would want single segments far below 0, against the
    balanced classification, which wants them around it.

    Args:
        margin: (B, K) log-odds of anomaly, :data:`ABSENT` where a segment was not scored.
    """
    counted = truth.owned.any(-1) | truth.benign
    verdict = margin.masked_fill(~counted, ABSENT).logsumexp(1)
    anomalous = truth.owned.flatten(1).any(1)
    own, other = verdict[anomalous], verdict[counted.any(1) & ~anomalous]
    pairs = F.softplus(other[None] - own[:, None])
    return pairs.sum() / max(1, pairs.numel())
