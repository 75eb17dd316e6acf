"""What bagscan says about a scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from bagscan.core.annotation import check_box
from bagscan.core.checks import freeze, require
from bagscan.core.reasons import Reason


class Decision(Enum):
    """``REVIEW`` is the answer to every error and every input out of range; never ``CLEAR``."""

    ALARM = "ALARM"
    CLEAR = "CLEAR"
    REVIEW = "REVIEW"


@dataclass(frozen=True)
class OperatingPoint:
    """Where scores turn into findings; stored beside the weights, never re-scaled per image.

    Attributes:
        threshold: a score at or above it is a finding. Score units.
        criterion: what it was chosen for, for example ``"max_fpr=0.05 per segment"``.
        chosen_on_split: name of the split; never the test split.
        expected_fpr: false-positive rate measured there; ``interval`` its 95 % interval.
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
    """One region that was scored.

    Attributes:
        mask: (H, W) bool of the whole view. polygon: (N, 2) float xy outline of its largest part.
        box_xyxy: half-open, pixels. label: ``"anomaly"``, or a class name.
        score: higher is more anomalous, score units of the model.
        expected_false_positive_rate: share of benign regions that score at least this much on
            the calibration split, or None for a model without calibration.
        kind: region kind, as in :class:`bagscan.core.Regions`.
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
    """The answer for one scan.

    Attributes:
        findings: by falling score. reasons: why a decision is ``REVIEW``. notes: what a reader of a decision should know.
        scores: per view id, (n,) score of every region, flagged or not; regions: per view id,
            the (H, W) label map they belong to. Both empty when screening failed.
        model_id: hash of the model folder. timings: seconds per stage.
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
        require(values == sorted(values, reverse=True), "findings must come by falling score")
        if self.decision is Decision.ALARM:
            require(bool(self.findings), "ALARM needs at least one finding")
        if self.decision is Decision.CLEAR:
            require(not self.findings, "CLEAR must not have findings")
            require(
                bool(self.scores) and all(map(len, self.scores.values())),
                "CLEAR needs every view examined",
            )
        if self.decision is Decision.REVIEW:
            require(bool(self.reasons), "REVIEW must say why")
