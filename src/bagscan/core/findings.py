"""Results of screening a scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from bagscan.core.annotation import check_box
from bagscan.core.checks import freeze, require
from bagscan.core.reasons import Reason


class Decision(Enum):
    """Verdict of a scan. Errors and implausible input result in ``REVIEW``, never in ``CLEAR``."""

    ALARM = "ALARM"
    CLEAR = "CLEAR"
    REVIEW = "REVIEW"


@dataclass(frozen=True)
class OperatingPoint:
    """Score threshold of a model, stored with its weights and never rescaled per image.

    Attributes:
        threshold: a region with this score or above is a finding.
        criterion: criterion of the choice, for example ``"max_fpr=0.05 per segment"``.
        chosen_on_split: name of the split; never the test split.
        expected_fpr: false-positive rate measured on that split, in [0, 1].
        interval: 95 % interval of ``expected_fpr``.

    Raises:
        ValueError: a value is out of range, or the split is the test split.
    """

    threshold: float
    criterion: str
    chosen_on_split: str
    expected_fpr: float
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        require(
            bool(np.isfinite(self.threshold)), f"threshold must be finite, got {self.threshold}"
        )
        require(
            0 <= self.expected_fpr <= 1, f"expected_fpr must be in [0, 1], got {self.expected_fpr}"
        )
        low, high = self.interval
        require(
            0 <= low <= high <= 1,
            f"interval must satisfy 0 <= low <= high <= 1, got {self.interval}",
        )
        require(
            self.chosen_on_split != "test",
            "an operating point must not be chosen on the test split",
        )


@dataclass(frozen=True)
class Finding:
    """Flagged region of a view.

    Attributes:
        view_id: name of the view.
        mask: (H, W) bool mask of the size of the view.
        polygon: (N, 2) float xy outline of the largest connected piece of the mask.
        box_xyxy: half-open box in pixels.
        label: ``"anomaly"``, or a class name.
        score: score of the model; higher is more anomalous.
        expected_false_positive_rate: fraction of benign regions of the calibration split with
            this score or above; None for a model without calibration.
        kind: region kind, as in :class:`bagscan.core.Regions`.

    Raises:
        ValueError: mask or polygon has a wrong shape or type, the mask is empty, the score is not
            finite, or the box is empty.
    """

    view_id: str
    mask: np.ndarray
    polygon: np.ndarray
    box_xyxy: tuple[float, float, float, float]
    label: str
    score: float
    expected_false_positive_rate: float | None
    kind: str

    def __post_init__(self) -> None:
        require(self.mask.ndim == 2 and self.mask.dtype == bool, "mask must be (H, W) bool")
        require(bool(self.mask.any()), "a finding needs at least one pixel")
        require(
            self.polygon.ndim == 2 and self.polygon.shape[1] == 2,
            f"polygon must be (N, 2), got {self.polygon.shape}",
        )
        require(bool(np.isfinite(self.score)), f"score must be finite, got {self.score}")
        check_box(self.box_xyxy)
        object.__setattr__(self, "mask", freeze(self.mask))
        object.__setattr__(self, "polygon", freeze(self.polygon))


@dataclass(frozen=True)
class Report:
    """Result of screening one scan.

    Attributes:
        scan_id: id of the scan.
        decision: verdict of the scan.
        findings: flagged regions, in order of decreasing score.
        model_id: hash of the model folder.
        threshold: threshold of the operating point, or None.
        reasons: reasons of a ``REVIEW``.
        scores: (n,) scores of all regions, flagged or not, by view id; empty if screening failed.
        regions: (H, W) label map of these regions, by view id; empty if screening failed.
        timings: seconds by stage.
        notes: remarks for the reader of the scan.

    Raises:
        ValueError: the fields contradict each other, such as ``CLEAR`` with findings.
    """

    scan_id: str
    decision: Decision
    findings: tuple[Finding, ...]
    model_id: str
    threshold: float | None = None
    reasons: tuple[Reason, ...] = ()
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values = [finding.score for finding in self.findings]
        require(values == sorted(values, reverse=True), "findings must be in decreasing score")
        if self.decision is Decision.ALARM:
            require(bool(self.findings), "ALARM needs at least one finding")
        if self.decision is Decision.CLEAR:
            require(not self.findings, "CLEAR must not have findings")
            require(
                bool(self.scores) and all(map(len, self.scores.values())),
                "CLEAR needs scores of every view",
            )
        if self.decision is Decision.REVIEW:
            require(bool(self.reasons), "REVIEW needs at least one reason")
