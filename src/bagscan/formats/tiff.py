"""TIFF files: channels as named pages, as samples of a page, or as a described stack of planes.

Photometric interpretation, bits per sample, alpha and orientation are applied. Numbers that cannot
be converted to transmission or colour raise an error.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bagscan.core import QUANTITIES, View
from bagscan.core.errors import ReadError
from bagscan.formats.limits import MAX_CHANNELS, check_pixels, check_size, naming
from bagscan.formats.quantities import (
    RGB,
    counts_from_view,
    default_channels,
    named_channels,
    view_from_counts,
)

MAX_COUNTS = 65535
WHITE_IS_ZERO, COLOURS, PALETTE, YCBCR = 0, 2, 3, 6  # photometric interpretations
NOT_READ = {
    4: "a transparency mask",
    5: "CMYK",
    YCBCR: "YCbCr",
    8: "CIELAB",
    9: "ICCLAB",
    10: "ITULAB",
    32803: "a colour filter array",
    34892: "linear raw",
}
JPEG_COMPRESSIONS = (6, 7, 33007, 34892)  # their decoder converts YCbCr to RGB
Page = tifffile.TiffPage | tifffile.TiffFrame


@dataclass(frozen=True)
class _Planes:
    """Decoded channels.

    Attributes:
        counts: (C, H, W) unsigned integers or float32.
        names: names of the channels; empty if they are to be read from the file.
        bits: significant bits; 0 for floats.
    """

    counts: np.ndarray
    names: tuple[str, ...]
    bits: int


def read_tiff(path: str | Path) -> View:
    """Read a TIFF as one view.

    Each page is a channel, named by PageName, ImageDescription, OME or ImageJ metadata. Unnamed
    channels are low, high and zeff. A single page can also have several samples: RGB is
    pseudo-colour, other samples are channels. Samples have 1 to 16 bits, or are 32-bit floats with
    ``{"quantity": ...}`` in ImageDescription.

    Raises:
        ReadError: as :func:`bagscan.formats.read_scan`; also for an unsupported type of pixels.
    """
    path = Path(path)
    check_size(path)
    with naming(path, "TIFF"), _raise_warnings(), tifffile.TiffFile(path) as file:
        pages = _full_size_pages(path, file)
        first = _header(pages[0])
        description = _read_description(first)
        if len(pages) == 1 and first.samplesperpixel > 1:
            planes = _read_samples(first, first.asarray())
        else:
            planes = _read_stack(path, file, pages)
        names = _channel_names(file, pages, planes)
        if planes.counts.dtype.kind == "f":
            quantity = description.get("quantity")
            if quantity not in QUANTITIES:
                raise ReadError(
                    f"{path}: 32-bit floats need a quantity; write "
                    '{"quantity": "dual_energy"} for low, high and effective Z, or another of '
                    f"{', '.join(QUANTITIES)}, into ImageDescription"
                )
            return View(np.ascontiguousarray(planes.counts, np.float32), names, quantity)
        return view_from_counts(planes.counts, names, _air_counts(description), planes.bits)


def _full_size_pages(path: Path, file: tifffile.TiffFile) -> list[Page]:
    """Return the pages without thumbnails, after checking their sizes and types."""
    pages: list[Page] = []
    for page in file.pages:
        if len(pages) == MAX_CHANNELS:
            raise ReadError(f"{path}: too many pages; at most {MAX_CHANNELS} are supported")
        header = page.keyframe
        if header is None:
            raise ReadError(f"{path}: a page has no header")
        if pages and header.is_reduced:
            continue
        check_pixels(
            path,
            header.imagelength,
            header.imagewidth,
            max(1, header.samplesperpixel) * (len(pages) + 1),
        )
        if header.photometric in NOT_READ and not (
            header.photometric == YCBCR and header.compression in JPEG_COMPRESSIONS
        ):
            raise ReadError(
                f"{path}: pixels are {NOT_READ[header.photometric]}, which is not supported; "
                "save the file as grey or RGB"
            )
        is_supported = page.dtype is not None and (
            (page.dtype.kind in "ub" and _bits_per_sample(header) <= 16) or page.dtype == np.float32
        )
        if not is_supported:
            raise ReadError(
                f"{path}: pages must have 1 to 16 unsigned bits or 32-bit floats, "
                f"got {page.dtype or header.dtype}"
            )
        pages.append(page)
    if not pages:
        raise ReadError(f"{path}: contains no pages")
    return pages


def _header(page: Page) -> tifffile.TiffPage:
    assert page.keyframe is not None  # checked by _full_size_pages()
    return page.keyframe


def _bits_per_sample(header: tifffile.TiffPage) -> int:
    bits = header.bitspersample
    return max(bits) if isinstance(bits, tuple) else int(bits)


def _read_samples(header: tifffile.TiffPage, data: np.ndarray) -> _Planes:
    """Return the samples of a page as colours or channels. Transparent pixels become air."""
    planes = data.transpose(2, 0, 1) if header.planarconfig == 1 else data
    planes, bits = _to_counts(header, planes)
    extra = len(header.extrasamples)
    full = float((1 << bits) - 1)
    if extra and header.extrasamples[-1] in (1, 2):
        alpha, premultiplied = planes[-1:] / full, header.extrasamples[-1] == 1
        blended = planes[:-1] * (1 if premultiplied else alpha) + full * (1 - alpha)
        planes = blended.round().astype(planes.dtype)
    is_rgb = len(planes) == 3 and _is_colour(header, bits)
    names = RGB if is_rgb else default_channels(len(planes))
    return _Planes(_orient(header, planes), names, bits)


def _is_colour(header: tifffile.TiffPage, bits: int) -> bool:
    """Return True if three samples are red, green and blue.

    tifffile marks any stack of three planes as RGB, so the description takes precedence.
    """
    description = _read_description(header)
    if "quantity" in description:
        return bool(description["quantity"] == "pseudo_colour")
    is_stack = "air_counts" in description or (
        header.planarconfig != 1 and bits > 8 and len(description.get("shape", ())) == 3
    )
    return header.photometric in (COLOURS, YCBCR) and not is_stack


def _read_stack(path: Path, file: tifffile.TiffFile, pages: Sequence[Page]) -> _Planes:
    """Return each page as a channel, or the planes in the description of a single page."""
    first = _header(pages[0])
    series = file.series[0] if len(file.series) == 1 else None
    if (
        len(pages) == 1
        and series is not None
        and len(series.shape) > 2
        and int(np.prod(series.shape[:-2])) > 1
    ):
        height, width = series.shape[-2:]
        check_pixels(path, height, width, int(np.prod(series.shape[:-2])))
        planes, bits = _to_counts(first, series.asarray().reshape(-1, *series.shape[-2:]))
        return _Planes(_orient(first, planes), (), bits)
    if first.photometric == PALETTE and first.colormap is not None and len(pages) == 1:
        palette = (np.asarray(first.colormap) >> 8).astype(np.uint8)
        colours = np.take(palette, first.asarray(), axis=1)
        return _Planes(_orient(first, colours), RGB, 8)
    kinds = {
        (p.shape, str(p.dtype), _header(p).photometric, str(_header(p).bitspersample))
        for p in pages
    }
    if len(kinds) > 1 or len(first.shape) != 2 or first.photometric == PALETTE:
        shapes = [page.shape for page in pages]
        raise ReadError(f"{path}: pages must be grey and of the same size and depth, got {shapes}")
    planes, bits = _to_counts(first, np.stack([page.asarray() for page in pages]))
    return _Planes(_orient(first, planes), (), bits)


def _to_counts(header: tifffile.TiffPage, planes: np.ndarray) -> tuple[np.ndarray, int]:
    """Return counts with air at full scale, and the number of significant bits."""
    if planes.dtype.kind == "f":
        return planes, 0
    if planes.dtype == bool:
        planes = planes.astype(np.uint8)
    bits = _bits_per_sample(header)
    maximum = header.tags.valueof("MaxSampleValue")
    if (
        isinstance(maximum, int)
        and 0 < maximum < (1 << bits) - 1
        and maximum & (maximum + 1) == 0
        and int(planes.max()) <= maximum
    ):
        bits = maximum.bit_length()  # for example 12 bits stored in 16
    if header.photometric == WHITE_IS_ZERO:
        planes = ((1 << bits) - 1 - planes).astype(planes.dtype)
    return planes, bits


def _orient(header: tifffile.TiffPage, planes: np.ndarray) -> np.ndarray:
    """Apply the Orientation tag."""
    orientation = header.tags.valueof("Orientation") or 1
    if orientation in (5, 6, 7, 8):
        planes = planes.swapaxes(-1, -2)
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(
        orientation, (1, 1)
    )
    return np.ascontiguousarray(planes[..., ::rows, ::columns])


def _read_description(header: tifffile.TiffPage) -> dict[str, Any]:
    """Return the JSON object in ImageDescription, or {} if it contains other text."""
    try:
        description = json.loads(header.description or "{}")
    except (ValueError, RecursionError):
        return {}
    return description if isinstance(description, dict) else {}


def _air_counts(description: dict[str, Any]) -> int | None:
    """Return the counts of air in a file of :func:`write_counts`, or None if missing."""
    counts = description.get("air_counts")
    if counts is None:
        return None
    if isinstance(counts, bool) or not isinstance(counts, int) or not 0 < counts <= MAX_COUNTS:
        raise ReadError(
            f"air_counts must be an integer from 1 to {MAX_COUNTS}, got {str(counts)[:40]}"
        )
    return counts


def _channel_names(
    file: tifffile.TiffFile, pages: Sequence[Page], planes: _Planes
) -> tuple[str, ...]:
    n = len(planes.counts)
    if planes.names:
        return planes.names
    for labels in (_ome_names(file), _imagej_names(file), [_page_name(page) for page in pages]):
        has_json = any("{" in label for label in labels)
        if len(labels) == n and not has_json and (names := named_channels(labels)):
            return names
    return default_channels(n)


def _ome_names(file: tifffile.TiffFile) -> list[str]:
    if not file.is_ome or not file.ome_metadata:
        return []
    image = tifffile.xml2dict(file.ome_metadata).get("OME", {}).get("Image", {})
    channels = (image[0] if isinstance(image, list) else image).get("Pixels", {}).get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    return [str(channel.get("Name", "")) for channel in channels]


def _imagej_names(file: tifffile.TiffFile) -> list[str]:
    if not file.is_imagej:
        return []
    return [str(label) for label in (file.imagej_metadata or {}).get("Labels", [])]


def _page_name(page: Page) -> str:
    if not isinstance(page, tifffile.TiffPage):
        return ""
    return str(page.tags["PageName"].value) if "PageName" in page.tags else page.description


class _WarningCollector(logging.Handler):
    """Log handler that collects the warnings of tifffile in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.messages.append(record.getMessage())


