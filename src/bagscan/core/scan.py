"""What a scanner saw: views of one bag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bagscan.core.checks import freeze, require

QUANTITIES = ("transmission", "log_attenuation", "effective_z", "pseudo_colour", "dual_energy")


@dataclass(frozen=True)
class View:
    """One projection of a bag.

    Attributes:
        pixels: (C, H, W) float32, finite. ``transmission`` and ``pseudo_colour`` lie in [0, 1]
            (1 is air or white); ``log_attenuation`` is >= 0 up to noise; ``effective_z`` is an
            atomic number, 0 where unknown; ``dual_energy`` is a stack of transmission channels
            with an optional ``zeff`` channel, told apart by name.
        channels: one name per channel, for example ``("low", "high", "zeff")``.
        quantity: one of ``QUANTITIES``.
        pixel_pitch_mm: at the detector, or None where unknown.
        view_id: name of the view within its scan.
        bit_depth: significant bits per channel of the source, or None where unknown.
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
        require(isinstance(self.view_id, str), f"view_id must be a name, got {self.view_id!r}")
        require(
            all(isinstance(name, str) for name in self.channels),
            f"channels must be names, got {self.channels}",
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
            f"view {self.view_id!r} holds NaN or infinite pixels",
        )
        pitch = self.pixel_pitch_mm
        require(pitch is None or pitch > 0, f"pixel_pitch_mm must be positive, got {pitch}")
        object.__setattr__(self, "pixels", freeze(self.pixels))

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return (int(self.pixels.shape[1]), int(self.pixels.shape[2]))


@dataclass(frozen=True)
class Scan:
    """One bag: one or more views of it.

    Attributes:
        id: unique within a run. scanner: name of the machine, ``"unknown"`` where not told.
        provenance: where it came from (path, hash, seed ...), for the record only.
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
