"""Headerless raw files with a YAML sidecar that describes their layout.

For example, ``7.yaml`` describes ``7.raw`` in the same directory::

    width: 640
    height: 480
    channels: [low, high]
    dtype: uint16
    endianness: little
    interleave: bsq
    offset: 512
    bits: 12
    air: {low: 3900, high: 3850}
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bagscan.config import fill, read_yaml
from bagscan.core import QUANTITIES, View
from bagscan.core.checks import is_number
from bagscan.core.errors import BagscanError, ReadError
from bagscan.formats.limits import MAX_CHANNELS, MAX_META_BYTES, check_pixels, check_size, naming
from bagscan.formats.quantities import (
    ZEFF_PER_COUNT,
    Reference,
    counts_from_view,
    quantity_of,
    referenced_view,
)

SIDECAR_ENDINGS = (".yaml", ".yml")
DTYPES = {"uint8": "u1", "uint16": "u2", "uint32": "u4", "float32": "f4", "float64": "f8"}
ENDIANNESS = {"little": "<", "big": ">"}
INTERLEAVE = {
    "bsq": "channel, row, column",
    "bil": "row, channel, column",
    "bip": "row, column, channel",
}
POLARITY = ("air_is_high", "air_is_low")
ROTATIONS = (0, 90, 180, 270)
MAX_BITS = 32


@dataclass(frozen=True)
class Sidecar:
    """Layout and meaning of the numbers in a headerless file.

    Attributes:
        width: width of the stored image in pixels.
        height: height of the stored image in pixels.
        channels: channel names in stored order, for example ``[low, high, zeff]``.
        dtype: uint8, uint16, uint32, float32 or float64.
        endianness: little or big.
        interleave: bsq (band sequential), bil (channels interleaved by line) or bip (channels
            interleaved by pixel).
        offset: bytes before the first number.
        footer: bytes after the last number.
        bits: significant bits of integers, for example 12 of a 16-bit type; 0 for all.
        polarity: air_is_high if air has large counts, air_is_low if it has small counts.
        air: counts of air by channel: a number, or a list of ``width`` numbers, one per detector
            element. The default is full scale.
        dark: counts without X-rays by channel, as for ``air``. The default is 0.
        zeff_per_count: effective Z per count in the channel ``zeff``.
        quantity: quantity of floats, an entry of ``QUANTITIES``; required for floats, omitted for
            integers.
        rotate_deg: counter-clockwise rotation of the stored image: 0, 90, 180 or 270.
        mirror: True to swap left and right before the rotation.
        pixel_pitch_mm: pixel pitch at the detector.

    Raises:
        ValueError: a value is out of range, or values contradict each other.
    """

    width: int
    height: int
    channels: tuple[str, ...] = ("low",)
    dtype: str = "uint16"
    endianness: str = "little"
    interleave: str = "bsq"
    offset: int = 0
    footer: int = 0
    bits: int = 0
    polarity: str = POLARITY[0]
    air: Mapping[str, Any] | None = None
    dark: Mapping[str, Any] | None = None
    zeff_per_count: float = ZEFF_PER_COUNT
    quantity: str | None = None
    rotate_deg: int = 0
    mirror: bool = False
    pixel_pitch_mm: float | None = None

    def __post_init__(self) -> None:
        for key, known in (
            ("dtype", DTYPES),
            ("endianness", ENDIANNESS),
            ("interleave", INTERLEAVE),
            ("polarity", POLARITY),
            ("rotate_deg", ROTATIONS),
        ):
            if getattr(self, key) not in known:
                choices = ", ".join(map(str, known))
                raise ValueError(f"{key} must be one of {choices}, got {getattr(self, key)!r}")
        for key in ("width", "height"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be 1 or more, got {getattr(self, key)}")
        for key in ("offset", "footer"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be 0 or more bytes, got {getattr(self, key)}")
        n = len(self.channels)
        if not 1 <= n <= MAX_CHANNELS or len(set(self.channels)) < n:
            raise ValueError(f"channels must be 1 to {MAX_CHANNELS} names, got {self.channels}")
        most = min(8 * self.itemsize, MAX_BITS)
        if not self.is_float and not 0 <= self.bits <= most:
            raise ValueError(f"bits must be 0 to {most} for {self.dtype}, got {self.bits}")
        pitch = self.pixel_pitch_mm
        if pitch is not None and not 0 < pitch < math.inf:
            raise ValueError(f"pixel_pitch_mm must be positive, got {pitch}")
        if not 0 < self.zeff_per_count < math.inf:
            raise ValueError(f"zeff_per_count must be positive, got {self.zeff_per_count}")
        self._check_quantity()
        for key in ("air", "dark"):
            self._check_reference(key, getattr(self, key))

    def _check_quantity(self) -> None:
        if not self.is_float:
            implied = quantity_of(self.channels)
            if self.quantity not in (None, implied):
                names = ", ".join(self.channels)
                raise ValueError(f"quantity of integers in {names} is always {implied}; omit it")
            return
        if self.quantity not in QUANTITIES:
            known = ", ".join(QUANTITIES)
            raise ValueError(f"quantity of {self.dtype} must be one of {known}")
        if self.bits or self.air or self.dark or self.polarity != POLARITY[0]:
            raise ValueError(
                f"bits, air, dark and polarity apply to integers only, not to {self.dtype}"
            )

    def _check_reference(self, key: str, by_channel: Mapping[str, Any] | None) -> None:
        if by_channel is None:
            return
        if not isinstance(by_channel, Mapping):
            example = f"{{{self.channels[0]}: 60000}}"
            raise ValueError(f"{key} must name channels, for example {example}, got {by_channel!r}")
        for name, value in by_channel.items():
            if name not in self.channels or name == "zeff":
                known = ", ".join(self.channels)
                raise ValueError(
                    f"{key}.{name} is not a transmission channel; the channels are {known}"
                )
            numbers = value if isinstance(value, list) else [value]
            if isinstance(value, list) and len(value) != self.width:
                raise ValueError(f"{key}.{name} must have 1 or {self.width} (width) numbers")
            if not all(is_number(number) for number in numbers):
                raise ValueError(f"{key}.{name} must be numbers, got {str(value)[:60]}")

    @property
    def is_float(self) -> bool:
        """True if the numbers are floats that contain the quantity directly."""
        return self.dtype.startswith("float")

    @property
    def itemsize(self) -> int:
        """Bytes per number."""
        return int(DTYPES[self.dtype][1])

    def references(self, key: str) -> list[Reference]:
        """Return the references of every channel: () or (width,) float64, or None.

        Args:
            key: ``air`` or ``dark``.
        """
        by_channel = getattr(self, key) or {}
        values = (by_channel.get(name) for name in self.channels)
        return [None if value is None else np.asarray(value, np.float64) for value in values]


def sidecar_of(path: Path) -> Path | None:
    """Return the ``.yaml`` or ``.yml`` sidecar of a headerless file, or None if it is missing."""
    return next(iter(beside(path, SIDECAR_ENDINGS)), None)


def beside(path: Path, endings: Sequence[str]) -> list[Path]:
    """Return the existing files with the same stem and other endings, lower or upper case."""
    cases = (case for ending in endings for case in (ending, ending.upper()))
    candidates = (path.with_suffix(ending) for ending in cases)
    return [file for file in candidates if file.is_file()]


def read_sidecar(path: Path) -> Sidecar:
    """Read a sidecar.

    Raises:
        BagscanError: a key or a value is wrong; the message names the file, the line and the key.
    """
    check_size(path, MAX_META_BYTES)
    data, lines = read_yaml(path)
    return fill(Sidecar, data, str(path), lines)


def read_headerless(path: str | Path) -> View:
    """Read a headerless file with its sidecar.

    Returns:
        A view of (C, H, W) pixels, after mirroring and rotation.

    Raises:
        ReadError: the sidecar is missing or wrong, or the size of the file differs from it.
    """
    path = Path(path)
    check_size(path)
    with naming(path, "headerless file"):
        sidecar = sidecar_of(path)
        if sidecar is None:
            names = " or ".join(path.with_suffix(ending).name for ending in SIDECAR_ENDINGS)
            keys = "width, height, channels and dtype (see docs/your_scanners_files.md)"
            raise ReadError(f"{path}: sidecar {names} is missing; write it with {keys}")
        side = read_sidecar(sidecar)
        check_pixels(path, side.height, side.width, len(side.channels))
        count = side.height * side.width * len(side.channels)
        expected, size = side.offset + count * side.itemsize + side.footer, path.stat().st_size
        if size != expected:
            raise ReadError(
                f"{path}: file has {size:,} bytes; {sidecar.name} implies {expected:,}: "
                f"{side.width} x {side.height} x {len(side.channels)} {side.dtype}, "
                f"offset {side.offset}, footer {side.footer}"
            )
        dtype = np.dtype(ENDIANNESS[side.endianness] + DTYPES[side.dtype])
        flat = np.fromfile(path, dtype, count, offset=side.offset)
        planes = _to_planes(side, flat.astype(dtype.newbyteorder("="), copy=False))
        fields: dict[str, Any] = {"pixel_pitch_mm": side.pixel_pitch_mm}
        if side.is_float:
            view = View(planes.astype(np.float32), side.channels, str(side.quantity), **fields)
        else:
            bits = side.bits or 8 * side.itemsize
            view = referenced_view(
                planes,
                side.channels,
                bits,
                side.references("air"),
                side.references("dark"),
                side.polarity == "air_is_low",
                side.zeff_per_count,
                **fields,
            )
        return _orient(side, view)


def _to_planes(side: Sidecar, flat: np.ndarray) -> np.ndarray:
    """Return the (C, H, W) array of numbers in the order of the file."""
    c, h, w = len(side.channels), side.height, side.width
    if side.interleave == "bil":
        return flat.reshape(h, c, w).transpose(1, 0, 2)
    if side.interleave == "bip":
        return flat.reshape(h, w, c).transpose(2, 0, 1)
    return flat.reshape(c, h, w)


def _orient(side: Sidecar, view: View) -> View:
    """Mirror and rotate a view according to the sidecar."""
    if not side.mirror and not side.rotate_deg:
        return view
    pixels = view.pixels[..., ::-1] if side.mirror else view.pixels
    pixels = np.ascontiguousarray(np.rot90(pixels, side.rotate_deg // 90, axes=(1, 2)))
    return dataclasses.replace(view, pixels=pixels)


def write_headerless(path: str | Path, view: View) -> Path:
    """Write little-endian counts, band sequential, and their sidecar.

    Args:
        path: file ending in ``.raw``, ``.bin`` or ``.img``.
        view: the view.

    Returns:
        The path of the sidecar.

    Raises:
        BagscanError: the view has no counts (``log_attenuation``), or ``path`` is a sidecar.
    """
    path = Path(path)
    if path.suffix.lower() in SIDECAR_ENDINGS:
        raise BagscanError(f"{path}: {path.suffix} is the ending of a sidecar; use .raw")
    counts = counts_from_view(view)
    counts.astype(counts.dtype.newbyteorder("<")).tofile(path)
    settings: dict[str, Any] = {
        "width": view.shape[1],
        "height": view.shape[0],
        "channels": list(view.channels),
        "dtype": str(counts.dtype),
        "endianness": "little",
        "interleave": "bsq",
    }
    if view.pixel_pitch_mm is not None:
        settings["pixel_pitch_mm"] = view.pixel_pitch_mm
    sidecar = path.with_suffix(SIDECAR_ENDINGS[0])
    sidecar.write_text(yaml.safe_dump(settings, sort_keys=False))
    return sidecar
