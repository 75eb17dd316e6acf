"""Agreement of a detector with itself on scans that are shown differently; needs no labels."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import nn

from bagscan.core import View
from bagscan.detector.features import CELL_PX, features_of
from bagscan.detector.inference import compute_maps
from bagscan.detector.model import Detector
from bagscan.detector.torch_engine import TorchEngine
from bagscan.formats.quantities import RGB

MIN_FEATURE = 0.05  # mean feature above which a pixel is not air
SMALLER, JPEG_QUALITY, GAMMA = 0.8, 60, 1.15  # of the changed copies
Undo = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


@torch.inference_mode()
def agreement(detector: Detector, views: Sequence[View]) -> float:
    """Return the mean correlation of the maps of views with those of changed copies.

    The copies are mirrored, smaller, and, in colour, darker and compressed by JPEG. Only cells that
    are not air count.

    Args:
        detector: the detector.
        views: views with the channels of the detector.
    """
    correlations = []
    for view in views:
        own, foreground = _maps(detector, view)
        for change in CHANGES if view.channels == RGB else CHANGES[:-1]:
            changed, undo = change(view.pixels)
            other = undo(_maps(detector, replace(view, pixels=changed))[0], own.shape[1:])
            pair = own[:, foreground].ravel(), other[:, foreground].ravel()
            if all(values.std() > 0 for values in pair if len(values)) and foreground.any():
                correlations.append(np.corrcoef(*pair)[0, 1])
    return float(np.mean(correlations)) if correlations else 0.0


def _maps(detector: Detector, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Return the (n, h, w) maps of anomalies and prohibited items, and (h, w) cells not of air."""
    maps = compute_maps(view, TorchEngine(detector), detector.options.colours)
    items = maps["categories"][0, detector.numbers.of_items]
    depth = features_of(view).mean(0)
    h, w = (-(-n // CELL_PX) for n in depth.shape)
    whole_cells = [(0, -n % CELL_PX) for n in depth.shape]
    foreground = np.pad(depth, whole_cells).reshape(h, CELL_PX, w, CELL_PX).mean((1, 3))
    return np.concatenate([maps["anomaly"][0], items])[:, :h, :w], foreground > MIN_FEATURE


def _mirror(pixels: np.ndarray) -> tuple[np.ndarray, Undo]:
    width = pixels.shape[2]
    padded = np.pad(pixels, ((0, 0), (0, 0), (0, -width % CELL_PX)), mode="edge")  # whole cells
    return np.ascontiguousarray(padded[:, :, ::-1]), lambda maps, shape: maps[:, :, ::-1]


def _smaller(pixels: np.ndarray) -> tuple[np.ndarray, Undo]:
    height, width = (max(CELL_PX, round(n * SMALLER)) for n in pixels.shape[1:])
    return _resize(pixels, (height, width)), lambda maps, shape: _resize(maps, shape)


def _darker(pixels: np.ndarray) -> tuple[np.ndarray, Undo]:
    """Darken colours and compress them by JPEG."""
    counts = np.rint(pixels.clip(0, 1) ** GAMMA * 255).astype(np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(counts.transpose(1, 2, 0)))
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    stored = np.asarray(Image.open(file), np.float32).transpose(2, 0, 1) / 255
    return np.ascontiguousarray(stored), lambda maps, shape: maps


def _resize(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resize (n, h, w) images bilinearly."""
    tensor = torch.from_numpy(np.array(images, np.float32))[None]
    resized = nn.functional.interpolate(
        tensor, size=tuple(shape[-2:]), mode="bilinear", align_corners=False, antialias=True
    )
    return np.asarray(resized[0].numpy())


CHANGES = (_mirror, _smaller, _darker)
