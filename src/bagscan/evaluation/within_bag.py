"""Within-bag protocol: compare the regions of an anomaly with the benign regions of the same bag.

On public datasets, brightness alone separates positive from negative images. The comparison within
a bag avoids this. Only foreground regions count, since background regions are easy negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import cKDTree

from bagscan.core import Annotation, Regions
from bagscan.core.about import About
from bagscan.evaluation.metrics import auroc, average_precision

POSITIVE_FROM, NEGATIVE_TO = 0.5, 0.1  # share of a region inside an object
MIN_FOREGROUND_ATTENUATION = 0.06  # mean attenuation above which a region is foreground
ITEM_SHARE = 0.5  # share of a region on an item from which it belongs to the item
HIGHEST_Z = 30.0  # effective Z that counts as attenuation 1


@dataclass(frozen=True)
class ScoredView:
    """Scores and truth of the n regions of a view, or of an item in a view.

    Attributes:
        scores: (n,) score of each region.
        attenuation: (n,) mean attenuation of each region in [0, 1], the scores of the control.
        overlap: (n, n_objects) share of each region inside each object.
        inside: (n,) share of each region inside any object.
        areas: (n,) pixels of each region.
        foreground: (n,) bool, regions that count.
        labels: class of each object.
        group: scanner, or class of a simulated device.
        scan: id of the scan; intervals resample scans. If empty, the view is a scan of its own.
        view: name of the view.
        about: metadata of the item and its bag.
        centres: (n, 2) row and column of the centre of each region; empty if unknown.
    """

    scores: np.ndarray
    attenuation: np.ndarray
    overlap: np.ndarray
    inside: np.ndarray
    areas: np.ndarray
    foreground: np.ndarray
    labels: tuple[str, ...]
    group: str
    scan: str = ""
    view: str = "0"
    about: About = field(default_factory=About)
    centres: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    @property
    def anomalous(self) -> bool:
        """True if the view or item holds an object."""
        return bool(self.labels)

    @property
    def of_anomalous_scan(self) -> bool:
        """True if the bag holds an object, in this view or in another."""
        return self.anomalous or bool(self.about.holds)

    @property
    def score(self) -> float:
        """The highest score of a foreground region; 0 without foreground."""
        return float(self.scores[self.foreground].max(initial=0))

    @property
    def truth(self) -> np.ndarray:
        """(n,) truth of each region, see :func:`segment_truth`."""
        return segment_truth(self.overlap, self.foreground)

    def segments_of(self, k: int) -> np.ndarray:
        """Return (n,) bool, the foreground regions of object ``k``.

        These are the regions that lie at least half in the object, and the region with the largest
        share in it. There is none if the object lies outside the foreground.
        """
        share = np.where(self.foreground, self.overlap[:, k], 0)
        return np.asarray(
            (share >= POSITIVE_FROM) | ((share == share.max(initial=0)) & (share > 0))
        )

    def marks(self, reach_px: float) -> np.ndarray:
        """Return (n,) bool, the foreground regions that none with a higher score lies close to.

        A reader sees flagged regions whose centres are within ``reach_px`` as one mark.
        """
        rank = np.where(self.foreground, self.scores, -np.inf).argsort(kind="stable").argsort()
        pairs = cKDTree(self.centres).query_pairs(reach_px, output_type="ndarray")
        lower = np.where(rank[pairs[:, 0]] < rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
        is_mark = self.foreground.copy()
        is_mark[lower] = False
        return is_mark

    def pixel_iou(self, threshold: float) -> float:
        """Return the intersection over union of flagged pixels and pixels of objects.

        Regions with a score of at least ``threshold`` are flagged. NaN if both sets are empty.
        """
        flagged = self.scores >= threshold
        common = float((self.areas * self.inside)[flagged].sum())
        union = float(self.areas[flagged].sum() + (self.areas * self.inside).sum()) - common
        return common / union if union else float("nan")


def attenuation_map(pixels: np.ndarray, channels: Sequence[str] = ()) -> np.ndarray:
    """Return the attenuation of a view, relative to its air.

    Air is the 98th percentile of brightness, since scanners show it anywhere from white to grey.

    Args:
        pixels: (C, H, W) with bright air.
        channels: names of the channels. Effective Z is ignored unless it is the only channel; then
            the result is effective Z divided by ``HIGHEST_Z``.

    Returns:
        (H, W) in [0, 1], 0 for air.
    """
    bright = pixels[[k for k in range(len(pixels)) if k >= len(channels) or channels[k] != "zeff"]]
    if not len(bright):
        return np.asarray((pixels[0] / HIGHEST_Z).clip(0, 1))
    grey = bright.mean(0)
    air = max(float(np.percentile(grey[::4, ::4], 98)), 1e-6)
    return np.asarray((1 - grey / air).clip(0, 1))


def segment_truth(overlap: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Return the truth of regions from their overlap with objects.

    Args:
        overlap: (n, n_objects) share of each region inside each object.
        foreground: (n,) bool.

    Returns:
        (n,) 1 for foreground regions at least half in an object, 0 for those at most a tenth in
        one, else -1 (left out). The foreground region with the largest share in an object is
        always 1.
    """
    largest = overlap.max(1, initial=0)
    truth = np.where(largest >= POSITIVE_FROM, 1, np.where(largest <= NEGATIVE_TO, 0, -1))
    truth[~foreground] = -1
    for k in range(overlap.shape[1]):
        share = np.where(foreground, overlap[:, k], 0)
        if share.max(initial=0) > 0:
            truth[share.argmax()] = 1
    return np.asarray(truth)


