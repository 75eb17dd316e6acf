"""Headerless raw files with a YAML sidecar that says how to read them.

``7.raw`` is read by what ``7.yaml`` beside it says::

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
    """How the numbers of a headerless file are laid out, and what they mean.

    Attributes:
        width, height: of the stored image, pixels.
        channels: names in the order in which they are stored, for example ``[low, high, zeff]``.
        dtype: uint8, uint16, uint32, float32 or float64. endianness: little or big.
        interleave: bsq (one channel after the other), bil (channels line by line) or bip (channels
            pixel by pixel).
        offset: bytes before the first number. footer: bytes after the last one.
        bits: significant bits of whole numbers, for example 12 of a 16-bit type; 0 for all.
        polarity: air_is_high where air has large counts, air_is_low where it has small ones.
        air, dark: counts of air and of no X-rays by channel: a number, or a list of ``width``
            numbers, one per detector. Channels that are not named use full scale and 0.
        zeff_per_count: effective Z of one count in a channel called ``zeff``.
        quantity: of real numbers, required for them: one of ``QUANTITIES``. Leave it out for whole
            numbers.
        rotate_deg: 0, 90, 180 or 270, counter-clockwise, applied to what is stored.
        mirror: left and right are swapped, before the rotation.
        pixel_pitch_mm: at the detector.
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
            own = quantity_of(self.channels)
            if self.quantity not in (None, own):
                names = ", ".join(self.channels)
                raise ValueError(f"quantity of whole numbers of {names} is {own}: leave it out")
            return
        if self.quantity not in QUANTITIES:
            known = ", ".join(QUANTITIES)
            raise ValueError(f"quantity of {self.dtype} must be one of {known}")
        if self.bits or self.air or self.dark or self.polarity != POLARITY[0]:
            raise ValueError(f"bits, air, dark and polarity are of whole numbers, not {self.dtype}")

    def _check_reference(self, key: str, given: Mapping[str, Any] | None) -> None:
        if given is None:
            return
        if not isinstance(given, Mapping):
            example = f"{{{self.channels[0]}: 60000}}"
            raise ValueError(f"{key} must name channels, for example {example}, got {given!r}")
        for name, value in given.items():
            if name not in self.channels or name == "zeff":
                known = ", ".join(self.channels)
                raise ValueError(f"{key}.{name} is no channel of transmission; there are {known}")
            numbers = value if isinstance(value, list) else [value]
            if isinstance(value, list) and len(value) != self.width:
                raise ValueError(f"{key}.{name} must have 1 or {self.width} (width) numbers")
            if not all(is_number(number) for number in numbers):
                raise ValueError(f"{key}.{name} must be numbers, got {str(value)[:60]}")

    @property
    def is_float(self) -> bool:
        """Whether the numbers are real ones, the quantity itself."""
        return self.dtype.startswith("float")

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return int(DTYPES[self.dtype][1])

    def references(self, key: str) -> list[Reference]:
        """``air`` or ``dark`` of every channel: a number, a (width,) array, or None."""
        given = getattr(self, key) or {}
        found = (given.get(name) for name in self.channels)
        return [None if one is None else np.asarray(one, np.float64) for one in found]


def sidecar_of(path: Path) -> Path | None:
    """The sidecar of a headerless file: ``.yaml`` or ``.yml``, in small letters or capitals; None where it is missing."""
    return next(iter(beside(path, SIDECAR_ENDINGS)), None)


def beside(path: Path, endings: Sequence[str]) -> list[Path]:
    """Files of a file's name with other endings that are there, in small letters or capitals."""
    spelt = (path.with_suffix(one) for ending in endings for one in (ending, ending.upper()))
    return [file for file in spelt if file.is_file()]


def read_sidecar(path: Path) -> Sidecar:
    """Read a sidecar.

    Raises:
        BagscanError: a key or a value is wrong; the message names the file, the line and the key.
    """
    check_size(path, MAX_META_BYTES)
    data, lines = read_yaml(path)
    return fill(Sidecar, data, str(path), lines)


def read_headerless(path: str | Path) -> View:
    """Read a headerless file as its sidecar says.

    Returns:
        A view of (C, H, W) pixels, after the rotation.

    Raises:
        ReadError: the sidecar is missing or wrong, or the file is not of the size that it gives.
    """
    path = Path(path)
    check_size(path)
    with naming(path, "headerless file"):
        beside = sidecar_of(path)
        if beside is None:
            names = " or ".join(path.with_suffix(ending).name for ending in SIDECAR_ENDINGS)
            what = "width, height, channels and dtype, see docs/your_scanners_files.md"
            raise ReadError(f"{path}: the sidecar {names} is missing; it gives {what}")
        side = read_sidecar(beside)
        check_pixels(path, side.height, side.width, len(side.channels))
        count = side.height * side.width * len(side.channels)
        expected, size = side.offset + count * side.itemsize + side.footer, path.stat().st_size
        if size != expected:
            raise ReadError(
                f"{path}: {size:,} bytes, but {beside.name} gives {expected:,}: "
                f"{side.width} x {side.height} x {len(side.channels)} {side.dtype}, "
                f"offset {side.offset}, footer {side.footer}"
            )
        dtype = np.dtype(ENDIANNESS[side.endianness] + DTYPES[side.dtype])
        flat = np.fromfile(path, dtype, count, offset=side.offset)
        planes = _planes(side, flat.astype(dtype.newbyteorder("="), copy=False))
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
        return _turned(side, view)


def _planes(side: Sidecar, flat: np.ndarray) -> np.ndarray:
    """(C, H, W) of the numbers in the order of the file."""
    c, h, w = len(side.channels), side.height, side.width
    if side.interleave == "bil":
        return flat.reshape(h, c, w).transpose(1, 0, 2)
    if side.interleave == "bip":
        return flat.reshape(h, w, c).transpose(2, 0, 1)
    return flat.reshape(c, h, w)


def _turned(side: Sidecar, view: View) -> View:
    """The view, mirrored and rotated as the sidecar says."""
    if not side.mirror and not side.rotate_deg:
        return view
    pixels = view.pixels[..., ::-1] if side.mirror else view.pixels
    pixels = np.ascontiguousarray(np.rot90(pixels, side.rotate_deg // 90, axes=(1, 2)))
    return dataclasses.replace(view, pixels=pixels)


def write_headerless(path: str | Path, view: View) -> Path:
    """Write counts, one channel after the other, little endian, and the sidecar that reads them.

    Args:
        path: ends in ``.raw``, ``.bin`` or ``.img``.

    Returns:
        The sidecar's path.

    Raises:
        BagscanError: the view has no counts (``log_attenuation``).
    """
    path = Path(path)
    if path.suffix.lower() in SIDECAR_ENDINGS:
        raise BagscanError(f"{path}: a headerless file cannot end as its sidecar does")
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
    beside = path.with_suffix(SIDECAR_ENDINGS[0])
    beside.write_text(yaml.safe_dump(settings, sort_keys=False))
    return beside
