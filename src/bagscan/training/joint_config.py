"""Settings of joint training (paper A, section II-B; methods page, 1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from bagscan.training.augment import AugmentConfig


@dataclass(frozen=True)
class JointConfig:
    """How the three parts are trained together.

    Attributes:
        mode: ``joint``, ``separate`` (no gradient of the classification reaches the regioner) or ``two_stage``
            (the regioner is left as it is). batch_size: crops a step.
        mu: weight of classification and ranking. compactness: lambda.
        ranking: weight of an object's best segments against the worst benign ones of its bag.
        verdict: weight of anomalous crops against benign ones, each by the smooth maximum over its segments.
        label_reconstruction: weight; 0 where truth is boxes, whose outline is not the object's.
        channel_reconstruction: weight.
        positive_from, negative_to: overlap of a segment that makes it anomalous or benign.
        background_weight: of air segments, which are benign beyond doubt.
        label_smoothing: share of the truth given to the other classes.
        segments_per_scan: drawn, balanced, for encoders that pay per region; others take all.
        balance_scanners: share of crops drawn from all scanners equally often, small ones too.
        balance_labels: share of crops drawn from scans with and without objects equally often.
        twins: share of crops of anomalous items that are drawn together with the same crop of the scan
            without the anomaly (sets with ``twins: true``), so that nothing else tells the two apart.
        validation_scans: judged while training, spread evenly through the validation split.
        components: weight of telling what an item is made of (simulated items, encoder ``pooled``); see
            :class:`bagscan.training.components.Components`.
        bf16: whether encoder and scorer calculate in 16 bits, twice as fast for dense convolutions; only where the device has it.
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
    background_weight: float = 0.1
    label_smoothing: float = 0.02
    segments_per_scan: int = 12
    balance_scanners: float = 0.5
    balance_labels: float = 0.0
    twins: float = 0.0
    validation_scans: int = 80
    components: float = 0.0
    bf16: bool = False
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
                f"expected 0 <= negative_to < positive_from <= 1, got {self.negative_to} and {self.positive_from}"
            )
        if not (
            0 <= self.balance_scanners <= 1
            and 0 <= self.balance_labels <= 1
            and 0 <= self.label_smoothing < 1
        ):
            raise ValueError(
                "balance_scanners, balance_labels and label_smoothing are shares between 0 and 1"
            )
