"""Channel stacks in one file: multi-page TIFF with named pages, and NPZ."""

from __future__ import annotations

import json
import logging
import math
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

from bagscan.core import QUANTITIES, View
from bagscan.core.errors import ReadError
from bagscan.formats.limits import MAX_CHANNELS, MAX_META_BYTES, check_pixels, check_size, naming
from bagscan.formats.quantities import RGB, counts_from_view, default_channels, view_from_counts

LARGEST_NUMBER_BYTES = 8


def read_tiff(path: str | Path) -> View:
    """Read a TIFF of 8- or 16-bit pages, or of one page with several samples, as one view.

    Pages are named by their PageName tag or ImageDescription; unnamed ones are low, high, zeff.
    One RGB page is pseudo-colour, at any depth.

    Raises:
        ReadError: as :func:`bagscan.formats.read_scan`.
    """
    path = Path(path)
    check_size(path)
    with naming(path, "TIFF"), _complaints_are_errors(), tifffile.TiffFile(path) as file:
        pages: list[tifffile.TiffPage | tifffile.TiffFrame] = []
        for page in file.pages:
            if len(pages) == MAX_CHANNELS:
                raise ReadError(f"{path}: more than {MAX_CHANNELS} pages")
            header = page.keyframe
            if header is None:
                raise ReadError(f"{path}: a page without its own header")
            check_pixels(path, header.imagelength, header.imagewidth, max(1, int(np.prod(page.shape)) // (header.imagelength * header.imagewidth)))
            if page.dtype is None or page.dtype.kind != "u" or page.dtype.itemsize > 2:
                raise ReadError(f"{path}: pages must be 8- or 16-bit unsigned, got {page.dtype}")
            pages.append(page)
            check_pixels(path, header.imagelength, header.imagewidth, len(pages))
        first = pages[0]
        if len(pages) == 1 and len(first.shape) == 3:
            data = np.asarray(first.asarray())
            samples_last = header is not None and header.planarconfig == 1
            counts = data.transpose(2, 0, 1) if samples_last else data
            names = RGB if len(counts) == 3 else default_channels(len(counts))
        else:
            if len({(p.shape, p.dtype) for p in pages}) > 1 or len(first.shape) != 2:
                raise ReadError(f"{path}: pages must be grey and of one size and depth, got {[p.shape for p in pages]}")
            counts = np.stack([p.asarray() for p in pages])
            names = _page_names(pages)
    return view_from_counts(counts, names, air_counts=_air_counts(first))


def _air_counts(page: tifffile.TiffPage | tifffile.TiffFrame) -> int | None:
    """What air counts, where the file says so (see :func:`write_counts`)."""
    try:
        told = json.loads(getattr(page, "description", "") or "{}")
        return int(told["air_counts"]) if isinstance(told, dict) and told.get("air_counts") else None
    except (ValueError, TypeError):
        return None


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


def _page_name(page: tifffile.TiffPage | tifffile.TiffFrame) -> str:
    if not isinstance(page, tifffile.TiffPage):
        return ""
    return str(page.tags["PageName"].value) if "PageName" in page.tags else page.description


def _page_names(pages: Sequence[tifffile.TiffPage | tifffile.TiffFrame]) -> tuple[str, ...]:
    named = [_page_name(p) for p in pages]
    unique = all(named) and len(set(named)) == len(named) and not any("{" in name for name in named)
    return tuple(named) if unique else default_channels(len(pages))


def write_tiff(path: str | Path, view: View) -> None:
    """Write one zstd-compressed page per channel, named; counts come back bit for bit."""
    write_counts(path, counts_from_view(view), view.channels)


def write_counts(path: str | Path, counts: np.ndarray, channels: Sequence[str], air_counts: int | None = None) -> None:
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
            file.write(page, compression="zstd", compressionargs={"level": 1}, predictor=True, photometric="minisblack", extratags=tags, description=about, metadata=None)


def read_npz(path: str | Path) -> View:
    """Read an NPZ: ``pixels`` (C, H, W) float32 with ``meta`` JSON, or uint arrays named by channel.

    Raises:
        ReadError: as :func:`bagscan.formats.read_scan`; also for pickled objects, never loaded.
    """
    path = Path(path)
    check_size(path)
    with naming(path, "NPZ"):
        _check_npz_headers(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta"))) if "meta" in arrays else {}
        fields = {key: meta[key] for key in ("pixel_pitch_mm", "view_id") if key in meta}
        if "pixels" in arrays:
            channels = tuple(meta.get("channels", default_channels(len(arrays["pixels"]))))
            quantity = meta.get("quantity", "transmission")
            if quantity not in QUANTITIES:
                raise ReadError(f"{path}: quantity {quantity!r} is none of {QUANTITIES}")
            if arrays["pixels"].dtype.kind == "f":
                return View(arrays["pixels"].astype(np.float32), channels, quantity, bit_depth=meta.get("bit_depth"), **fields)
            return view_from_counts(arrays["pixels"], channels, **fields)
        if not arrays:
            raise ReadError(f"{path}: no arrays inside")
        return view_from_counts(np.stack(list(arrays.values())), tuple(arrays), **fields)


def _check_npz_headers(path: Path) -> None:
    """Read every array's header, not its data: what they announce together, what they hold, and that little lies beside the images."""
    planes = beside = 0
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(member)
            if dtype.hasobject:
                raise ReadError(f"{path}: {name} holds pickled objects, which are never loaded")
            if len(shape) < 2:
                beside += math.prod(shape) * dtype.itemsize
                if beside > MAX_META_BYTES:
                    raise ReadError(f"{path}: {name} takes more than {MAX_META_BYTES >> 20} MB and is no image")
                continue
            if dtype.kind not in "uif" or dtype.itemsize > LARGEST_NUMBER_BYTES:
                raise ReadError(f"{path}: {name} is of type {dtype}, images are of whole or real numbers")
            planes += math.prod(shape[:-2])
            check_pixels(path, shape[-2], shape[-1], planes)


def write_npz(path: str | Path, view: View) -> None:
    """Write exact float32 pixels with channels, quantity and pitch."""
    meta = {
        "channels": view.channels,
        "quantity": view.quantity,
        "pixel_pitch_mm": view.pixel_pitch_mm,
        "view_id": view.view_id,
        "bit_depth": view.bit_depth,
    }
    np.savez_compressed(path, pixels=view.pixels, meta=np.array(json.dumps(meta)))
