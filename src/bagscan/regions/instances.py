"""Items as instances: what goes into a detector and what is made of its detections, whatever runs it. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from scipy.ndimage import binary_dilation

from bagscan.core import Regions
from bagscan.regions.pixel_features import average_pool

BRIGHT, Z = (0.8, 0.25), (6.0, 5.0)  # mean and standard deviation of what the network sees


@dataclass(frozen=True)
class Config:
    """Detector settings.

    Attributes:
        backbone, pretrained, weights: see :func:`create_backbone`. channels: image channels.
        deepest_stride: of the backbone's stages that are kept; 0 for all.
        anchors_px: sides of the boxes that it starts from, in pixels of the view, smallest first.
        dim: channels of the feature pyramid. stride: pixels averaged before it sees them.
        classes: what it tells apart. masks: whether it draws masks; boxes alone are Faster R-CNN.
        min_score: of a detection that is kept. max_items: kept of one view, best first.
        widen_px: by which masks grow in use, so that what is taped to an item belongs to it.
    """

    backbone: str = "resnet18"
    channels: int = 3
    deepest_stride: int = 0
    anchors_px: tuple[int, ...] = (32, 64, 128, 256, 512)
    dim: int = 64
    stride: int = 2
    classes: tuple[str, ...] = ("item",)
    masks: bool = True
    min_score: float = 0.5
    max_items: int = 12
    widen_px: int = 6
    pretrained: bool = False
    weights: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1 or self.max_items < 1:
            raise ValueError(
                f"min_score must lie between 0 and 1, and max_items be 1 or more, got {self.min_score} and {self.max_items}: nothing would be found"
            )
        if (
            len(self.anchors_px) < 5
            or list(self.anchors_px) != sorted(self.anchors_px)
            or self.anchors_px[0] < self.stride
        ):
            raise ValueError(
                f"anchors_px needs five ascending sides of at least stride={self.stride} pixels, got {self.anchors_px}"
            )


@dataclass(frozen=True)
class Detected:
    """What a detector gives for one view, best first, in its own pixels: those of the view, averaged by ``stride``.

    Attributes:
        boxes: (n, 4) xyxy. labels: (n,) from 1. scores: (n,). masks: (n, h, w) in [0, 1]; None without masks.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None


def prepare(pixels: Any, channels: Sequence[str], stride: int) -> Any:
    """(B, C, H, W) pixels of views -> what the detector takes, 1/stride of the size. Arrays and tensors alike."""
    xp = array_namespace(pixels)
    pooled = average_pool(pixels, stride)  # first: there is less to scale then
    stats = [Z if name == "zeff" else BRIGHT for name in channels]
    return xp.stack([(pooled[:, k] - mean) / std for k, (mean, std) in enumerate(stats)], axis=1)


def detections(found: Detected, config: Config, height: int, width: int) -> list[dict[str, Any]]:
    """Every detection of a view, best first: ``label``, ``score``, ``box_xyxy`` and ``mask`` (H, W) bool, in view pixels."""
    stride = config.stride
    boxes = np.clip(found.boxes * stride, 0, (width, height, width, height))
    kept = []
    for k, (box, label, score) in enumerate(
        zip(boxes, found.labels.tolist(), found.scores.tolist(), strict=True)
    ):
        if found.masks is None:
            x1, y1, x2, y2 = (round(float(v)) for v in box)
            mask = np.zeros((height, width), bool)
            mask[y1:y2, x1:x2] = True
        else:
            mask = (found.masks[k] > 0.5).repeat(stride, 0).repeat(stride, 1)[:height, :width]
        if mask.any():
            kept.append(
                {
                    "label": config.classes[label - 1],
                    "score": score,
                    "box_xyxy": tuple(float(v) for v in box),
                    "mask": mask,
                }
            )
    return kept


def item_regions(found: list[dict[str, Any]], config: Config, height: int, width: int) -> Regions:
    """Masks of the detections that are sure enough, widened, as a stack."""
    masks = [_widened(d["mask"], config.widen_px) for d in found if d["score"] >= config.min_score]
    stack = np.stack(masks) if masks else np.zeros((0, height, width), bool)
    return Regions(stack, len(stack), "instance")


def _widened(mask: np.ndarray, by_px: int) -> np.ndarray:
    """Grown by so many steps to the four neighbours; only the window that it can reach is looked at."""
    if not by_px:
        return mask
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = (
        slice(max(0, rows[0] - by_px), rows[-1] + by_px + 1),
        slice(max(0, cols[0] - by_px), cols[-1] + by_px + 1),
    )
    grown = mask.copy()
    grown[window] = binary_dilation(mask[window], iterations=by_px)
    return grown
