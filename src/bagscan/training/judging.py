"""Verdicts of a model on items and on whole scans, in the form that the tables take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bagscan.evaluation.items import MISSED, Judged
from bagscan.evaluation.within_bag import BagResult
from bagscan.training.samples import Sample


def verdicts(samples: Sequence[Sample], bags: Sequence[BagResult]) -> list[Judged]:
    """What was judged under the within-bag protocol, by item, view and scan."""
    return [as_judged(sample, bag.truth, bag.scores, bag.foreground, bag.darkness) for sample, bag in zip(samples, bags, strict=True)]


def as_judged(sample: Sample, truth: np.ndarray, scores: np.ndarray, foreground: np.ndarray, darkness: np.ndarray, found: bool = True) -> Judged:
    """One verdict.

    Args:
        truth, scores, foreground, darkness: (n,) of its regions. found: False for an item that no detector found; it is below every threshold.
    """
    record = sample.record
    kept = foreground.astype(bool)
    return Judged(
        id=record.id,
        scan=record.scan,
        view=record.about.view or "0",
        anomalous=bool(record.annotations),
        score=float(scores[kept].max(initial=0)) if found else MISSED,
        about=record.about,
        segment_truth=truth[kept],
        segment_scores=scores[kept],
        found=found,
        segment_darkness=darkness[kept],
    )
