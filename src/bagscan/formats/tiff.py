"""TIFF: channels as named pages, as samples of one page, or as a stack that another program has described.

What the numbers mean is looked at, never guessed: photometric interpretation, bits per sample, alpha, orientation, and how many planes the
description tells of. What cannot be brought to transmission or colour is refused by name.
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
JPEG_COMPRESSIONS = (6, 7, 33007, 34892)  # whose decoder gives RGB for YCbCr
Page = tifffile.TiffPage | tifffile.TiffFrame


@dataclass(frozen=True)
class _Planes:
    """Attributes: counts: (C, H, W) unsigned or float. names: of the channels. bits: significant ones."""

    counts: np.ndarray
    names: tuple[str, ...]
    bits: int


def read_tiff(path: str | Path) -> View:
    """Read a TIFF as one view.

    One page a channel, named by PageName, by ImageDescription or by OME's or ImageJ's list; unnamed ones are low, high, zeff. Or one page
    of several samples: RGB is pseudo-colour, others are channels. 1 to 16 bits, and 32-bit floats whose ImageDescription holds
    ``{"quantity": ...}``.

    Raises:
        ReadError: as :func:`bagscan.formats.read_scan`; numbers of another meaning are named.
    """
    path = Path(path)
    check_size(path)
    with naming(path, "TIFF"), _complaints_are_errors(), tifffile.TiffFile(path) as file:
        pages = _pages(path, file)
        first = _header(pages[0])
        result = _told(first)
        planes = (
            _samples(first, first.asarray())
            if len(pages) == 1 and first.samplesperpixel > 1
            else _stack(path, file, pages)
        )
        names = _names(file, pages, planes)
        if planes.counts.dtype.kind == "f":
            quantity = result.get("quantity")
            if quantity not in QUANTITIES:
                wanted = f'{{"quantity": "dual_energy"}} for low, high and effective Z, or another of {", ".join(QUANTITIES)}'
                raise ReadError(
                    f"{path}: 32-bit floats need a quantity: write {wanted} into ImageDescription"
                )
            return View(np.ascontiguousarray(planes.counts, np.float32), names, quantity)
        return view_from_counts(planes.counts, names, _air_counts(result), planes.bits)


def _pages(path: Path, file: tifffile.TiffFile) -> list[Page]:
    """Pages in full size, each within the limits and of numbers that are read; thumbnails are left out."""
    pages: list[Page] = []
    for page in file.pages:
        if len(pages) == MAX_CHANNELS:
            raise ReadError(f"{path}: more than {MAX_CHANNELS} pages")
        header = page.keyframe
        if header is None:
            raise ReadError(f"{path}: a page without its own header")
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
                f"{path}: its numbers are {NOT_READ[header.photometric]}, which is not read: save it as grey or RGB"
            )
        fit = page.dtype is not None and (
            (page.dtype.kind in "ub" and _bits(header) <= 16) or page.dtype == np.float32
        )
        if not fit:
            raise ReadError(
                f"{path}: pages must be of 1 to 16 bits unsigned or 32-bit floats, got {page.dtype or header.dtype}"
            )
        pages.append(page)
    if not pages:
        raise ReadError(f"{path}: no page inside")
    return pages


def _header(page: Page) -> tifffile.TiffPage:
    """The page that tells of this one's size and numbers; :func:`_pages` has seen that there is one."""
    assert page.keyframe is not None
    return page.keyframe


def _bits(header: tifffile.TiffPage) -> int:
    """Bits a sample, the most of them where samples differ."""
    bits = header.bitspersample
    return max(bits) if isinstance(bits, tuple) else int(bits)


def _samples(header: tifffile.TiffPage, data: np.ndarray) -> _Planes:
    """Samples of one page: colours, or channels side by side; alpha lets air through where it is 0."""
    planes = data.transpose(2, 0, 1) if header.planarconfig == 1 else data
    planes, bits = _scaled(header, planes)
    extra = len(header.extrasamples)
    full = float((1 << bits) - 1)
    if extra and header.extrasamples[-1] in (1, 2):
        alpha, premultiplied = planes[-1:] / full, header.extrasamples[-1] == 1
        planes = (
            (planes[:-1] * (1 if premultiplied else alpha) + full * (1 - alpha))
            .round()
            .astype(planes.dtype)
        )
    return _Planes(
        _turned(header, planes),
        RGB if len(planes) == 3 and _is_colour(header, bits) else default_channels(len(planes)),
        bits,
    )


def _is_colour(header: tifffile.TiffPage, bits: int) -> bool:
    """Whether three samples are red, green and blue: tifffile marks any stack of three planes so, and its description knows better."""
    result = _told(header)
    if "quantity" in result:
        return bool(result["quantity"] == "pseudo_colour")
    stacked = "air_counts" in result or (
        header.planarconfig != 1 and bits > 8 and len(result.get("shape", ())) == 3
    )
    return header.photometric in (COLOURS, YCBCR) and not stacked


