"""Scans in memory at working size: read once, drawn from many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from bagscan.core import Annotation, View
from bagscan.core.errors import BagscanError, DataError
from bagscan.datasets.record import Record
from bagscan.formats import read_scan
from bagscan.model import Model


@dataclass(frozen=True)
class Sample:
    """A view at working size with its truth scaled to it.

    Attributes:
        counts: (C, H, W) uint8 or float32; 8-bit views are kept as bytes, a quarter of the memory.
        view: as read, but for its pixels.
    """

    record: Record
    view: View
    counts: np.ndarray
    annotations: tuple[Annotation, ...]

    def pixels(self) -> np.ndarray:
        """(C, H, W) float32."""
        return self.counts.astype(np.float32) / 255 if self.counts.dtype == np.uint8 else self.counts

    def full_view(self) -> View:
        """The view at working size."""
        return replace(self.view, pixels=self.pixels())

    def masks(self) -> np.ndarray:
        """(A, H, W) bool, one per annotation."""
        height, width = self.counts.shape[-2:]
        masks = [a.region(height, width) for a in self.annotations]
        return np.stack(masks) if masks else np.zeros((0, height, width), bool)


def scale_annotation(annotation: Annotation, sy: float, sx: float, height: int, width: int) -> Annotation:
    """An annotation of a view that was resized by (sy, sx) to (height, width)."""
    x1, y1, x2, y2 = annotation.box_xyxy
    mask = annotation.mask
    if mask is not None:
        rows = ((np.arange(height) + 0.5) / sy).astype(int).clip(0, mask.shape[0] - 1)
        cols = ((np.arange(width) + 0.5) / sx).astype(int).clip(0, mask.shape[1] - 1)
        mask = mask[np.ix_(rows, cols)]
    return replace(annotation, box_xyxy=(x1 * sx, y1 * sy, x2 * sx, y2 * sy), mask=mask)


def load_sample(record: Record, model: Model, sha256: str | None = None) -> Sample:
    """Read one record's first view and bring it to the model's working size.

    Args:
        sha256: of the file when the split was made.

    Raises:
        ReadError, ModelError, DataError: the scan cannot be read, is of another kind than the
            model's, or changed since the split was made.
    """
    scan = read_scan(record.path)
    if sha256 not in (None, scan.provenance["sha256"]):
        raise DataError(f"{record.path}: changed since the split was made")
    view = scan.views[0]
    model.check(view)
    working = model.working_view(view)
    (height, width), (h0, w0) = working.shape, view.shape
    annotations = tuple(scale_annotation(a, height / h0, width / w0, height, width) for a in record.annotations)
    eight_bit = view.bit_depth == 8
    counts = np.rint(working.pixels * 255).astype(np.uint8) if eight_bit else np.array(working.pixels)
    return Sample(record, replace(working, pixels=np.zeros((len(counts), 1, 1), np.float32)), counts, annotations)


def load_samples(records: Sequence[Record], model: Model, report: Callable[[str], None] = print, sha256: Mapping[str, str] | None = None) -> list[Sample]:
    """Read many; bad ones are reported and left out.

    Args:
        sha256: of every record's file by id; see :func:`load_sample`.

    Raises:
        DataError: none could be read.
    """

    def one(record: Record) -> Sample | str:
        try:
            return load_sample(record, model, sha256.get(record.id) if sha256 else None)
        except BagscanError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        loaded = list(pool.map(one, records))
    for text in (item for item in loaded if isinstance(item, str)):
        report(f"left out: {text}")
    samples = [item for item in loaded if isinstance(item, Sample)]
    if not samples:
        raise DataError(f"none of {len(records)} scans could be read")
    return samples
