"""Places: flagged regions that touch, which a person inspects together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, label

from bagscan.core import Report

TOUCHING_PX = 2  # regions are dilated by this much; those that then overlap are one place


@dataclass(frozen=True)
class Place:
    """Flagged regions of one view that touch.

    Attributes:
        view_id: name of the view.
        mask: (H, W) bool, union of the regions.
        box_xyxy: (x1, y1, x2, y2) of the mask, in pixels.
        score: highest score of the regions, in [0, 1].
        rate: share of benign regions that score at least as high; None if the model does not
            know it.
        regions: number of regions.
        label: ``anomaly``, or the class of prohibited item of the highest region.
    """

    view_id: str
    mask: np.ndarray
    box_xyxy: tuple[float, float, float, float]
    score: float
    rate: float | None
    regions: int
    label: str


def places_of(report: Report) -> list[Place]:
    """Return the places of a bag by falling score."""
    places: list[Place] = []
    for view_id in dict.fromkeys(finding.view_id for finding in report.findings):
        # Findings are sorted by falling score, and so are the members of a place.
        findings = [finding for finding in report.findings if finding.view_id == view_id]
        flagged = np.logical_or.reduce([finding.mask for finding in findings])
        dilated = binary_dilation(flagged, np.ones((3, 3), bool), iterations=TOUCHING_PX)
        labels, n = label(dilated, np.ones((3, 3), int))
        labels = np.where(flagged, labels, 0)
        place_of = [int(labels[finding.mask].max()) for finding in findings]
        for k, window in enumerate(find_objects(labels, n), 1):
            members = [f for f, number in zip(findings, place_of, strict=True) if number == k]
            rows, columns = window
            box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
            best = members[0]
            rate = best.expected_false_positive_rate
            places.append(
                Place(view_id, labels == k, box, best.score, rate, len(members), best.label)
            )
    return sorted(places, key=lambda place: -place.score)
