"""The within-bag protocol: is the threat's superpixel scored above the bag's own benign ones?

Whole-image scores on public sets can be had from brightness alone, so regions are compared inside
the same bag. Only the bag's foreground counts, since background cells make any score look good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bagscan.core import Annotation, Regions
from bagscan.core.about import About
from bagscan.evaluation.metrics import auroc, average_precision

POSITIVE_FROM, NEGATIVE_TO = 0.5, 0.1
FOREGROUND_DARKNESS = 0.06
ITEM_SHARE = 0.5  # of a region that must lie on the item that is judged
HIGHEST_Z = 30.0


@dataclass(frozen=True)
class JudgedView:
    """A view, or one item in it, whose regions were judged.

    Attributes:
        scores: (n,) of every region. darkness: (n,) the control's scores.
        overlap: (n, n_objects) share of each region inside each object's box.
        inside: (n,) share inside any of them. areas: (n,) pixels.
        foreground: (n,) bool. labels: class of each object. group: scanner.
        scan: that this is a view or an item of: what intervals resample. Empty for one of its own.
        view: name of the view. about: what is known of the item and its bag.
    """

    scores: np.ndarray
    darkness: np.ndarray
    overlap: np.ndarray
    inside: np.ndarray
    areas: np.ndarray
    foreground: np.ndarray
    labels: tuple[str, ...]
    group: str
    scan: str = ""
    view: str = "0"
    about: About = field(default_factory=About)

    @property
    def anomalous(self) -> bool:
        """Whether it holds an object."""
        return bool(self.labels)

    @property
    def of_anomalous_scan(self) -> bool:
        """Whether its bag does, in this view or another."""
        return self.anomalous or bool(self.about.holds)

    @property
    def score(self) -> float:
        """That of its worst segment (paper A)."""
        return float(self.scores[self.foreground].max(initial=0))

    @property
    def truth(self) -> np.ndarray:
        """(n,) 1 anomaly, 0 benign, -1 left out (border of a box, or background)."""
        return segment_truth(self.overlap, self.foreground)

    def segments_of(self, k: int) -> np.ndarray:
        """(n,) bool: the foreground segments that stand for object k; none where it lies on air."""
        share = np.where(self.foreground, self.overlap[:, k], 0)
        return np.asarray(
            (share >= POSITIVE_FROM) | ((share == share.max(initial=0)) & (share > 0))
        )

    def pixel_iou(self, threshold: float) -> float:
        """Pixels of regions scored at ``threshold`` or above against pixels of objects: intersection
        over union; NaN where both are empty."""
        flagged = self.scores >= threshold
        common = float((self.areas * self.inside)[flagged].sum())
        union = float(self.areas[flagged].sum() + (self.areas * self.inside).sum()) - common
        return common / union if union else float("nan")


def darkness_map(pixels: np.ndarray, channels: Sequence[str] = ()) -> np.ndarray:
    """(C, H, W) view with bright air -> (H, W), 0 at the view's own air, up to 1.

    Air is the 98th percentile of brightness: scanners draw it anywhere from white to grey.

    Args:
        channels: names; effective Z is no brightness, and of a view of it alone is taken out of 30.
    """
    bright = pixels[[k for k in range(len(pixels)) if k >= len(channels) or channels[k] != "zeff"]]
    if not len(bright):
        return np.asarray((pixels[0] / HIGHEST_Z).clip(0, 1))
    grey = bright.mean(0)
    air = max(float(np.percentile(grey[::4, ::4], 98)), 1e-6)
    return np.asarray((1 - grey / air).clip(0, 1))


def segment_truth(overlap: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Labels of regions from their overlap with objects.

    1 where at least half lies in an object, 0 where at most a tenth does and the region is
    foreground, -1 otherwise. The best-overlapping foreground region of every object is always 1.
    """
    most = overlap.max(1, initial=0)
    truth = np.where(most >= POSITIVE_FROM, 1, np.where(most <= NEGATIVE_TO, 0, -1))
    truth[~foreground] = -1
    for k in range(overlap.shape[1]):
        share = np.where(foreground, overlap[:, k], 0)
        if share.max(initial=0) > 0:
            truth[share.argmax()] = 1
    return np.asarray(truth)


def region_means(regions: Regions, image: np.ndarray) -> np.ndarray:
    """(n,) mean of a (H, W) image in every region."""
    if regions.labels.ndim == 3:
        return np.asarray((regions.labels * image).sum((1, 2)) / np.maximum(regions.areas(), 1))
    inside = regions.labels >= 0
    sums = np.bincount(regions.labels[inside], image[inside], minlength=regions.n)
    return np.asarray(sums / np.maximum(regions.areas(), 1))


def on_item(regions: Regions, item: np.ndarray) -> np.ndarray:
    """(n,) bool: regions that lie on an item by half; the one that holds most of it always does."""
    share = regions.overlap(item)
    return np.asarray((share >= ITEM_SHARE) | ((share == share.max(initial=0)) & (share > 0)))


