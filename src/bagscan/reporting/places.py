"""Flagged regions that touch are one place: a person looks at it once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, label

from bagscan.core import Report

TOUCHING_PX = 2  # regions so near to one another are one place


@dataclass(frozen=True)
class Place:
    """Flagged regions of one view that touch.

    Attributes:
        mask: (H, W) bool, of all of them. box_xyxy: around them, pixels. score: of the highest. rate: share of benign regions that
            score as high, where the model knows. regions: how many they are.
    """

    view_id: str
    mask: np.ndarray
    box_xyxy: tuple[float, float, float, float]
    score: float
    rate: float | None
    regions: int


def places_of(report: Report) -> list[Place]:
    """Places of a bag by falling score."""
    found: list[Place] = []
    for view_id in dict.fromkeys(finding.view_id for finding in report.findings):
        own = [
            finding for finding in report.findings if finding.view_id == view_id
        ]  # by falling score
        flagged = np.logical_or.reduce([finding.mask for finding in own])
        parts, n = label(
            binary_dilation(flagged, np.ones((3, 3), bool), iterations=TOUCHING_PX),
            np.ones((3, 3), int),
        )
        parts = np.where(flagged, parts, 0)
        number = [int(parts[finding.mask].max()) for finding in own]
        for k, window in enumerate(find_objects(parts, n), 1):
            members = [finding for finding, of in zip(own, number, strict=True) if of == k]
            rows, columns = window
            box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
            found.append(
                Place(
                    view_id,
                    parts == k,
                    box,
                    members[0].score,
                    members[0].expected_false_positive_rate,
                    len(members),
                )
            )
    return sorted(found, key=lambda place: -place.score)