def _stack(path: Path, file: tifffile.TiffFile, pages: Sequence[Page]) -> _Planes:
    """A page a channel, or the planes that the first page's description tells of."""
    first = _header(pages[0])
    described = file.series[0] if len(file.series) == 1 else None
    if (
        len(pages) == 1
        and described is not None
        and len(described.shape) > 2
        and int(np.prod(described.shape[:-2])) > 1
    ):
        height, width = described.shape[-2:]
        check_pixels(path, height, width, int(np.prod(described.shape[:-2])))
        planes, bits = _scaled(first, described.asarray().reshape(-1, *described.shape[-2:]))
        return _Planes(_turned(first, planes), (), bits)
    if first.photometric == PALETTE and first.colormap is not None and len(pages) == 1:
        return _Planes(
            _turned(
                first,
                np.take(
                    (np.asarray(first.colormap) >> 8).astype(np.uint8), first.asarray(), axis=1
                ),
            ),
            RGB,
            8,
        )
    if (
        len(
            {
                (p.shape, str(p.dtype), _header(p).photometric, str(_header(p).bitspersample))
                for p in pages
            }
        )
        > 1
        or len(first.shape) != 2
        or first.photometric == PALETTE
    ):
        raise ReadError(
            f"{path}: pages must be grey and of one size and depth, got {[p.shape for p in pages]}"
        )
    planes, bits = _scaled(first, np.stack([page.asarray() for page in pages]))
    return _Planes(_turned(first, planes), (), bits)


def _scaled(header: tifffile.TiffPage, planes: np.ndarray) -> tuple[np.ndarray, int]:
    """Counts with air at full scale, and how many bits that is."""
    if planes.dtype.kind == "f":
        return planes, 0
    if planes.dtype == bool:
        planes = planes.astype(np.uint8)
    bits = _bits(header)
    most = header.tags.valueof("MaxSampleValue")
    if (
        isinstance(most, int)
        and 0 < most < (1 << bits) - 1
        and most & (most + 1) == 0
        and int(planes.max()) <= most
    ):
        bits = most.bit_length()  # twelve bits in sixteen, and said so
    if header.photometric == WHITE_IS_ZERO:
        planes = ((1 << bits) - 1 - planes).astype(planes.dtype)
    return planes, bits


def _turned(header: tifffile.TiffPage, planes: np.ndarray) -> np.ndarray:
    """Planes as they are to be seen (tag Orientation)."""
    orientation = header.tags.valueof("Orientation") or 1
    if orientation in (5, 6, 7, 8):
        planes = planes.swapaxes(-1, -2)
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(
        orientation, (1, 1)
    )
    return np.ascontiguousarray(planes[..., ::rows, ::columns])


def _told(header: tifffile.TiffPage) -> dict[str, Any]:
    """What the file's description says in JSON; nothing where it is of another program."""
    try:
        result = json.loads(header.description or "{}")
    except (ValueError, RecursionError):
        return {}
    return result if isinstance(result, dict) else {}


def _air_counts(told: dict[str, Any]) -> int | None:
    """What air counts, where the file says so (see :func:`write_counts`).

    Raises:
        ReadError: it says so, and it is no count.
    """
    counts = told.get("air_counts")
    if counts is None:
        return None
    if isinstance(counts, bool) or not isinstance(counts, int) or not 0 < counts <= MAX_COUNTS:
        raise ReadError(
            f"air_counts must be a whole number from 1 to {MAX_COUNTS}, got {str(counts)[:40]}"
        )
    return counts


def _names(file: tifffile.TiffFile, pages: Sequence[Page], planes: _Planes) -> tuple[str, ...]:
    """Names of the channels, from wherever the file has them."""
    n = len(planes.counts)
    if planes.names:
        return planes.names
    for named in (_ome_names(file), _imagej_names(file), [_page_name(page) for page in pages]):
        if (
            len(named) == n
            and not any("{" in name for name in named)
            and (names := named_channels(named))
        ):
            return names
    return default_channels(n)


def _ome_names(file: tifffile.TiffFile) -> list[str]:
    if not file.is_ome or not file.ome_metadata:
        return []
    image = tifffile.xml2dict(file.ome_metadata).get("OME", {}).get("Image", {})
    channels = (image[0] if isinstance(image, list) else image).get("Pixels", {}).get("Channel", [])
    return [
        str(one.get("Name", "")) for one in (channels if isinstance(channels, list) else [channels])
    ]


def _imagej_names(file: tifffile.TiffFile) -> list[str]:
    return (
        [str(label) for label in (file.imagej_metadata or {}).get("Labels", [])]
        if file.is_imagej
        else []
    )


def _page_name(page: Page) -> str:
    if not isinstance(page, tifffile.TiffPage):
        return ""
    return str(page.tags["PageName"].value) if "PageName" in page.tags else page.description


class _Complaints(logging.Handler):
    """Collects what tifffile only logs, of this thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.found.append(record.getMessage())


@contextmanager
def _complaints_are_errors() -> Iterator[None]:
    """A cut-off file loses its last pages, and tifffile goes on with the others: not with our scans."""
    complaints = _Complaints()
    tifffile.logger().addHandler(complaints)
    try:
        yield
    finally:
        tifffile.logger().removeHandler(complaints)
    if complaints.found:
        raise ValueError(complaints.found[0])


def write_tiff(path: str | Path, view: View) -> None:
    """Write one zstd-compressed page per channel, named; counts come back bit for bit."""
    write_counts(path, counts_from_view(view), view.channels)


def write_counts(
    path: str | Path, counts: np.ndarray, channels: Sequence[str], air_counts: int | None = None
) -> None:
    """Write (C, H, W) uint8 or uint16 counts as a scanner gives them, one named page per channel.

    Args:
        air_counts: what air counts in the channels of transmission; it is written into the file, and
            read back as transmission 1. Full scale where it is not told.
    """
    about = None if air_counts is None else json.dumps({"air_counts": air_counts})
    with tifffile.TiffWriter(path) as file:
        for name, page in zip(channels, counts, strict=True):
            tags = [(285, 2, len(name) + 1, name, True)]  # PageName
            # A predictor halves a noisy page; the weakest level costs least and gives up 3 %.
            file.write(
                page,
                compression="zstd",
                compressionargs={"level": 1},
                predictor=True,
                photometric="minisblack",
                extratags=tags,
                description=about,
                metadata=None,
            )
