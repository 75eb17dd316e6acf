"""Counts on disk <-> physical values in a View: one rule per channel name, exact for 16 bits."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from bagscan.core import View
from bagscan.core.errors import BagscanError, ReadError

FULL_SCALE = {8: 255.0, 16: 65535.0}
ZEFF_PER_COUNT = 1e-3  # effective Z is written as thousandths: 65.535 at most
CHANNEL_NAMES = ("low", "high", "zeff")
RGB = ("red", "green", "blue")
LABELS = {  # as scanners and people call them
    "low": ("low", "le", "low_energy", "lowenergy"),
    "high": ("high", "he", "high_energy", "highenergy"),
    "zeff": ("zeff", "z_eff", "effective_z", "effective_atomic_number"),
}
CHANNEL_OF = {label: name for name, labels in LABELS.items() for label in labels}


def named_channels(labels: Sequence[str]) -> tuple[str, ...] | None:
    """Names of channels from what a file calls them, in any letters; None where it does not name them all, each differently.

    Raises:
        ReadError: some are low, high or effective Z, and the others have no name of their own: taken in order, one would be another.
    """
    folded = [re.sub(r"[ -]+", "_", label.strip().lower()) for label in labels]
    names = tuple(CHANNEL_OF.get(label, label) for label in folded)
    if all(names) and len(set(names)) == len(names):
        return names
    if any(label in CHANNEL_OF for label in folded):
        raise ReadError(
            f"channels are called {', '.join(repr(label[:30]) for label in labels)}: each needs a name of its own, or none has one"
        )
    return None


def default_channels(n: int) -> tuple[str, ...]:
    """Names for ``n`` channels that a file does not name."""
    return CHANNEL_NAMES[:n] if n <= 3 else tuple(f"channel{i}" for i in range(n))


def quantity_of(channels: tuple[str, ...]) -> str:
    """The quantity that 16-bit channels of these names hold together."""
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
    """A view of (C, H, W) uint8 or uint16 counts; ``air_counts``, or else full scale, is transmission 1.

    Args:
        bits: that full scale is of; 0 for those of the counts' type.
    """
    if counts.dtype.kind != "u" or counts.dtype.itemsize > 2:
        raise BagscanError(f"counts must be uint8 or uint16, got {counts.dtype}")
    bits = bits or counts.dtype.itemsize * 8
    scale = [
        ZEFF_PER_COUNT if name == "zeff" else 1 / (air_counts or (1 << bits) - 1)
        for name in channels
    ]
    pixels = counts.astype(
        np.float32, order="C"
    )  # pictures come with their channels innermost, which all that follows would pay for
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
    """A view of raw counts with air and dark references: (counts - dark) / (air - dark).

    Args:
        counts: (C, H, W) unsigned integers. bits: significant ones; full scale is 2**bits - 1.
        air, dark: one per channel, or none at all; each a number of counts, an array that
            broadcasts to (H, W), or None for full scale (air) and 0 (dark). Effective Z has none.
        inverted: small counts are air, large ones are dense; None then means 0 for air and full
            scale for dark.
        zeff_per_count: effective Z of one count in a channel called ``zeff``.
        fields: of the view, for example ``pixel_pitch_mm``.

    Returns:
        Transmission (and effective Z) as float32. Without references the counts can be restored
        bit for bit by :func:`counts_from_view` where they have 8 or 16 bits.

    Raises:
        BagscanError: a count above full scale, or a reference that leaves no range.
    """
    full = float((1 << bits) - 1)
    if int(counts.max(initial=0)) > full:
        raise BagscanError(f"a count is {int(counts.max())}, above the {full:.0f} of {bits} bits")
    none: tuple[Reference, ...] = (None,) * len(channels)
    pixels = np.empty(counts.shape, np.float32)
    for i, (name, a, d) in enumerate(zip(channels, air or none, dark or none, strict=True)):
        if name == "zeff":
            pixels[i] = counts[i].astype(np.float32) * np.float32(zeff_per_count)
        elif a is None and d is None:
            plane = full - counts[i] if inverted else counts[i]
            pixels[i] = plane.astype(np.float32) * np.float32(1 / full)
        else:
            zero = (full if inverted else 0.0) if d is None else d
            span = np.asarray((0.0 if inverted else full) if a is None else a) - np.asarray(zero)
            if not np.isfinite(span).all() or (span == 0).any():
                raise BagscanError(f"the air and dark references of {name} are equal or not finite")
            pixels[i] = (counts[i].astype(np.float64) - zero) / span
    return View(pixels, channels, quantity_of(channels), bit_depth=bits, **fields)  # type: ignore[arg-type]


def transmission_of(view: View) -> View:
    """What passes, of a ``log_attenuation`` view: as 16 bits where it becomes counts; of all others the view itself."""
    if view.quantity != "log_attenuation":
        return view
    return dataclasses.replace(
        view, pixels=np.exp(-view.pixels.clip(0)), quantity="transmission", bit_depth=None
    )


def counts_from_view(view: View) -> np.ndarray:
    """(C, H, W) uint16 (uint8 for an 8-bit view): the exact inverse of :func:`view_from_counts`.

    Raises:
        BagscanError: a ``log_attenuation`` view, which has no counts; those of :func:`transmission_of` it has.
    """
    if view.quantity == "log_attenuation":
        raise BagscanError(
            "log_attenuation is not written as counts; write the transmission, or NPZ"
        )
    bits = view.bit_depth if view.bit_depth in FULL_SCALE else 16
    scale = [ZEFF_PER_COUNT if name == "zeff" else 1 / FULL_SCALE[bits] for name in view.channels]
    counts = np.rint(view.pixels / np.array(scale)[:, None, None])
    return np.asarray(counts.clip(0, FULL_SCALE[bits]).astype(np.uint8 if bits == 8 else np.uint16))