def judge_bag(
    regions: Regions,
    scores: np.ndarray,
    darkness: np.ndarray,
    annotations: Sequence[Annotation],
    group: str,
    item: np.ndarray | None = None,
) -> JudgedView:
    """Bring one bag, or one item of it, into the protocol's form.

    Args:
        scores: (n,). darkness: (H, W) from :func:`darkness_map`.
        item: (H, W) bool; only regions on it are foreground. None for the whole bag.
    """
    masks = [a.region(*regions.shape) for a in annotations]
    overlap = (
        np.stack([regions.overlap(m) for m in masks], 1) if masks else np.zeros((regions.n, 0))
    )
    inside = regions.overlap(np.any(masks, axis=0)) if masks else np.zeros(regions.n)
    dark = region_means(regions, darkness)
    return JudgedView(
        scores=np.asarray(scores, np.float64),  # as a threshold is
        darkness=dark,
        overlap=overlap,
        inside=inside,
        areas=regions.areas(),
        foreground=dark > FOREGROUND_DARKNESS if item is None else on_item(regions, item),
        labels=tuple(a.label for a in annotations),
        group=group,
    )


def hits(bag: JudgedView, scores: np.ndarray, n: int) -> np.ndarray:
    """(n_objects,) bool: the object's best region scores above the (n + 1)-th best benign one.

    At most n benign regions stand before it (methods page, 6). An object without any foreground
    region is a miss.
    """
    truth = bag.truth
    benign = np.sort(scores[truth == 0])[::-1]
    bar = benign[n] if len(benign) > n else -np.inf
    found = []
    for k in range(bag.overlap.shape[1]):
        own = bag.segments_of(k)
        found.append(bool(own.any() and scores[own].max() > bar))
    return np.array(found, bool)


def bag_values(bags: Sequence[JudgedView], control: bool = False) -> dict[str, np.ndarray]:
    """What :func:`summarise` averages: ``auroc`` and ``average_precision`` per bag (only bags with
    both kinds of segment), ``hit_at_1`` and ``hit_at_5`` per object.

    Args:
        control: score by darkness alone instead.
    """
    values: dict[str, list[float]] = {
        "auroc": [],
        "average_precision": [],
        "hit_at_1": [],
        "hit_at_5": [],
    }
    for bag in bags:
        scores = bag.darkness if control else bag.scores
        truth = bag.truth
        counted = truth >= 0
        if (truth == 1).any() and (truth == 0).any():
            values["auroc"].append(auroc(truth[counted], scores[counted]))
            values["average_precision"].append(average_precision(truth[counted], scores[counted]))
        values["hit_at_1"] += list(hits(bag, scores, 1))
        values["hit_at_5"] += list(hits(bag, scores, 5))
    return {key: np.array(found, float) for key, found in values.items()}


def value_scans(bags: Sequence[JudgedView]) -> dict[str, np.ndarray]:
    """The scan, by number, of every value of :func:`bag_values`."""
    number = scan_numbers(bags)
    per_bag = np.array(
        [
            k
            for k, bag in zip(number, bags, strict=True)
            if (bag.truth == 1).any() and (bag.truth == 0).any()
        ],
        int,
    )
    per_object = np.repeat(number, [bag.overlap.shape[1] for bag in bags])
    return {
        "auroc": per_bag,
        "average_precision": per_bag,
        "hit_at_1": per_object,
        "hit_at_5": per_object,
    }


def scan_numbers(bags: Sequence[JudgedView]) -> np.ndarray:
    """(n,) number of the scan of each bag: views and items of one have the same."""
    known: dict[str, int] = {}
    return np.array(
        [known.setdefault(bag.scan or f"of its own {i}", len(known)) for i, bag in enumerate(bags)],
        int,
    )


def segment_arrays(bags: Sequence[JudgedView]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(truth, scores, number of the scan) of every segment that counts."""
    kept = [bag.truth >= 0 for bag in bags]
    truth = np.concatenate([bag.truth[k] for bag, k in zip(bags, kept, strict=True)])
    scores = np.concatenate([bag.scores[k] for bag, k in zip(bags, kept, strict=True)])
    number = np.concatenate(
        [np.full(int(k.sum()), i) for i, k in zip(scan_numbers(bags), kept, strict=True)]
    )
    return truth, scores, number


def view_arrays(views: Sequence[JudgedView]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(truth, scores, number of the scan) of views, or of items in them."""
    return (
        np.array([int(v.anomalous) for v in views]),
        np.array([v.score for v in views]),
        scan_numbers(views),
    )


def summarise(bags: Sequence[JudgedView], control: bool = False) -> dict[str, float]:
    """AUROC and AP per segment averaged over bags, hit@1 and hit@5 averaged over objects.

    Returns:
        ``auroc``, ``average_precision``, ``hit_at_1``, ``hit_at_5``, ``bags``, ``objects``; NaN
        where no bag has both kinds of segment.
    """
    values = bag_values(bags, control)
    means = {
        key: float(found.mean()) if len(found) else float("nan") for key, found in values.items()
    }
    return means | {"bags": float(len(values["auroc"])), "objects": float(len(values["hit_at_1"]))}


def only_class(bag: JudgedView, label: str) -> JudgedView | None:
    """The bag with one class's objects; regions of other objects are left out, not benign."""
    mine = np.array([name == label for name in bag.labels], bool)
    if not mine.any():
        return None
    other = bag.overlap[:, ~mine].max(1, initial=0) > NEGATIVE_TO
    clean = ~other | (bag.overlap[:, mine].max(1, initial=0) >= POSITIVE_FROM)
    return replace(
        bag,
        scores=bag.scores[clean],
        darkness=bag.darkness[clean],
        overlap=bag.overlap[np.ix_(clean, mine)],
        inside=bag.overlap[np.ix_(clean, mine)].max(1, initial=0),
        areas=bag.areas[clean],
        foreground=bag.foreground[clean],
        labels=(label,) * int(mine.sum()),
    )
