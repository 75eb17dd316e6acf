"""Compute effective Z and pseudo-colour of a user's own raw scans."""

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
KINDS = (("raw", "tif"), ("colour", "png"))  # folder and file extension of the images of a view
# If the brightest per cent of a scan is above this share of full scale, air is taken to be at 1.
MIN_AIR_TRANSMISSION = 0.98


@dataclass(frozen=True)
class Converted:
    """Result of a conversion.

    Attributes:
        name: name of the scan.
        files: files that were written.
        description: description of the calibration and of assumptions, for messages.
    """

    name: str
    files: tuple[Path, ...]
    description: str


def convert_scan(
    path: Path, out: Path, calibration: Calibration | None = None, air: float | None = None
) -> Converted:
    """Convert a scan with low and high energy.

    For each view, ``raw/NAME.tif`` (low, high, zeff) and ``colour/NAME.png`` are written. Separate
    folders ensure that screening a folder screens each bag once. If a scan has several views, their
    files are called ``NAME_VIEW``.

    Args:
        path: scan to read.
        out: folder to write to.
        calibration: calibration of the scanner; None for the nearest scanner profile.
        air: value of air, as a share of full scale. None to take it from the file, or from the
            brightest per cent of the scan if that is darker.

    Returns:
        Name, files and description of the calibration.

    Raises:
        ReadError: the scan is unreadable, lacks low or high energy, or is implausible (for example
            because the energies are swapped).
        DataError: the scan is too empty to find its profile, or an output file exists.
    """
    views, name = read_scan(path).views, scan_id_of(path)
    names = {view.view_id: f"{name}_{view.view_id}" if len(views) > 1 else name for view in views}
    files = [
        out / folder / f"{stem}.{extension}"
        for stem in names.values()
        for folder, extension in KINDS
    ]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            raise DataError(
                f"{path}: {file} exists, and nothing is overwritten; choose another --out"
            )
    descriptions = {
        _convert_view(path, view, files[2 * i : 2 * i + 2], calibration, air): None
        for i, view in enumerate(views)
    }
    return Converted(name, tuple(files), "; ".join(descriptions))


def _convert_view(
    path: Path,
    view: View,
    files: Sequence[Path],
    calibration: Calibration | None,
    air: float | None,
) -> str:
    """Write the TIFF and the PNG of a view and return a description of the calibration."""
    low, high, assumption = normalise(path, view, air)
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
    return f"calibrated by {calibration.description}{assumption}"


def normalise(path: Path, view: View, air: float | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Return low and high transmission with air at 1, and a description of the assumption.

    Args:
        path: scan, for messages.
        view: view with the channels ``low`` and ``high``.
        air: value of air, as a share of full scale; None to estimate it.

    Raises:
        ReadError: a channel is missing or black.
    """
    if not {"low", "high"} <= set(view.channels):
        raise ReadError(
            f"{path}: the scan has the channels {', '.join(view.channels)}; "
            "effective Z needs low and high energy"
        )
    channels = [np.asarray(view.pixels[view.channels.index(name)]) for name in ("low", "high")]
    if view.quantity == "log_attenuation":
        channels = [np.exp(-c) for c in channels]
    if air is not None:
        return channels[0] / air, channels[1] / air, f"; air at {air:g} of full scale, as given"
    levels = [float(np.quantile(c, 0.99)) for c in channels]
    if min(levels) >= MIN_AIR_TRANSMISSION:
        return channels[0], channels[1], ""
    if min(levels) <= 0:
        raise ReadError(f"{path}: a channel is entirely black")
    return (
        channels[0] / levels[0],
        channels[1] / levels[1],
        f"; air taken from the brightest per cent, "
        f"{levels[0]:.3f} and {levels[1]:.3f} of full scale",
    )
