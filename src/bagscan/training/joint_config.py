"""Settings of joint training (Bhowmik & Breckon, section II-B)."""

from __future__ import annotations

from dataclasses import dataclass, field

from bagscan.training.augment import AugmentConfig


@dataclass(frozen=True)
class JointConfig:
    """Settings of the joint training of regioner, encoder and scorer.

    Attributes:
        mode: ``joint``, ``separate`` (the classification has no gradient to the regioner) or
            ``two_stage`` (the regioner stays fixed).
        batch_size: crops per step.
        mu: weight of classification, ranking and verdict.
        ranking: weight of the best segments of an object against the worst benign ones of its bag.
        verdict: weight of anomalous crops against benign ones, each by the smooth maximum over its
            segments.
        compactness: weight lambda of the compactness loss.
        label_reconstruction: weight of the reconstruction of labels; 0 if the truth is boxes, whose
            outline is not that of the object.
        channel_reconstruction: weight of the reconstruction of channels.
        positive_from: overlap with an object from which a segment is anomalous.
        negative_to: overlap with objects up to which a segment is benign.
        segments_per_scan: segments to describe per scan, a balanced draw, for encoders that compute
            each region separately; other encoders describe all.
        balance_scanners: share of crops drawn with equal chances for all scanners, or for all
            classes of simulated devices.
        balance_labels: share of crops drawn with equal chances for scans with and without objects.
        twins: share of crops of anomalous items that are drawn together with the same crop of the
            benign twin (every simulated set has twins), so that nothing else distinguishes the two.
        validation_scans: largest number of scans that are evaluated during training, evenly from
            the validation split.
        components: weight of the segmentation of components (simulated items, encoder ``pooled``),
            see :class:`bagscan.training.components.Components`.
        augment: see :class:`AugmentConfig`.
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
    segments_per_scan: int = 12
    balance_scanners: float = 0.5
    balance_labels: float = 0.0
    twins: float = 0.0
    validation_scans: int = 80
    components: float = 0.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if self.mode not in ("joint", "separate", "two_stage"):
            raise ValueError(f"mode must be joint, separate or two_stage, got {self.mode!r}")
        if min(self.batch_size, self.validation_scans, self.segments_per_scan) < 1:
            raise ValueError(
                "batch_size, validation_scans and segments_per_scan must be at least 1"
            )
        if not 0 <= self.negative_to < self.positive_from <= 1:
            raise ValueError(
                f"expected 0 <= negative_to < positive_from <= 1, "
                f"got {self.negative_to} and {self.positive_from}"
            )
        if not (0 <= self.balance_scanners <= 1 and 0 <= self.balance_labels <= 1):
            raise ValueError("balance_scanners and balance_labels must be in [0, 1]")