def region_means(regions: Regions, image: np.ndarray) -> np.ndarray:
    """Return the (n,) mean of an (H, W) image in each region."""
    if regions.labels.ndim == 3:
        return np.asarray((regions.labels * image).sum((1, 2)) / np.maximum(regions.areas(), 1))
    inside = regions.labels >= 0
    sums = np.bincount(regions.labels[inside], image[inside], minlength=regions.n)
    return np.asarray(sums / np.maximum(regions.areas(), 1))


def on_item(regions: Regions, item: np.ndarray) -> np.ndarray:
    """Return (n,) bool, the regions on an item.

    These lie at least half on the item. The region with the largest share on it is always included.

    Args:
        regions: n regions of the view.
        item: (H, W) bool.
    """
    share = regions.overlap(item)
    return np.asarray((share >= ITEM_SHARE) | ((share == share.max(initial=0)) & (share > 0)))


def score_bag(
    regions: Regions,
    scores: np.ndarray,
    attenuation: np.ndarray,
    annotations: Sequence[Annotation],
    group: str,
    item: np.ndarray | None = None,
) -> ScoredView:
    """Combine the regions, scores and annotations of a view, or of one item in it.

    Args:
        regions: n regions of the view.
        scores: (n,).
        attenuation: (H, W) from :func:`attenuation_map`.
        annotations: the objects.
        group: scanner, or class of a simulated device.
        item: (H, W) bool; only regions on the item are foreground. None for the whole view.
    """
    masks = [a.region(*regions.shape) for a in annotations]
    overlap, inside = np.zeros((regions.n, 0)), np.zeros(regions.n)
    if masks:
        overlap = np.stack([regions.overlap(mask) for mask in masks], 1)
        inside = regions.overlap(np.any(masks, axis=0))
    of_regions = region_means(regions, attenuation)
    return ScoredView(
        scores=np.asarray(scores, np.float64),  # the type of thresholds
        attenuation=of_regions,
        overlap=overlap,
        inside=inside,
        areas=regions.areas(),
        foreground=of_regions > MIN_FOREGROUND_ATTENUATION
        if item is None
        else on_item(regions, item),
        labels=tuple(a.label for a in annotations),
        group=group,
        centres=np.stack([region_means(regions, axis) for axis in np.indices(regions.shape)], 1),
    )


def hits(bag: ScoredView, scores: np.ndarray, n: int) -> np.ndarray:
    """Return (n_objects,) bool, the objects with at most ``n`` benign regions ranked before them.

    An object is a hit if its highest score is above that of the (n + 1)-th highest benign region.
    An object without a foreground region is a miss.

    Args:
        bag: the view.
        scores: (n_regions,), of the model or of the control.
        n: number of benign regions allowed before the object.
    """
    truth = bag.truth
    benign = np.sort(scores[truth == 0])[::-1]
    limit = benign[n] if len(benign) > n else -np.inf
    is_hit = []
    for k in range(bag.overlap.shape[1]):
        own = bag.segments_of(k)
        is_hit.append(bool(own.any() and scores[own].max() > limit))
    return np.array(is_hit, bool)


def _has_both_classes(bag: ScoredView) -> bool:
    truth = bag.truth
    return bool((truth == 1).any() and (truth == 0).any())