@contextmanager
def _raise_warnings() -> Iterator[None]:
    """Raise the first warning of tifffile as ValueError.

    tifffile only logs a warning for missing pages of a truncated file and returns the others.
    """
    collector = _WarningCollector()
    tifffile.logger().addHandler(collector)
    try:
        yield
    finally:
        tifffile.logger().removeHandler(collector)
    if collector.messages:
        raise ValueError(collector.messages[0])


def write_tiff(path: str | Path, view: View) -> None:
    """Write a named, zstd-compressed page per channel. Counts are preserved exactly."""
    write_counts(path, counts_from_view(view), view.channels)


def write_counts(
    path: str | Path, counts: np.ndarray, channels: Sequence[str], air_counts: int | None = None
) -> None:
    """Write raw (C, H, W) uint8 or uint16 counts, a named page per channel.

    Args:
        path: the file to write.
        counts: the counts.
        channels: names of the channels.
        air_counts: counts of air in transmission channels, stored in the file and read as
            transmission 1; full scale if None.
    """
    description = None if air_counts is None else json.dumps({"air_counts": air_counts})
    with tifffile.TiffWriter(path) as file:
        for name, page in zip(channels, counts, strict=True):
            tags = [(285, 2, len(name) + 1, name, True)]  # PageName
            # The predictor halves the size of a noisy page; higher levels gain only 3 %.
            file.write(
                page,
                compression="zstd",
                compressionargs={"level": 1},
                predictor=True,
                photometric="minisblack",
                extratags=tags,
                description=description,
                metadata=None,
            )
