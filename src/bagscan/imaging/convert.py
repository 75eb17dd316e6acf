"""A user's own raw scans imaged: low and high in, effective Z and pseudo-colour out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bagscan.core import View
from bagscan.core.errors import DataError, ReadError
from bagscan.formats import read_scan
from bagscan.formats.scans import scan_id_of
from bagscan.imaging.channels import (
    Calibration,
    image,
    nearest_profile,
    write_colour,
    write_dual_energy,
)
from bagscan.plausibility import unfit

AIR_COUNTS = 60000
KINDS = (("raw", "tif"), ("colour", "png"))  # folder and ending of what is written of a view
# Brighter than this share of full scale, the brightest per cent of a scan is taken to be air at 1.
AIR_AT_LEAST = 0.98


@dataclass(frozen=True)
class Converted:
    """Attributes: name: of the scan. files: written. told: which calibration, what was assumed."""

    name: str
    files: tuple[Path, ...]
    told: str


def convert_scan(
    path: Path, out: Path, calibration: Calibration | None = None, air: float | None = None
) -> Converted:
    """Image one scan that holds low and high energy.

    Args:
        calibration: None for the nearest scanner profile. air: value of air, as a share of full
            scale; None to take it from the file, or from the brightest per cent where that is darker.

    Returns:
        What was written: ``raw/NAME.tif`` (low, high, zeff) and ``colour/NAME.png``; apart, so that screening either folder takes a bag once.
        A file of several views gives ``NAME_VIEW`` of each.

    Raises:
        ReadError: unreadable, not low and high energy, or nothing that can be a scan: of swapped energies colours can be made too. DataError: nothing in it to calibrate by, or a
            file of that name is there.
    """
    views, name = read_scan(path).views, scan_id_of(path)
    names = {view.view_id: f"{name}_{view.view_id}" if len(views) > 1 else name for view in views}
    files = [out / folder / f"{one}.{ending}" for one in names.values() for folder, ending in KINDS]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            raise DataError(
                f"{path}: {file} is there already; use another --out, nothing is overwritten"
            )
    result = {
        _convert_view(path, view, files[2 * i : 2 * i + 2], calibration, air): None
        for i, view in enumerate(views)
    }
    return Converted(name, tuple(files), "; ".join(result))


def _convert_view(
    path: Path,
    view: View,
    files: Sequence[Path],
    calibration: Calibration | None,
    air: float | None,
) -> str:
    """Image one view into a TIFF and a PNG; which calibration was used."""
    low, high, result = normalised(path, view, air)
    if reasons := unfit(
        View(
            np.stack([low, high]).astype(np.float32),
            ("low", "high"),
            quantity="transmission",
            view_id=view.view_id,
        )
    ):
        raise ReadError(f"{path}: {'; '.join(reasons)}")
    if calibration is None:
        calibration = Calibration.of_profile(*nearest_profile(low, high))
    imaged = image(low, high, calibration)
    counts = np.rint(np.stack([low, high]) * AIR_COUNTS).clip(0, 65535).astype(np.uint16)
    write_dual_energy(files[0], counts, imaged, AIR_COUNTS)
    write_colour(files[1], imaged)
    return f"calibrated by {calibration.told}{result}"


def normalised(path: Path, view: View, air: float | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Low and high with air at 1, and what was assumed for that."""
    if not {"low", "high"} <= set(view.channels):
        raise ReadError(
            f"{path}: effective Z needs low and high energy, and this scan has {', '.join(view.channels)}"
        )
    channels = [np.asarray(view.pixels[view.channels.index(name)]) for name in ("low", "high")]
    if view.quantity == "log_attenuation":
        channels = [np.exp(-c) for c in channels]
    if air is not None:
        return channels[0] / air, channels[1] / air, f"; air at {air:g} of full scale, as told"
    levels = [float(np.quantile(c, 0.99)) for c in channels]
    if min(levels) >= AIR_AT_LEAST:
        return channels[0], channels[1], ""
    if min(levels) <= 0:
        raise ReadError(f"{path}: a channel is black throughout")
    return (
        channels[0] / levels[0],
        channels[1] / levels[1],
        f"; air taken from the brightest per cent, {levels[0]:.3f} and {levels[1]:.3f} of full scale",
    )
