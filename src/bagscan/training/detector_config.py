"""Settings of detector training."""

from __future__ import annotations

from dataclasses import dataclass

BACKBONES = ("trained", "frozen", "fixed_statistics")


@dataclass(frozen=True)
class DetectorTaskConfig:
    """Settings of detector training on crops.

    Attributes:
        crop_px: side of a crop in pixels of the view, a multiple of 64.
        batch: crops per step.
        large_px: side of larger crops, which hold whole devices.
        large: share of steps that use larger crops; fewer of them, so that the area of a batch
            stays the same.
        twins: share of a batch that consists of pairs of twins.
        alone: share of a batch that consists of anomalous crops without their twin; the rest of
            the batch is benign.
        clutter: share of benign crops at random places of the view.
        prohibited: share of the other benign crops around a prohibited item of a random class.
        scale: logarithm of the largest change of size.
        noise: largest standard deviation of noise on the features.
        overlay: share of crops that get the contents of another view on top; a crop and its twin
            get the same.
        displays: share of crops in pseudo-colour that are shown as other scanners show them; a crop
            and its twin are shown in the same way.
        verdict_weight: weight of the loss of verdicts.
        category_weight: weight of the loss of all categories.
        item_labels: ``masks``, or ``boxes`` to fill the bounding box of each class of prohibited
            items, as most public datasets label them.
        val_views: largest number of whole views for validation.
        backbone: ``trained``; ``frozen``, which keeps the weights it starts from; or
            ``fixed_statistics``, which trains the weights, but keeps the statistics of batch
            normalisation. A backbone frozen at its ImageNet weights gets the statistics of crops.
    """

    crop_px: int = 192
    batch: int = 48
    large_px: int = 320
    large: float = 0.0
    twins: float = 0.5
    alone: float = 0.25
    clutter: float = 0.2
    prohibited: float = 0.0
    scale: float = 0.12
    noise: float = 0.03
    overlay: float = 0.0
    displays: float = 0.0
    verdict_weight: float = 0.1
    category_weight: float = 0.5
    item_labels: str = "masks"
    val_views: int = 400
    backbone: str = "trained"

    def __post_init__(self) -> None:
        if self.item_labels not in ("masks", "boxes"):
            raise ValueError(f"item_labels must be masks or boxes, got {self.item_labels!r}")
        if self.backbone not in BACKBONES:
            raise ValueError(
                f"backbone must be one of {', '.join(BACKBONES)}, got {self.backbone!r}"
            )
