"""Training targets of segments: class and weight of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.association import Grid, pool, to_cells
from bagscan.evaluation.within_bag import MIN_FOREGROUND_ATTENUATION

MIN_SHARE = 0.02  # share of its best segment that an object must fill to own it
BACKGROUND_WEIGHT = 0.1  # of benign segments in the background: air, or beside the item
ABSENT = -1e4  # lowest score; -inf would give NaN gradients


@dataclass(frozen=True)
class Batch:
    """Crops and their truth.

    Attributes:
        pixels: (B, C, P, P) float32.
        objects: (B, P, P) int64 number of the object at each pixel, from 1; 0 without an object.
        classes: (B, A) int64 class of objects 1 to A, from 1; 0 if there are fewer objects.
        presence: (B, P, P) float32, foreground: attenuation, or the mask of the item.
        labels: (B, P, P) int64 hard regions, of regioners without gradients.
        present_from: mean presence above which a region is foreground.
        made_of: (B, K, p, p) share of each kind of component, if components are learnt.
    """

    pixels: Tensor
    objects: Tensor
    classes: Tensor
    presence: Tensor
    labels: Tensor | None
    present_from: float = MIN_FOREGROUND_ATTENUATION
    made_of: Tensor | None = None

    def planes(self) -> Tensor:
        """Return (B, A + 1, P, P): a 0/1 plane for each object, and presence."""
        numbers = torch.arange(1, self.classes.shape[1] + 1, device=self.objects.device)[
            :, None, None
        ]
        return torch.cat([(self.objects[:, None] == numbers).float(), self.presence[:, None]], 1)


@dataclass(frozen=True)
class SegmentTruth:
    """Truth per segment.

    Attributes:
        target: (B, K) int64 class, 0 for benign.
        weight: (B, K) float32, 0 for ignored segments.
        owned: (B, K, A) bool, segments that represent each object.
        benign: (B, K) bool, benign segments in the foreground.
    """

    target: Tensor
    weight: Tensor
    owned: Tensor
    benign: Tensor


def soft_shares(batch: Batch, q: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return object shares (B, K, A) and presence (B, K) of soft superpixels."""
    planes = batch.planes()
    if planes.shape[-2:] != (grid.height, grid.width):
        planes = F.interpolate(planes, size=(grid.height, grid.width), mode="area")
    pooled = pool(q.detach(), to_cells(F.pad(planes, grid.padding), grid)).flatten(1, 2)
    return pooled[..., :-1], pooled[..., -1]


def hard_shares(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return object shares (B, K, A) and presence (B, K) of hard regions.

    Presence is -1 for a region that does not exist.
    """
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
    present_from: float = MIN_FOREGROUND_ATTENUATION,
) -> SegmentTruth:
    """Label every segment by its overlap with the objects.

    A segment is anomalous if an object fills at least ``positive_from`` of it, benign if objects
    fill at most ``negative_to``, and ignored in between. The best segment of each object is
    anomalous even if it does not reach ``positive_from``.

    Args:
        share: (B, K, A) share of each object in each segment.
        presence: (B, K), negative if the region does not exist.
        classes: (B, A), 0 if the object does not exist.
        positive_from: share from which a segment is anomalous.
        negative_to: share up to which a segment is benign.
        present_from: presence above which a segment is foreground.

    Returns:
        Truth in which the segments of an object weigh 1/√count each. A large object counts more
        than a small one, but less than in proportion to its segments.
    """
    foreground = presence > present_from
    inside = share * foreground[..., None]
    best = (inside == inside.amax(1, keepdim=True)) & (inside > min(negative_to, MIN_SHARE))
    owned = ((inside >= positive_from) | best) & (classes > 0)[:, None]
    positive = owned.any(-1)
    overlapped = share.sum(-1) > negative_to
    benign = ~overlapped & ~positive & foreground
    air = ~overlapped & ~positive & ~foreground & (presence >= 0)
    object_weight = owned.sum(1, keepdim=True).clamp(min=1).rsqrt()
    owner = torch.where(owned, inside, inside.new_tensor(-1.0)).argmax(-1)
    target = classes.gather(1, owner) * positive
    weight = (owned * object_weight).amax(-1) + benign.float() + BACKGROUND_WEIGHT * air.float()
    return SegmentTruth(target, weight, owned, benign)


def balance_weights(target: Tensor, weight: Tensor) -> Tensor:
    """Return weights that sum to 1, half for anomalous and half for benign segments."""
    positive = weight * (target > 0)
    negative = weight * (target == 0)
    return 0.5 * (
        positive / positive.sum().clamp(min=1e-6) + negative / negative.sum().clamp(min=1e-6)
    )


def ranking_loss(margin: Tensor, truth: SegmentTruth) -> Tensor:
    """Return how far the best segments of objects fall short of the worst benign ones in their bag.

    The loss is softplus(logsumexp over benign − logsumexp over the object's segments), averaged
    over objects. It is a smooth form of hit@1, in which the clearest segment of the object and the
    most suspicious clutter weigh most. A box needs a single segment that reveals the object.

    Args:
        margin: (B, K) log-odds of anomaly, :data:`ABSENT` for segments without a score.
        truth: truth of the segments.
    """
    object_score = margin[..., None].masked_fill(~truth.owned, ABSENT).logsumexp(1)
    benign_score = margin.masked_fill(~truth.benign, ABSENT).logsumexp(1)
    has_score = object_score > ABSENT / 2
    shortfall = F.softplus(benign_score[:, None] - object_score) * has_score
    return shortfall.sum() / has_score.sum().clamp(min=1)


def verdict_loss(margin: Tensor, truth: SegmentTruth) -> Tensor:
    """Return how far anomalous crops fall short of benign ones by their worst segment.

    The loss is softplus, averaged over all pairs of the batch. A verdict depends on the worst
    segment of an item, which the ranking within a bag does not limit for benign items. Pairs leave
    the level of scores free. A cross-entropy of the smooth maximum would push segments far below 0,
    while the balanced classification wants them around 0.

    Args:
        margin: (B, K) log-odds of anomaly, :data:`ABSENT` for segments without a score.
        truth: truth of the segments.
    """
    has_truth = truth.owned.any(-1) | truth.benign
    verdict = margin.masked_fill(~has_truth, ABSENT).logsumexp(1)
    is_anomalous = truth.owned.flatten(1).any(1)
    anomalous_verdict, benign_verdict = (
        verdict[is_anomalous],
        verdict[has_truth.any(1) & ~is_anomalous],
    )
    pairs = F.softplus(benign_verdict[None] - anomalous_verdict[:, None])
    return pairs.sum() / max(1, pairs.numel())
