"""Channels in one NPZ file: exact, or as a scanner's counts."""

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
        meta = _meta(path, arrays.pop("meta")) if "meta" in arrays else {}
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
            if quantity != quantity_of(channels):
                raise ReadError(
                    f"{path}: whole numbers of {', '.join(channels)} are {quantity_of(channels)}, not {quantity}: store {quantity} as floats"
                )
            return view_from_counts(arrays["pixels"], channels, **fields)
        if not arrays:
            raise ReadError(f"{path}: no arrays inside")
        return view_from_counts(np.stack(list(arrays.values())), tuple(arrays), **fields)


def _meta(path: Path, told: np.ndarray) -> dict[str, Any]:
    """What lies beside the pixels, each of the type that it must have.

    Raises:
        ReadError: it has another.
    """
    text = told.item() if told.ndim == 0 else None
    meta = json.loads(text.decode() if isinstance(text, bytes) else str(text))
    if not isinstance(meta, dict):
        raise ReadError(f"{path}: meta must be a mapping, got {type(meta).__name__}")
    channels, pitch, depth = (
        meta.get("channels", []),
        meta.get("pixel_pitch_mm"),
        meta.get("bit_depth"),
    )
    wrong = {
        "channels": not isinstance(channels, list)
        or not all(isinstance(name, str) for name in channels),
        "quantity": meta.get("quantity", QUANTITIES[0]) not in QUANTITIES,
        "view_id": not isinstance(meta.get("view_id", ""), str),
        "pixel_pitch_mm": pitch is not None
        and (
            isinstance(pitch, bool)
            or not isinstance(pitch, int | float)
            or not 0 < pitch < math.inf
        ),
        "bit_depth": depth is not None
        and (isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= 64),
    }
    if found := [f"{name}: {meta[name]!r}" for name, is_wrong in wrong.items() if is_wrong]:
        raise ReadError(f"{path}: meta holds no {', no '.join(found)[:200]}")
    return meta


def _check_npz_headers(path: Path) -> None:
    """Read every array's header, not its data: what they announce together, what they hold, and that little lies beside the images."""
    planes = beside = 0
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(member)
            if dtype.hasobject:
                raise ReadError(f"{path}: {name} holds pickled objects, which are never loaded")
            if len(shape) < 2:
                beside += math.prod(shape) * dtype.itemsize
                if beside > MAX_META_BYTES:
                    raise ReadError(
                        f"{path}: {name} takes more than {MAX_META_BYTES >> 20} MB and is no image"
                    )
                continue
            if dtype.kind not in "uif" or dtype.itemsize > LARGEST_NUMBER_BYTES:
                raise ReadError(
                    f"{path}: {name} is of type {dtype}, images are of whole or real numbers"
                )
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
