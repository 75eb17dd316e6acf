"""BSDS500, natural images with human segmentations.

SSN is pre-trained on this dataset, and compared with published results on it.

Source: Arbeláez et al., "Contour Detection and Hierarchical Image Segmentation" (PAMI 2011).
Layout: ``images/<split>/<id>.jpg`` and ``groundTruth/<split>/<id>.mat``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from bagscan.core.errors import DataError


@dataclass(frozen=True)
class SegmentedImage:
    """An image with the segmentations of several annotators.

    Attributes:
        id: file stem.
        rgb: (H, W, 3) uint8.
        segmentations: an (H, W) int32 label map per annotator, labels from 0 without gaps.
    """

    id: str
    rgb: np.ndarray
    segmentations: tuple[np.ndarray, ...]


def load(root: str | Path, split: str) -> list[SegmentedImage]:
    """Load one split.

    Args:
        root: folder with ``images`` and ``groundTruth``.
        split: ``train`` or ``val``.

    Raises:
        DataError: the folder has no images, or a ground truth file is missing.
    """
    root = Path(root)
    paths = sorted((root / "images" / split).glob("*.jpg"))
    if not paths:
        raise DataError(
            f"{root / 'images' / split}: no BSDS500 images found; "
            "set data.root to the folder with images/"
        )
    return [_load_image(path, root / "groundTruth" / split / f"{path.stem}.mat") for path in paths]


def _load_image(image: Path, truth: Path) -> SegmentedImage:
    if not truth.exists():
        raise DataError(f"{truth}: ground truth of {image.name} is missing")
    cells = loadmat(truth)["groundTruth"][0]
    maps = [np.asarray(cell["Segmentation"][0, 0], np.int32) for cell in cells]
    compact = tuple(
        np.unique(m, return_inverse=True)[1].reshape(m.shape).astype(np.int32) for m in maps
    )
    return SegmentedImage(image.stem, np.asarray(Image.open(image).convert("RGB")), compact)
