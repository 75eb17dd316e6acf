"""Scans and their views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bagscan.core.checks import freeze, require

QUANTITIES = ("transmission", "log_attenuation", "effective_z", "pseudo_colour", "dual_energy")


@dataclass(frozen=True)
class View:
    """Projection image of a bag.

    Attributes:
        pixels: (C, H, W) float32, finite. ``transmission`` and ``pseudo_colour`` lie in [0, 1]
            (1 is air or white). ``log_attenuation`` is >= 0 up to noise. ``effective_z`` is an
            atomic number, 0 where unknown. ``dual_energy`` is a stack of transmission channels
            with an optional ``zeff`` channel, distinguished by name.
        channels: name of each channel, for example ``("low", "high", "zeff")``.
        quantity: an entry of ``QUANTITIES``.
        pixel_pitch_mm: pixel pitch at the detector, or None if unknown.
        view_id: name of the view within its scan.
        bit_depth: significant bits per channel of the source, or None if unknown.

    Raises:
        ValueError: a wrong shape, type, name or quantity, or pixels that are not finite.
    """

    pixels: np.ndarray
    channels: tuple[str, ...]
    quantity: str
    pixel_pitch_mm: float | None = None
    view_id: str = "0"
    bit_depth: int | None = None

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        require(len(shape) == 3, f"pixels must be (C, H, W), got {shape}")
        require(min(shape) > 0, f"pixels must not be empty, got {shape}")
        require(self.pixels.dtype == np.float32, f"pixels must be float32, got {self.pixels.dtype}")
        require(isinstance(self.view_id, str), f"view_id must be a string, got {self.view_id!r}")
        require(
            all(isinstance(name, str) for name in self.channels),
            f"channels must be strings, got {self.channels}",
        )
        require(
            len(self.channels) == shape[0],
            f"{len(self.channels)} channel names for {shape[0]} channels",
        )
        require(len(set(self.channels)) == shape[0], f"channel names repeat: {self.channels}")
        require(
            self.quantity in QUANTITIES,
            f"quantity must be one of {QUANTITIES}, got {self.quantity!r}",
        )
        require(
            bool(np.isfinite(self.pixels).all()),
            f"view {self.view_id!r} contains NaN or infinite pixels",
        )
        pitch = self.pixel_pitch_mm
        require(pitch is None or pitch > 0, f"pixel_pitch_mm must be positive, got {pitch}")
        object.__setattr__(self, "pixels", freeze(self.pixels))

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the view, (H, W) in pixels."""
        return (int(self.pixels.shape[1]), int(self.pixels.shape[2]))


@dataclass(frozen=True)
class Scan:
    """Scan of one bag, with one or more views.

    Attributes:
        id: name of the scan, unique within a run.
        views: the views; their names differ.
        scanner: name of the machine, or ``"unknown"``.
        provenance: origin of the scan, such as path, hash or seed; informative only.

    Raises:
        ValueError: an empty id, a scan without views, or two views of the same name.
    """

    id: str
    views: tuple[View, ...]
    scanner: str = "unknown"
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(self.id), "a scan needs an id")
        require(len(self.views) > 0, f"scan {self.id!r} has no views")
        names = [view.view_id for view in self.views]
        require(len(set(names)) == len(names), f"scan {self.id!r} repeats a view_id: {names}")
