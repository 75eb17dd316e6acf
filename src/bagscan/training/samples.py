"""Scans in memory at working size: read once, drawn from many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from bagscan.core import Annotation, RunLengths, View
from bagscan.core.errors import BagscanError, DataError
from bagscan.datasets.record import Record
from bagscan.formats import read_scan
from bagscan.formats.scans import only_view
from bagscan.model import Model

MAX_SAID = 5  # scans that were left out, by name
T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """A view at working size with its truth scaled to it.

    Attributes:
        counts: (C, H, W) uint8 or uint16, a quarter or half of the memory of pixels.
        scale: (C,) pixel value of one count. view: as read, but for its pixels.
        region: (H, W) bool, the item that is judged; None where the whole view is.
        whole: the same with all channels, where this has been cut down to some; see :meth:`select`.
    """

    record: Record
    view: View
    counts: np.ndarray
    annotations: tuple[Annotation, ...]
    scale: np.ndarray
    region: np.ndarray | None = None
    whole: Sample | None = None

    def pixels(self) -> np.ndarray:
        """(C, H, W) float32."""
        return np.asarray(self.counts * self.scale[:, None, None])

    def select(self, channels: Sequence[str], quantity: str) -> Sample:
        """The same with a run of neighbouring channels alone, without a copy."""
        first = self.view.channels.index(channels[0])
        chosen = slice(first, first + len(channels))
        if self.view.channels[chosen] != tuple(channels):
            raise DataError(
                f"channels {', '.join(channels)} are not neighbours in {', '.join(self.view.channels)}"
            )
        view = replace(
            self.view, pixels=self.view.pixels[chosen], channels=tuple(channels), quantity=quantity
        )
        return replace(
            self, counts=self.counts[chosen], scale=self.scale[chosen], view=view, whole=self
        )

    def full_view(self) -> View:
        """The view at working size."""
        return replace(self.view, pixels=self.pixels())

    def masks(self) -> np.ndarray:
        """(A, H, W) bool, one per annotation."""
        height, width = self.counts.shape[-2:]
        masks = [a.region(height, width) for a in self.annotations]
        return np.stack(masks) if masks else np.zeros((0, height, width), bool)


def scale_annotation(
    annotation: Annotation, sy: float, sx: float, height: int, width: int
) -> Annotation:
    """An annotation of a view that was resized by (sy, sx) to (height, width)."""
    x1, y1, x2, y2 = annotation.box_xyxy
    mask = annotation.mask
    return replace(
        annotation,
        box_xyxy=(x1 * sx, y1 * sy, x2 * sx, y2 * sy),
        mask=None if mask is None else RunLengths.of(scale_mask(mask.pixels(), height, width)),
    )


def scale_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A (H, W) mask, each of (height, width) pixels as the one at its middle."""
    rows, cols = (
        ((np.arange(n) + 0.5) * had / n).astype(int).clip(0, had - 1)
        for n, had in zip((height, width), mask.shape, strict=True)
    )
    return np.asarray(mask[np.ix_(rows, cols)])


def read_view(record: Record) -> tuple[View, str]:
    """The view of a record's file, with the channels of a second image where it has one, and the file's hash.

    Raises:
        ReadError, DataError: it cannot be read, or the two images differ in size.
    """
    scan = read_scan(record.path)
    view = only_view(scan)
    if record.also is not None:
        second = only_view(read_scan(record.also))
        if second.shape != view.shape:
            raise DataError(
                f"{record.also}: {second.shape[1]}x{second.shape[0]} pixels, {record.path} has {view.shape[1]}x{view.shape[0]}"
            )
        view = replace(
            view,
            pixels=np.concatenate([view.pixels, second.pixels]),
            channels=view.channels + second.channels,
            quantity="dual_energy",
        )
    return view, scan.provenance["sha256"]


def load_sample(record: Record, model: Model, sha256: str | None = None) -> Sample:
    """Read one record's view, or its item's window, and bring it to the model's working size.

    Args:
        sha256: of the file when the split was made.

    Raises:
        ReadError, ModelError, DataError: the scan cannot be read, is of another kind than the
            model's, or changed since the split was made.
    """
    view, found = read_view(record)
    if sha256 not in (None, found):
        raise DataError(f"{record.path}: changed since the split was made")
    whole, view = view.shape, model.config.input.select(view)
    if record.window is not None:
        x1, y1, x2, y2 = record.window
        view = replace(view, pixels=np.ascontiguousarray(view.pixels[:, y1:y2, x1:x2]))
    working = model.config.input.working_view(view, whole)
    (height, width), (h0, w0) = working.shape, view.shape
    scaled = [
        scale_annotation(a, height / h0, width / w0, height, width) for a in record.annotations
    ]
    region = (
        scale_mask(record.item.region(h0, w0), height, width) if record.item is not None else None
    )
    counts, unit = to_counts(working)
    return Sample(
        record,
        replace(working, pixels=np.zeros((len(counts), 1, 1), np.float32)),
        counts,
        tuple(scaled),
        unit,
        region,
    )


def to_counts(view: View) -> tuple[np.ndarray, np.ndarray]:
    """(C, H, W) counts of a view, and (C,) the value of one: 8 bits where it had 8, else 16 up to each channel's largest value."""
    if view.bit_depth == 8:
        unit = np.full(len(view.channels), 1 / 255, np.float32)
        return np.rint(view.pixels * 255).astype(np.uint8), unit
    unit = np.maximum(view.pixels.max((1, 2)), 1e-6).astype(np.float32) / 65535
    return np.rint(view.pixels.clip(0) / unit[:, None, None]).astype(np.uint16), unit


def load_samples(
    records: Sequence[Record],
    model: Model,
    report: Callable[[str], None] = print,
    sha256: Mapping[str, str] | None = None,
) -> list[Sample]:
    """Read many; bad ones are reported and left out.

    Args:
        sha256: of every record's file by id; see :func:`load_sample`.

    Raises:
        DataError: none are asked for, or none could be read.
    """
    if not records:
        raise DataError(
            "no scan of the data is in this part of the split: take more scans (a simulated set brings its own parts, whatever data.fractions says)"
        )

    def one(record: Record) -> Sample | str:
        try:
            return load_sample(record, model, sha256.get(record.id) if sha256 else None)
        except BagscanError as error:
            return str(error) if str(record.path) in str(error) else f"{record.path}: {error}"

    with ThreadPoolExecutor(2) as pool:
        loaded = list(pool.map(one, records))
    wrong = [item for item in loaded if isinstance(item, str)]
    for text in wrong[:MAX_SAID]:
        report(f"left out: {text}")
    if len(wrong) > MAX_SAID:
        report(f"left out: {len(wrong) - MAX_SAID} more")
    samples = [item for item in loaded if isinstance(item, Sample)]
    if not samples:
        raise DataError(
            f"none of {len(records)} scans could be used, the first since: {wrong[0] if wrong else 'there are none'}"
        )
    return samples


def subsample_evenly(samples: Sequence[T], n: int) -> list[T]:
    """At most ``n`` samples or records, evenly through the list."""
    return [
        samples[i]
        for i in np.unique(np.linspace(0, len(samples) - 1, min(n, len(samples))).astype(int))
    ]
