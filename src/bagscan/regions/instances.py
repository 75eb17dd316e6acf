"""Pre- and post-processing of item detectors, for all runtimes (without torch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from scipy.ndimage import binary_dilation

from bagscan.core import Regions
from bagscan.regions.pixel_features import average_pool

# Mean and standard deviation for normalisation of brightness and of effective Z.
BRIGHT, Z = (0.8, 0.25), (6.0, 5.0)


@dataclass(frozen=True)
class Config:
    """Settings of Mask R-CNN.

    Attributes:
        backbone, pretrained, weights: see :func:`create_backbone`.
        channels: number of image channels.
        deepest_stride: largest stride of the backbone stages that are used; 0 for all stages.
        anchors_px: at least five sides of anchor boxes, in pixels of the view, ascending.
        dim: channels of the feature pyramid.
        stride: side of the pixel blocks that are averaged before the network.
        classes: names of the classes.
        masks: predict masks; false for Faster R-CNN, which predicts boxes only.
        min_score: smallest score of a detection that becomes a region, in [0, 1].
        max_items: largest number of detections per view.
        widen_px: dilation of the masks in pixels, to include objects taped to an item.
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
                f"min_score is {self.min_score} and max_items is {self.max_items}; "
                "expected min_score between 0 and 1, and max_items of at least 1"
            )
        is_ascending = list(self.anchors_px) == sorted(self.anchors_px)
        if len(self.anchors_px) < 5 or not is_ascending or self.anchors_px[0] < self.stride:
            raise ValueError(
                f"anchors_px is {self.anchors_px}; expected at least five ascending sides "
                f"of at least stride={self.stride} pixels"
            )


@dataclass(frozen=True)
class Detected:
    """Raw output of a detector for a view, in pixels of its input (1 / ``stride`` of the view).

    Attributes:
        boxes: (n, 4) xyxy.
        labels: (n,) class numbers from 1.
        scores: (n,) in [0, 1], falling.
        masks: (n, h, w) in [0, 1]; None without masks.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None


def prepare(pixels: Any, channels: Sequence[str], stride: int) -> Any:
    """Downsample and normalise views for the detector.

    Args:
        pixels: (B, C, H, W) array or tensor.
        channels: names of the C channels.
        stride: factor of the downsampling.

    Returns:
        (B, C, ceil(H / stride), ceil(W / stride)), of the same type as ``pixels``.
    """
    xp = array_namespace(pixels)
    pooled = average_pool(pixels, stride)
    stats = [Z if name == "zeff" else BRIGHT for name in channels]
    return xp.stack([(pooled[:, k] - mean) / std for k, (mean, std) in enumerate(stats)], axis=1)


def detections(found: Detected, config: Config, height: int, width: int) -> list[dict[str, Any]]:
    """Convert the output of a detector to detections in pixels of the view.

    Args:
        found: output for one view.
        config: settings of the detector.
        height, width: size of the view.

    Returns:
        Detections by falling score, with ``label``, ``score``, ``box_xyxy`` and ``mask``, an (H, W)
        bool array. Detections with an empty mask are left out.
    """
    stride = config.stride
    boxes = np.clip(found.boxes * stride, 0, (width, height, width, height))
    result = []
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
            result.append(
                {
                    "label": config.classes[label - 1],
                    "score": score,
                    "box_xyxy": tuple(float(v) for v in box),
                    "mask": mask,
                }
            )
    return result


def item_regions(found: list[dict[str, Any]], config: Config, height: int, width: int) -> Regions:
    """Return the dilated masks of detections with a score of at least ``min_score`` as regions."""
    masks = [_dilate(d["mask"], config.widen_px) for d in found if d["score"] >= config.min_score]
    stack = np.stack(masks) if masks else np.zeros((0, height, width), bool)
    return Regions(stack, len(stack), "instance")


def _dilate(mask: np.ndarray, by_px: int) -> np.ndarray:
    if not by_px:
        return mask
    # Only within the window that the dilated mask can reach, for speed.
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = (
        slice(max(0, rows[0] - by_px), rows[-1] + by_px + 1),
        slice(max(0, cols[0] - by_px), cols[-1] + by_px + 1),
    )
    dilated = mask.copy()
    dilated[window] = binary_dilation(mask[window], iterations=by_px)
    return dilated
