"""Checks of annotations from any format, before their numbers reach the C code of pycocotools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle
from scipy.ndimage import distance_transform_edt

from bagscan.core import Annotation, RunLengths
from bagscan.core.checks import is_number

MIN_INSIDE_PX = 0.5  # required overlap of a box with its image, in x and in y
MAX_PIECES = 12  # characters of a compressed run: 60 bits
# A region counts as on an anomaly if half of it lies this near: 10 mm where a pixel is 1 mm.
NEAR_PX = 10
MAX_FALSE_REGIONS = 2  # of a bag that is found at the right place
FAR = 2.0  # distance from the image, in image sizes, beyond which coordinates are invalid


def check_on_picture(annotation: Annotation, height: int, width: int) -> None:
    """Require that an annotation lies on its image of ``height`` by ``width`` pixels.

    Raises:
        ValueError: the box overlaps the image by less than ``MIN_INSIDE_PX`` or extends far beyond
            it; or the mask is empty or outside the box.
    """
    x1, y1, x2, y2 = annotation.box_xyxy
    if x1 < -FAR * width or y1 < -FAR * height or x2 > (1 + FAR) * width or y2 > (1 + FAR) * height:
        raise ValueError(
            f"{annotation.label}: box {_format(annotation.box_xyxy)} "
            f"extends far beyond the image of {width}x{height} pixels"
        )
    if min(x2, width) - max(x1, 0) < MIN_INSIDE_PX or min(y2, height) - max(y1, 0) < MIN_INSIDE_PX:
        raise ValueError(
            f"{annotation.label}: box {_format(annotation.box_xyxy)} "
            f"is outside the image of {width}x{height} pixels"
        )
    if annotation.mask is not None:
        _check_mask_in_box(annotation, annotation.mask)


def _check_mask_in_box(annotation: Annotation, mask: RunLengths) -> None:
    if not mask.area:
        raise ValueError(f"{annotation.label}: the mask is empty")
    (left, top, right, bottom), (x1, y1, x2, y2) = mask.box_xyxy, annotation.box_xyxy
    if min(right, x2) <= max(left, x1) or min(bottom, y2) <= max(top, y1):
        raise ValueError(
            f"{annotation.label}: the mask in {_format(mask.box_xyxy)} "
            f"is outside its box {_format(annotation.box_xyxy)}"
        )


def reaches_beyond(annotation: Annotation, height: int, width: int) -> bool:
    """Return True if a box extends beyond its image by a pixel or more.

    Such a box is cropped to the image, and the user is notified.
    """
    x1, y1, x2, y2 = annotation.box_xyxy
    return x1 <= -1 or y1 <= -1 or x2 >= width + 1 or y2 >= height + 1


def beyond_note(count: int) -> list[str]:
    """Return a note on boxes that extend beyond their images, or an empty list if count is 0."""
    return [f"{count} boxes extend beyond their images and are cropped to them."] if count else []


def check_image_size(declared: tuple[int, int], actual: tuple[int, int]) -> None:
    """Require that the image size in an annotation file is the size of the image.

    Args:
        declared: (height, width) in the annotation file.
        actual: (height, width) of the image.

    Raises:
        ValueError: the sizes differ.
    """
    if declared == actual:
        return
    hint = ""
    if declared == actual[::-1]:
        hint = (
            ": width and height are swapped, or an EXIF tag rotates the image, "
            "which only some tools apply; store the image upright and annotate it again"
        )
    raise ValueError(
        f"annotations are for {declared[1]}x{declared[0]} pixels, "
        f"but the image has {actual[1]}x{actual[0]}{hint}"
    )


def decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Decode a COCO segmentation to (H, W) bool; see :func:`read_mask`."""
    return read_mask(segmentation, height, width).pixels()


def grow(mask: np.ndarray) -> np.ndarray:
    """Return the (H, W) bool mask of all pixels within ``NEAR_PX`` of a mask."""
    return np.asarray(distance_transform_edt(~mask) <= NEAR_PX)


def read_mask(segmentation: Any, height: int, width: int) -> RunLengths:
    """Convert a COCO segmentation to run lengths.

    Args:
        segmentation: list of polygons, or compressed or uncompressed run lengths.
        height, width: size of the image in pixels.

    Raises:
        ValueError: a polygon has fewer than 3 points, is not finite or is far outside the image;
            or run lengths do not match the size of the image.
    """
    if isinstance(segmentation, list):
        polygons = [_check_polygon(points, height, width) for points in segmentation]
        encoded = rle.merge(rle.frPyObjects(polygons, height, width))
        return RunLengths.of_runs(_decode_counts(encoded["counts"]), height, width)
    if isinstance(segmentation, Mapping):
        return _read_run_lengths(segmentation, height, width)
    raise ValueError(
        f"a segmentation must be polygons or run lengths, got {type(segmentation).__name__}"
    )


def _check_polygon(points: Any, height: int, width: int) -> list[float]:
    """Return the polygon x, y, x, y, ... clipped to the image."""
    if (
        not isinstance(points, list)
        or len(points) < 6
        or len(points) % 2
        or not all(is_number(v) for v in points)
    ):
        raise ValueError("a polygon needs at least 3 points with finite x and y")
    xy = np.array(points, float).reshape(-1, 2)
    size = np.array([width, height])
    if (xy < -FAR * size).any() or (xy > (1 + FAR) * size).any():
        raise ValueError(
            f"a polygon extends from {_format(xy.min(0))} to {_format(xy.max(0))}, "
            f"far outside the image of {width}x{height} pixels"
        )
    return [float(v) for v in xy.clip(0, size).ravel()]


def _read_run_lengths(segmentation: Mapping[str, Any], height: int, width: int) -> RunLengths:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, Sequence) or list(size) != [height, width]:
        raise ValueError(
            f"size of run lengths is {size}; the image has {[height, width]} (height, width)"
        )
    if isinstance(counts, list):
        if not all(
            isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= height * width
            for n in counts
        ):
            raise ValueError(f"run lengths must be integers from 0 to {height * width}")
        runs = counts
    elif isinstance(counts, str | bytes):
        runs = _decode_counts(counts)
    else:
        raise ValueError(f"counts must be a list or a string, got {type(counts).__name__}")
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(f"run lengths sum to {sum(runs)} pixels, the image has {height * width}")
    return RunLengths.of_runs(runs, height, width)


def _decode_counts(text: str | bytes) -> list[int]:
    """Decode the compressed run lengths of COCO.

    Each character has 5 bits, lowest first. From the fourth run on, a number is the difference from
    the run two before.
    """
    content = text.encode("ascii", "replace") if isinstance(text, str) else text
    pieces = np.frombuffer(content, np.uint8).astype(np.int64) - 48
    if not len(pieces):
        return []
    if pieces.min() < 0 or pieces.max() >= 64:
        raise ValueError("counts contain invalid characters for COCO run lengths")
    last = np.flatnonzero(pieces & 32 == 0)
    if not len(last) or last[-1] != len(pieces) - 1:
        raise ValueError("counts end in the middle of a number")
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > MAX_PIECES:
        raise ValueError(f"counts contain a number of more than {MAX_PIECES} characters")
    runs = np.add.reduceat(
        (pieces & 31) << 5 * (np.arange(len(pieces)) - np.repeat(first, length)), first
    )
    runs -= np.where(pieces[last] & 16, 1 << 5 * length, 0)
    for start in (1, 2):
        runs[start::2] = runs[start::2].cumsum()
    return [int(n) for n in runs]


def _format(values: Any) -> str:
    return "(" + ", ".join(f"{float(v):.4g}" for v in values) + ")"
