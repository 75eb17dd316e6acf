"""Conversion between stored counts and the physical values of a View, exact for 16 bits."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from bagscan.core import View
from bagscan.core.errors import BagscanError, ReadError

FULL_SCALE = {8: 255.0, 16: 65535.0}
ZEFF_PER_COUNT = 1e-3  # effective Z is stored in thousandths, up to 65.535
CHANNEL_NAMES = ("low", "high", "zeff")
RGB = ("red", "green", "blue")
LABELS = {  # channel names used by scanners and people
    "low": ("low", "le", "low_energy", "lowenergy"),
    "high": ("high", "he", "high_energy", "highenergy"),
    "zeff": ("zeff", "z_eff", "effective_z", "effective_atomic_number"),
}
CHANNEL_OF = {label: name for name, labels in LABELS.items() for label in labels}


def named_channels(labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the standard channel names for the labels in a file (case-insensitive).

    Returns:
        The names, or None if a label is empty or repeated.

    Raises:
        ReadError: a label is empty or repeated, although another label is low, high or effective Z.
            Default names could then swap channels.
    """
    folded = [re.sub(r"[ -]+", "_", label.strip().lower()) for label in labels]
    names = tuple(CHANNEL_OF.get(label, label) for label in folded)
    if all(names) and len(set(names)) == len(names):
        return names
    if any(label in CHANNEL_OF for label in folded):
        raise ReadError(
            f"channels are named {', '.join(repr(label[:30]) for label in labels)}; "
            "give each channel a different name, or remove all names"
        )
    return None


def default_channels(n: int) -> tuple[str, ...]:
    """Return names for ``n`` channels without names in the file."""
    return CHANNEL_NAMES[:n] if n <= 3 else tuple(f"channel{i}" for i in range(n))


def quantity_of(channels: tuple[str, ...]) -> str:
    """Return the quantity of a view with 16-bit channels of these names."""
    if channels == ("zeff",):
        return "effective_z"
    if "zeff" in channels:
        return "dual_energy"
    return "pseudo_colour" if channels == RGB else "transmission"


def view_from_counts(
    counts: np.ndarray,
    channels: tuple[str, ...],
    air_counts: int | None = None,
    bits: int = 0,
    **fields: object,
) -> View:
    """Create a view from (C, H, W) uint8 or uint16 counts.

    Args:
        counts: the counts.
        channels: names of the channels.
        air_counts: counts of transmission 1; full scale if None.
        bits: bits of full scale; 0 for those of the type of ``counts``.
        fields: other fields of the view.

    Raises:
        BagscanError: ``counts`` has another type.
    """
    if counts.dtype.kind != "u" or counts.dtype.itemsize > 2:
        raise BagscanError(f"counts must be uint8 or uint16, got {counts.dtype}")
    bits = bits or counts.dtype.itemsize * 8
    scale = [
        ZEFF_PER_COUNT if name == "zeff" else 1 / (air_counts or (1 << bits) - 1)
        for name in channels
    ]
    # Decoded images have interleaved channels; later steps are faster on contiguous planes.
    pixels = counts.astype(np.float32, order="C")
    pixels *= np.array(scale, np.float32)[:, None, None]
    return View(pixels, channels, quantity_of(channels), bit_depth=bits, **fields)  # type: ignore[arg-type]


Reference = float | np.ndarray | None


def referenced_view(
    counts: np.ndarray,
    channels: tuple[str, ...],
    bits: int,
    air: Sequence[Reference] = (),
    dark: Sequence[Reference] = (),
    inverted: bool = False,
    zeff_per_count: float = ZEFF_PER_COUNT,
    **fields: object,
) -> View:
    """Create a view from raw counts with references: (counts - dark) / (air - dark).

    Args:
        counts: (C, H, W) unsigned integers.
        channels: names of the channels.
        bits: significant bits; full scale is 2**bits - 1.
        air: counts of air for each channel, or (). Each is a number, an array that broadcasts to
            (H, W), or None for full scale. Not used for effective Z.
        dark: counts without X-rays for each channel, as for ``air``; None is 0.
        inverted: True if air has small counts. None is then 0 for air and full scale for dark.
        zeff_per_count: effective Z per count in the channel ``zeff``.
        fields: other fields of the view, for example ``pixel_pitch_mm``.

    Returns:
        A view of transmission (and effective Z). Counts of 8 or 16 bits without references are
        restored exactly by :func:`counts_from_view`.

    Raises:
        BagscanError: a count exceeds full scale, or the references of air and dark are equal.
    """
    full = float((1 << bits) - 1)
    if int(counts.max(initial=0)) > full:
        raise BagscanError(
            f"counts reach {int(counts.max())}; the maximum for {bits} bits is {full:.0f}"
        )
    air_default, dark_default = (0.0, full) if inverted else (full, 0.0)
    no_references: tuple[Reference, ...] = (None,) * len(channels)
    references = zip(channels, air or no_references, dark or no_references, strict=True)
    pixels = np.empty(counts.shape, np.float32)
    for i, (name, own_air, own_dark) in enumerate(references):
        if name == "zeff":
            pixels[i] = counts[i].astype(np.float32) * np.float32(zeff_per_count)
        elif own_air is None and own_dark is None:
            plane = full - counts[i] if inverted else counts[i]
            pixels[i] = plane.astype(np.float32) * np.float32(1 / full)
        else:
            zero = dark_default if own_dark is None else own_dark
            span = np.asarray(air_default if own_air is None else own_air) - np.asarray(zero)
            if not np.isfinite(span).all() or (span == 0).any():
                raise BagscanError(f"the air and dark references of {name} are equal or not finite")
            pixels[i] = (counts[i].astype(np.float64) - zero) / span
    return View(pixels, channels, quantity_of(channels), bit_depth=bits, **fields)  # type: ignore[arg-type]


def transmission_of(view: View) -> View:
    """Convert a ``log_attenuation`` view to transmission, and return other views unchanged."""
    if view.quantity != "log_attenuation":
        return view
    return dataclasses.replace(
        view, pixels=np.exp(-view.pixels.clip(0)), quantity="transmission", bit_depth=None
    )


def counts_from_view(view: View) -> np.ndarray:
    """Return the (C, H, W) counts of a view, the exact inverse of :func:`view_from_counts`.

    Returns:
        uint8 for an 8-bit view, else uint16.

    Raises:
        BagscanError: the quantity is ``log_attenuation``; apply :func:`transmission_of` first.
    """
    if view.quantity == "log_attenuation":
        raise BagscanError(
            "log_attenuation cannot be written as counts; write the transmission, or NPZ"
        )
    bits = view.bit_depth if view.bit_depth in FULL_SCALE else 16
    scale = [ZEFF_PER_COUNT if name == "zeff" else 1 / FULL_SCALE[bits] for name in view.channels]
    counts = np.rint(view.pixels / np.array(scale)[:, None, None])
    return np.asarray(counts.clip(0, FULL_SCALE[bits]).astype(np.uint8 if bits == 8 else np.uint16))
