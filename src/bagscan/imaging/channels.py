"""From raw low and high counts to what is looked at: transmission, effective Z, pseudo-colour.

It never touches the raw data, and is the same for simulated scans and for a user's own
(``bagscan convert``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bagscan import plain_yaml
from bagscan.core.errors import ConfigError, DataError
from bagscan.formats.quantities import ZEFF_PER_COUNT
from bagscan.formats.tiff import write_counts
from bagscan.imaging.scanner import Profile, Scatter, load_profile, profile_names
from bagscan.physics.effective_z import (
    ZImage,
    ZTable,
    effective_z,
    log_attenuation,
    table_from_curves,
)
from bagscan.physics.pseudo_colour import pseudo_colour
from bagscan.physics.scatter import remove_scatter

# Brighter pixels hold less than a millimetre of plastic: gain errors alone make their ratio anything.
NEXT_TO_AIR = 0.98
AS_GOOD = 0.06  # profiles whose fit differs by less cannot be told apart


@dataclass(frozen=True)
class Calibration:
    """What dual-energy imaging must know of a scanner.

    Attributes:
        table: effective Z by (ln H, R). photons: effective number in air, low and high. electronic:
            noise of the electronics in photons. scatter: what to take off. told: where it comes from, for people.
    """

    table: ZTable
    photons: tuple[float, float]
    electronic: float
    scatter: Scatter
    told: str

    @classmethod
    def of_profile(cls, profile: Profile, told: str | None = None) -> Calibration:
        """From a scanner profile's own wedges."""
        response = profile.response
        return cls(
            profile.z_table,
            (response.low_photons, response.high_photons),
            profile.noise.electronic,
            profile.scatter,
            told or f"scanner profile {profile.name}",
        )


@dataclass(frozen=True)
class Imaged:
    """Attributes: low, high: (H, W) float32 transmission without scatter. z: see :class:`ZImage`. colour: (3, H, W) uint8."""

    low: np.ndarray
    high: np.ndarray
    z: ZImage
    colour: np.ndarray

    @property
    def zeff_counts(self) -> np.ndarray:
        """(H, W) uint16 effective Z in thousandths, 0 where it means nothing: known to worse than ±3, in air, and behind what nothing passes."""
        known = (self.z.confidence > 0.1) & ~self.z.impenetrable & (self.high < NEXT_TO_AIR)
        return (
            np.where(known, np.rint(self.z.z / ZEFF_PER_COUNT), 0).clip(0, 65535).astype(np.uint16)
        )


def image(low: np.ndarray, high: np.ndarray, calibration: Calibration) -> Imaged:
    """Image (H, W) low and high transmission, air = 1, as measured."""
    if calibration.scatter.share:
        low, high = (
            remove_scatter(t, calibration.scatter.share, calibration.scatter.sigma_px)
            for t in (low, high)
        )
    z = effective_z(low, high, calibration.table, calibration.photons, calibration.electronic)
    return Imaged(
        np.asarray(low, np.float32), np.asarray(high, np.float32), z, pseudo_colour(low, high, z)
    )


def read_wedges(path: str | Path) -> Calibration:
    """A calibration from a user's own wedge scans.

    The file is YAML: a list ``wedges`` of ``{z: 7.4, low: [...], high: [...]}``, the transmissions
    (air = 1) of steps of growing thickness in each channel; and, where known, ``photons: [low, high]``,
    ``electronic``, ``scatter: {share, sigma_px}``.

    Raises:
        ConfigError: not such a file. DataError: wedges that make no table.
    """
    try:
        result = plain_yaml.load(Path(path).read_text(), str(path))
        wedges = sorted(result["wedges"], key=lambda w: float(w["z"]))
        curves = [
            (
                log_attenuation(np.asarray(w["low"], float)),
                log_attenuation(np.asarray(w["high"], float)),
            )
            for w in wedges
        ]
        photons = tuple(float(n) for n in result.get("photons", (5e4, 1.7e4)))
        scatter = Scatter(
            **{key: float(value) for key, value in result.get("scatter", {"share": 0.0}).items()}
        )
        electronic = float(result.get("electronic", 8.0))
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: not a wedge file ({error}); it needs wedges: [{{z: 7.4, low: [0.9, 0.8], high: [0.95, 0.9]}}, ...]"
        ) from error
    if len(photons) != 2 or not all(0 < n < math.inf for n in photons):
        raise ConfigError(f"{path}: photons must be two numbers above 0, got {photons}")
    if (
        not 0 <= electronic < math.inf
        or not 0 <= scatter.share < 1
        or not 0 < scatter.sigma_px < math.inf
    ):
        raise ConfigError(
            f"{path}: electronic must be 0 or more, scatter.share from 0 to below 1 and scatter.sigma_px above 0; got {electronic}, {scatter.share} and {scatter.sigma_px}"
        )
    for wedge in wedges:
        steps = np.concatenate([np.asarray(wedge[name], float) for name in ("low", "high")])
        if not ((steps > 0) & (steps <= 1)).all():
            raise ConfigError(
                f"{path}: transmissions of the wedge of Z {wedge['z']} must be above 0 and at most 1, as shares of air; got {[float(v) for v in steps]}"
            )
    table = table_from_curves([float(w["z"]) for w in wedges], curves)
    return Calibration(
        table, (photons[0], photons[1]), electronic, scatter, f"{len(wedges)} wedges of {path}"
    )


def nearest_profile(
    low: np.ndarray, high: np.ndarray, names: Sequence[str] | None = None
) -> tuple[Profile, str]:
    """The profile in whose table most of a scan's pixels read as some material.

    A bag alone can hardly tell similar machines apart (their Z differs by a few tenths): of those
    that fit as well as the best, the first is taken, and the others are named.

    Returns:
        The profile, and how well it and others fit, for people.

    Raises:
        DataError: nothing in the scan absorbs enough to tell.
    """
    log_low, log_high = log_attenuation(low), log_attenuation(high)
    telling = (log_high > 0.15) & (log_low < 5)
    if telling.sum() < 100:
        raise DataError(
            "the scan holds too little to find the nearest profile by; name one with --profile"
        )
    step = max(1, int(telling.sum()) // 20000)
    a, h = log_low[telling][::step], log_high[telling][::step]
    shares = {}
    for name in names or [n for n in profile_names() if not n.endswith("_coarse")]:
        table = load_profile(name).z_table
        lightest, heaviest = (np.interp(h, table.log_h, edge) for edge in table.span.T)
        shares[name] = float(((a / h >= lightest - 0.01) & (a / h <= heaviest + 0.01)).mean())
    as_good = [name for name, share in shares.items() if share > max(shares.values()) - AS_GOOD]
    others = (
        f" (as many for {' and '.join(as_good[1:])}; choose with --profile)" if as_good[1:] else ""
    )
    return (
        load_profile(as_good[0]),
        f"effective Z by scanner profile {as_good[0]}, the nearest: {shares[as_good[0]]:.0%} of the pixels can be a material that it scans{others}",
    )


def write_dual_energy(path: Path, counts: np.ndarray, imaged: Imaged, air_counts: int) -> None:
    """(2, H, W) uint16 counts of low and high energy, and effective Z, as one TIFF."""
    write_counts(
        path,
        np.concatenate([counts, imaged.zeff_counts[None]]),
        ("low", "high", "zeff"),
        air_counts,
    )


def write_colour(path: Path, imaged: Imaged) -> None:
    """Pseudo-colour as a PNG."""
    Image.fromarray(imaged.colour.transpose(1, 2, 0)).save(path, "png", compress_level=2)