def bag_values(bags: Sequence[ScoredView], control: bool = False) -> dict[str, np.ndarray]:
    """Return the values that :func:`summarise` averages.

    These are ``auroc`` and ``average_precision`` per bag, for bags with anomalous and benign
    regions; and ``hit_at_1`` and ``hit_at_5`` per object.

    Args:
        bags: the views.
        control: use the scores of the control, attenuation alone.
    """
    values: dict[str, list[float]] = {
        "auroc": [],
        "average_precision": [],
        "hit_at_1": [],
        "hit_at_5": [],
    }
    for bag in bags:
        scores = bag.attenuation if control else bag.scores
        truth = bag.truth
        counted = truth >= 0
        if _has_both_classes(bag):
            values["auroc"].append(auroc(truth[counted], scores[counted]))
            values["average_precision"].append(average_precision(truth[counted], scores[counted]))
        values["hit_at_1"] += list(hits(bag, scores, 1))
        values["hit_at_5"] += list(hits(bag, scores, 5))
    return {key: np.array(entries, float) for key, entries in values.items()}


def value_scans(bags: Sequence[ScoredView]) -> dict[str, np.ndarray]:
    """Return the scan number of each value of :func:`bag_values`."""
    numbers = scan_numbers(bags)
    pairs = zip(numbers, bags, strict=True)
    per_bag = np.array([number for number, bag in pairs if _has_both_classes(bag)], int)
    per_object = np.repeat(numbers, [bag.overlap.shape[1] for bag in bags])
    return {
        "auroc": per_bag,
        "average_precision": per_bag,
        "hit_at_1": per_object,
        "hit_at_5": per_object,
    }


def scan_numbers(bags: Sequence[ScoredView]) -> np.ndarray:
    """Return the (n,) scan number of each view; views and items of a scan have the same number."""
    known: dict[str, int] = {}
    names = [bag.scan or f"of its own {i}" for i, bag in enumerate(bags)]
    return np.array([known.setdefault(name, len(known)) for name in names], int)


def segment_arrays(bags: Sequence[ScoredView]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, scores and scan numbers of all regions that count."""
    kept = [bag.truth >= 0 for bag in bags]
    truth = np.concatenate([bag.truth[k] for bag, k in zip(bags, kept, strict=True)])
    scores = np.concatenate([bag.scores[k] for bag, k in zip(bags, kept, strict=True)])
    number = np.concatenate(
        [np.full(int(k.sum()), i) for i, k in zip(scan_numbers(bags), kept, strict=True)]
    )
    return truth, scores, number


def view_arrays(views: Sequence[ScoredView]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, scores and scan numbers of views, or of items in views."""
    return (
        np.array([int(v.anomalous) for v in views]),
        np.array([v.score for v in views]),
        scan_numbers(views),
    )


def summarise(bags: Sequence[ScoredView], control: bool = False) -> dict[str, float]:
    """Average AUROC and AP over bags, and hit@1 and hit@5 over objects.

    Args:
        bags: the views.
        control: use the scores of the control, attenuation alone.

    Returns:
        ``auroc``, ``average_precision``, ``hit_at_1`` and ``hit_at_5``, NaN without values; and
        the counts ``bags`` and ``objects``.
    """
    values = bag_values(bags, control)
    means = {
        key: float(array.mean()) if len(array) else float("nan") for key, array in values.items()
    }
    return means | {"bags": float(len(values["auroc"])), "objects": float(len(values["hit_at_1"]))}


def only_class(bag: ScoredView, label: str) -> ScoredView | None:
    """Return the bag with the objects of one class only, or None if it has none.

    Regions of other objects are left out; they do not count as benign.
    """
    is_class = np.array([name == label for name in bag.labels], bool)
    if not is_class.any():
        return None
    in_other = bag.overlap[:, ~is_class].max(1, initial=0) > NEGATIVE_TO
    kept = ~in_other | (bag.overlap[:, is_class].max(1, initial=0) >= POSITIVE_FROM)
    overlap = bag.overlap[np.ix_(kept, is_class)]
    return replace(
        bag,
        scores=bag.scores[kept],
        attenuation=bag.attenuation[kept],
        overlap=overlap,
        inside=overlap.max(1, initial=0),
        areas=bag.areas[kept],
        foreground=bag.foreground[kept],
        centres=bag.centres[kept] if len(bag.centres) else bag.centres,
        labels=(label,) * int(is_class.sum()),
    )
