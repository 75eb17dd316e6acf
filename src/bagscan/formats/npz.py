"""NPZ files with exact pixels or with counts."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import QUANTITIES, View
from bagscan.core.errors import ReadError
from bagscan.formats.limits import MAX_META_BYTES, check_pixels, check_size, naming
from bagscan.formats.quantities import default_channels, quantity_of, view_from_counts

LARGEST_NUMBER_BYTES = 8


def read_npz(path: str | Path) -> View:
    """Read an NPZ file as one view.

    The file contains either ``pixels``, a (C, H, W) array of floats or counts, with ``meta``, a
    JSON string; or (H, W) arrays of counts named by channel.

    Raises:
        ReadError: as :func:`bagscan.formats.read_scan`; also for pickled objects, which are never
            loaded.
    """
    path = Path(path)
    check_size(path)
    with naming(path, "NPZ"):
        _check_npz_headers(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = _read_meta(path, arrays.pop("meta")) if "meta" in arrays else {}
        fields = {key: meta[key] for key in ("pixel_pitch_mm", "view_id") if key in meta}
        if "pixels" in arrays:
            channels = tuple(meta.get("channels", default_channels(len(arrays["pixels"]))))
            quantity = meta.get("quantity", quantity_of(channels))
            if arrays["pixels"].dtype.kind == "f":
                return View(
                    arrays["pixels"].astype(np.float32),
                    channels,
                    quantity,
                    bit_depth=meta.get("bit_depth"),
                    **fields,
                )
            implied = quantity_of(channels)
            if quantity != implied:
                raise ReadError(
                    f"{path}: integers in {', '.join(channels)} are {implied}, not {quantity}; "
                    f"store {quantity} as floats"
                )
            return view_from_counts(arrays["pixels"], channels, **fields)
        if not arrays:
            raise ReadError(f"{path}: contains no arrays")
        return view_from_counts(np.stack(list(arrays.values())), tuple(arrays), **fields)


def _read_meta(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Parse the metadata and check the type of each field."""
    text = array.item() if array.ndim == 0 else None
    meta = json.loads(text.decode() if isinstance(text, bytes) else str(text))
    if not isinstance(meta, dict):
        raise ReadError(f"{path}: meta must be a mapping, got {type(meta).__name__}")
    channels = meta.get("channels", [])
    is_valid = {
        "channels": isinstance(channels, list) and all(isinstance(name, str) for name in channels),
        "quantity": meta.get("quantity", QUANTITIES[0]) in QUANTITIES,
        "view_id": isinstance(meta.get("view_id", ""), str),
        "pixel_pitch_mm": _is_pitch(meta.get("pixel_pitch_mm")),
        "bit_depth": _is_depth(meta.get("bit_depth")),
    }
    if invalid := [f"{name}: {meta[name]!r}" for name, valid in is_valid.items() if not valid]:
        raise ReadError(f"{path}: meta has invalid values: {', '.join(invalid)[:200]}")
    return meta


def _is_pitch(value: Any) -> bool:
    if value is None:
        return True
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and 0 < value < math.inf


def _is_depth(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 64


def _check_npz_headers(path: Path) -> None:
    """Check the types and the total size of all arrays. Only their headers are read."""
    planes = other_bytes = 0
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                read_header = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read_header(member)
            if dtype.hasobject:
                raise ReadError(f"{path}: {name} contains pickled objects, which are never loaded")
            if len(shape) < 2:
                other_bytes += math.prod(shape) * dtype.itemsize
                if other_bytes > MAX_META_BYTES:
                    raise ReadError(
                        f"{path}: {name} is not an image; arrays that are not images "
                        f"must not exceed {MAX_META_BYTES >> 20} MB in total"
                    )
                continue
            if dtype.kind not in "uif" or dtype.itemsize > LARGEST_NUMBER_BYTES:
                raise ReadError(f"{path}: {name} has type {dtype}; expected integers or floats")
            planes += math.prod(shape[:-2])
            check_pixels(path, shape[-2], shape[-1], planes)


def write_npz(path: str | Path, view: View) -> None:
    """Write exact float32 pixels with channels, quantity, pitch, view name and bit depth."""
    meta = {
        "channels": view.channels,
        "quantity": view.quantity,
        "pixel_pitch_mm": view.pixel_pitch_mm,
        "view_id": view.view_id,
        "bit_depth": view.bit_depth,
    }
    np.savez_compressed(path, pixels=view.pixels, meta=np.array(json.dumps(meta)))
