"""Samples: views at working size with their truth, held in memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from bagscan.core import Annotation, RunLengths, View
from bagscan.core.errors import BagscanError, DataError
from bagscan.datasets.record import Record, check_annotations
from bagscan.formats import read_scan
from bagscan.formats.scans import only_view
from bagscan.model_config import InputConfig

log = logging.getLogger(__name__)

MAX_REPORTED = 5  # errors of left-out scans to report
T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """View at working size, with its truth at the same size.

    Attributes:
        record: record that the sample was read from.
        view: view as read, but without its pixels.
        counts: (C, H, W) uint8 or uint16, a quarter or half the memory of float32 pixels.
        annotations: annotated objects.
        scale: (C,) pixel value of one count.
        region: (H, W) bool, mask of the item to score; None if it is the whole view.
        whole: sample with all channels, if this one has a selection; see :meth:`select`.
    """

    record: Record
    view: View
    counts: np.ndarray
    annotations: tuple[Annotation, ...]
    scale: np.ndarray
    region: np.ndarray | None = None
    whole: Sample | None = None

    def pixels(self) -> np.ndarray:
        """Return (C, H, W) float32 pixels."""
        return np.asarray(self.counts * self.scale[:, None, None])

    def select(self, channels: Sequence[str], quantity: str) -> Sample:
        """Return a sample with some neighbouring channels, without a copy.

        Raises:
            DataError: the channels are not neighbours in this order.
        """
        first = self.view.channels.index(channels[0])
        window = slice(first, first + len(channels))
        if self.view.channels[window] != tuple(channels):
            raise DataError(
                f"channels {', '.join(channels)} are not neighbours in "
                f"{', '.join(self.view.channels)}"
            )
        view = replace(
            self.view, pixels=self.view.pixels[window], channels=tuple(channels), quantity=quantity
        )
        return replace(
            self, counts=self.counts[window], scale=self.scale[window], view=view, whole=self
        )

    def full_view(self) -> View:
        """Return the view at working size, with its pixels."""
        return replace(self.view, pixels=self.pixels())

    def masks(self) -> np.ndarray:
        """Return (A, H, W) bool masks, one per annotation."""
        height, width = self.counts.shape[-2:]
        masks = [a.region(height, width) for a in self.annotations]
        return np.stack(masks) if masks else np.zeros((0, height, width), bool)


def scale_annotation(
    annotation: Annotation, sy: float, sx: float, height: int, width: int
) -> Annotation:
    """Return an annotation for a view resized by (sy, sx) to (height, width)."""
    x1, y1, x2, y2 = annotation.box_xyxy
    mask = annotation.mask
    return replace(
        annotation,
        box_xyxy=(x1 * sx, y1 * sy, x2 * sx, y2 * sy),
        mask=None if mask is None else RunLengths.of(scale_mask(mask.pixels(), height, width)),
    )


def scale_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a (H, W) mask to (height, width) by nearest neighbour."""
    rows, cols = (
        ((np.arange(target) + 0.5) * size / target).astype(int).clip(0, size - 1)
        for target, size in zip((height, width), mask.shape, strict=True)
    )
    return np.asarray(mask[np.ix_(rows, cols)])


def read_view(record: Record) -> tuple[View, str]:
    """Read the view of a record, and return it with the SHA-256 hash of its file.

    If the record has a second image, its channels are appended.

    Raises:
        ReadError: a file cannot be read.
        DataError: the two images differ in size.
    """
    scan = read_scan(record.path)
    view = only_view(scan)
    if record.also is not None:
        second = only_view(read_scan(record.also))
        if second.shape != view.shape:
            raise DataError(
                f"{record.also}: {second.shape[1]}x{second.shape[0]} pixels, "
                f"{record.path} has {view.shape[1]}x{view.shape[0]}"
            )
        view = replace(
            view,
            pixels=np.concatenate([view.pixels, second.pixels]),
            channels=view.channels + second.channels,
            quantity="dual_energy",
        )
    return view, scan.provenance["sha256"]


def load_sample(record: Record, config: InputConfig, sha256: str | None = None) -> Sample:
    """Read the view of a record, or the window of its item, at the working size of a model.

    Args:
        record: record to read.
        config: input of the model: working size and channels.
        sha256: hash of the file when the split was made; None to skip the check.

    Raises:
        ReadError: the scan cannot be read, or an annotation is not on it.
        ModelError: the model takes another kind of scan.
        DataError: the file changed since the split was made.
    """
    view, file_hash = read_view(record)
    if sha256 not in (None, file_hash):
        raise DataError(f"{record.path}: changed since the split was made")
    check_annotations(record, *view.shape)
    full_shape, view = view.shape, config.select(view)
    if record.window is not None:
        x1, y1, x2, y2 = record.window
        view = replace(view, pixels=np.ascontiguousarray(view.pixels[:, y1:y2, x1:x2]))
    working = config.working_view(view, full_shape)
    (height, width), (h0, w0) = working.shape, view.shape
    annotations = [
        scale_annotation(a, height / h0, width / w0, height, width) for a in record.annotations
    ]
    region = None
    if record.item is not None:
        region = scale_mask(record.item.region(h0, w0), height, width)
    counts, unit = to_counts(working)
    return Sample(
        record,
        replace(working, pixels=np.zeros((len(counts), 1, 1), np.float32)),
        counts,
        tuple(annotations),
        unit,
        region,
    )


def to_counts(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Convert the pixels of a view to counts.

    Returns:
        (C, H, W) counts and (C,) float32 pixel value of one count. Counts are uint8 for views of
        8 bits, else uint16 up to the largest value of each channel.
    """
    if view.bit_depth == 8:
        unit = np.full(len(view.channels), 1 / 255, np.float32)
        return np.rint(view.pixels * 255).astype(np.uint8), unit
    unit = np.maximum(view.pixels.max((1, 2)), 1e-6).astype(np.float32) / 65535
    return np.rint(view.pixels.clip(0) / unit[:, None, None]).astype(np.uint16), unit


def load_samples(
    records: Sequence[Record],
    config: InputConfig,
    sha256: Mapping[str, str] | None = None,
) -> list[Sample]:
    """Load many samples; scans that cannot be used are reported and left out.

    Args:
        records: records to load.
        config: see :func:`load_sample`.
        sha256: hash of each record's file by record id.

    Raises:
        DataError: there are no records, or none can be used.
    """
    if not records:
        raise DataError(
            "this part of the split has no scans; use more scans "
            "(simulated sets have their own split, to which data.fractions does not apply)"
        )

    def load(record: Record) -> Sample | str:
        try:
            return load_sample(record, config, sha256.get(record.id) if sha256 else None)
        except BagscanError as error:
            return str(error) if str(record.path) in str(error) else f"{record.path}: {error}"

    with ThreadPoolExecutor(2) as pool:
        loaded = list(pool.map(load, records))
    errors = [item for item in loaded if isinstance(item, str)]
    for text in errors[:MAX_REPORTED]:
        log.info(f"left out: {text}")
    if len(errors) > MAX_REPORTED:
        log.info(f"left out: {len(errors) - MAX_REPORTED} more")
    samples = [item for item in loaded if isinstance(item, Sample)]
    if not samples:
        raise DataError(f"none of {len(records)} scans can be used; first error: {errors[0]}")
    return samples


def subsample_evenly(samples: Sequence[T], n: int) -> list[T]:
    """Return at most ``n`` samples, evenly spaced over the sequence."""
    indices = np.linspace(0, len(samples) - 1, min(n, len(samples))).astype(int)
    return [samples[i] for i in np.unique(indices)]
