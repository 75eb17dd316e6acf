"""One check of what people marked, whatever format it is in: against the picture, and before any number reaches C code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle

from bagscan.core import Annotation, RunLengths
from bagscan.core.checks import is_number

MIN_INSIDE_PX = 0.5  # of a box or mask on its picture, each way: less is not on it
MAX_PIECES = 12  # of one run: sixty bits
FAR = 2.0  # widths of the picture that a polygon may lie off it before it is nonsense


def check_on_picture(annotation: Annotation, height: int, width: int) -> None:
    """Require that an annotation lies on its picture.

    Raises:
        ValueError: its box does not, by half a pixel or more, or reaches far beyond; its mask has no pixel, or none in its box.
    """
    x1, y1, x2, y2 = annotation.box_xyxy
    if x1 < -FAR * width or y1 < -FAR * height or x2 > (1 + FAR) * width or y2 > (1 + FAR) * height:
        raise ValueError(
            f"{annotation.label}: the box {_short(annotation.box_xyxy)} reaches far beyond the picture of {width}x{height}"
        )
    if min(x2, width) - max(x1, 0) < MIN_INSIDE_PX or min(y2, height) - max(y1, 0) < MIN_INSIDE_PX:
        raise ValueError(
            f"{annotation.label}: the box {_short(annotation.box_xyxy)} lies off the picture of {width}x{height}"
        )
    if annotation.mask is not None:
        _check_mask_in_box(annotation, annotation.mask)


def _check_mask_in_box(annotation: Annotation, mask: RunLengths) -> None:
    if not mask.area:
        raise ValueError(f"{annotation.label}: its mask has no pixel")
    (left, top, right, bottom), (x1, y1, x2, y2) = mask.box_xyxy, annotation.box_xyxy
    if min(right, x2) <= max(left, x1) or min(bottom, y2) <= max(top, y1):
        raise ValueError(
            f"{annotation.label}: its mask lies in {_short(mask.box_xyxy)}, off its box {_short(annotation.box_xyxy)}"
        )


def reaches_beyond(annotation: Annotation, height: int, width: int) -> bool:
    """Whether a box reaches beyond its picture by a pixel or more: what is left of it is taken, and the user hears of it."""
    x1, y1, x2, y2 = annotation.box_xyxy
    return x1 <= -1 or y1 <= -1 or x2 >= width + 1 or y2 >= height + 1


def beyond_note(count: int) -> list[str]:
    """A note on boxes that reach beyond their pictures; none where none do."""
    return [f"{count} boxes reach beyond their pictures: the part on it counts."] if count else []


def check_size_told(told: tuple[int, int], seen: tuple[int, int]) -> None:
    """Require that the size which a file tells of a picture is the picture's.

    Args:
        told, seen: (height, width).

    Raises:
        ValueError: it is another.
    """
    if told == seen:
        return
    turned = told == seen[::-1]
    hint = (
        ": width and height are swapped, or an EXIF tag turns the picture, which some tools obey and others do not; store it upright and mark it anew"
        if turned
        else ""
    )
    raise ValueError(
        f"the annotations are of {told[1]}x{told[0]} pixels, the picture has {seen[1]}x{seen[0]}{hint}"
    )


def decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """(H, W) bool from polygons, compressed or uncompressed run lengths; raises as :func:`read_mask`."""
    return read_mask(segmentation, height, width).pixels()


def read_mask(segmentation: Any, height: int, width: int) -> RunLengths:
    """A mask from polygons, compressed or uncompressed run lengths.

    Raises:
        ValueError: polygons of fewer than three points, not finite or far off the picture; run lengths that do not make up the picture.
    """
    if isinstance(segmentation, list):
        encoded = rle.merge(
            rle.frPyObjects([_polygon(one, height, width) for one in segmentation], height, width)
        )
        return RunLengths.of_runs(_unpacked(encoded["counts"]), height, width)
    if isinstance(segmentation, Mapping):
        return _run_lengths(segmentation, height, width)
    raise ValueError(
        f"a segmentation must be polygons or run lengths, got {type(segmentation).__name__}"
    )


def _polygon(points: Any, height: int, width: int) -> list[float]:
    if (
        not isinstance(points, list)
        or len(points) < 6
        or len(points) % 2
        or not all(is_number(v) for v in points)
    ):
        raise ValueError("a polygon needs three points or more, x and y of each finite")
    xy = np.array(points, float).reshape(-1, 2)
    size = np.array([width, height])
    if (xy < -FAR * size).any() or (xy > (1 + FAR) * size).any():
        raise ValueError(
            f"a polygon reaches to {_short(xy.min(0))} and {_short(xy.max(0))}, far off the picture of {width}x{height}"
        )
    return [float(v) for v in xy.clip(0, size).ravel()]


def _run_lengths(told: Mapping[str, Any], height: int, width: int) -> RunLengths:
    size, counts = told.get("size"), told.get("counts")
    if not isinstance(size, Sequence) or list(size) != [height, width]:
        raise ValueError(
            f"run lengths of a picture of {size} (height, width), where it is of {[height, width]}"
        )
    if isinstance(counts, list):
        if not all(
            isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= height * width
            for n in counts
        ):
            raise ValueError("run lengths must be whole numbers of pixels")
        runs = counts
    elif isinstance(counts, str | bytes):
        runs = _unpacked(counts)
    else:
        raise ValueError(f"counts must be a list or text, got {type(counts).__name__}")
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(
            f"run lengths make up {sum(runs)} pixels, the picture has {height * width}"
        )
    return RunLengths.of_runs(runs, height, width)


def _unpacked(text: str | bytes) -> list[int]:
    """The runs of COCO's compressed text: five bits a character, lowest first, differences to the run before the last from the fourth on."""
    pieces = (
        np.frombuffer(
            text.encode("ascii", "replace") if isinstance(text, str) else text, np.uint8
        ).astype(np.int64)
        - 48
    )
    if not len(pieces):
        return []
    if pieces.min() < 0 or pieces.max() >= 64:
        raise ValueError("counts hold characters that no run length is written with")
    last = np.flatnonzero(pieces & 32 == 0)
    if not len(last) or last[-1] != len(pieces) - 1:
        raise ValueError("counts end in the middle of a number")
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > MAX_PIECES:
        raise ValueError("counts hold a run longer than any picture")
    runs = np.add.reduceat(
        (pieces & 31) << 5 * (np.arange(len(pieces)) - np.repeat(first, length)), first
    )
    runs -= np.where(pieces[last] & 16, 1 << 5 * length, 0)
    for start in (1, 2):
        runs[start::2] = runs[start::2].cumsum()
    return [int(n) for n in runs]


def _short(values: Any) -> str:
    return "(" + ", ".join(f"{float(v):.4g}" for v in values) + ")"
