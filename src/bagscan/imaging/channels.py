"""Convert raw low and high counts to transmission, effective Z and pseudo-colour.

The raw data are never modified. Simulated scans and a user's own scans (``bagscan convert``) are
processed identically.
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

# Brighter pixels hold less than a millimetre of plastic; gain errors dominate their ratio.
AIR_TRANSMISSION = 0.98
FIT_TOLERANCE = 0.06  # profiles whose fit differs by less are indistinguishable


@dataclass(frozen=True)
class Calibration:
    """Properties of a scanner that dual-energy imaging needs.

    Attributes:
        table: effective Z by (ln H, R).
        photons: effective number in air of the low and high channel.
        electronic: noise of the electronics in photons.
        scatter: scatter to subtract.
        description: description of its source, for messages.
    """

    table: ZTable
    photons: tuple[float, float]
    electronic: float
    scatter: Scatter
    description: str

    @classmethod
    def of_profile(cls, profile: Profile, description: str | None = None) -> Calibration:
        """Return the calibration by the simulated wedges of a scanner profile."""
        response = profile.response
        return cls(
            profile.z_table,
            (response.low_photons, response.high_photons),
            profile.noise.electronic,
            profile.scatter,
            description or f"scanner profile {profile.name}",
        )


@dataclass(frozen=True)
class Imaged:
    """Images of a view.

    Attributes:
        low: (H, W) float32 transmission of the low channel, without scatter.
        high: (H, W) float32 transmission of the high channel, without scatter.
        z: effective Z with its noise.
        colour: (3, H, W) uint8 pseudo-colour.
    """

    low: np.ndarray
    high: np.ndarray
    z: ZImage
    colour: np.ndarray

    @property
    def zeff_counts(self) -> np.ndarray:
        """(H, W) uint16 effective Z in units of ``ZEFF_PER_COUNT``, 0 where Z is unknown.

        Z is unknown where its σ is 3 or more, in air, and behind impenetrable objects.
        """
        known = (self.z.confidence > 0.1) & ~self.z.impenetrable & (self.high < AIR_TRANSMISSION)
        return (
            np.where(known, np.rint(self.z.z / ZEFF_PER_COUNT), 0).clip(0, 65535).astype(np.uint16)
        )


def image(low: np.ndarray, high: np.ndarray, calibration: Calibration) -> Imaged:
    """Compute the images of a view from its (H, W) measured transmissions, air = 1."""
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
    """Load a calibration from a user's own wedge scans.

    The file is YAML. Its list ``wedges`` holds ``{z: 7.4, low: [...], high: [...]}``: the
    transmissions (air = 1) of steps of increasing thickness in each channel. Optional keys are
    ``photons: [low, high]``, ``electronic`` and ``scatter: {share, sigma_px}``.

    Raises:
        ConfigError: the file is unreadable, or a value is missing or out of range.
        DataError: the wedges do not yield a table.
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
            f"{path}: not a wedge file ({error}); "
            "expected wedges: [{z: 7.4, low: [0.9, 0.8], high: [0.95, 0.9]}, ...]"
        ) from error
    if len(photons) != 2 or not all(0 < n < math.inf for n in photons):
        raise ConfigError(f"{path}: photons must be two numbers above 0, got {photons}")
    if (
        not 0 <= electronic < math.inf
        or not 0 <= scatter.share < 1
        or not 0 < scatter.sigma_px < math.inf
    ):
        raise ConfigError(
            f"{path}: electronic must be 0 or more, scatter.share from 0 to below 1 and "
            f"scatter.sigma_px above 0; got {electronic}, {scatter.share} and {scatter.sigma_px}"
        )
    for wedge in wedges:
        steps = np.concatenate([np.asarray(wedge[name], float) for name in ("low", "high")])
        if not ((steps > 0) & (steps <= 1)).all():
            raise ConfigError(
                f"{path}: transmissions of the wedge of Z {wedge['z']} must be above 0 and at most "
                f"1, as shares of air; got {[float(v) for v in steps]}"
            )
    table = table_from_curves([float(w["z"]) for w in wedges], curves)
    return Calibration(
        table, (photons[0], photons[1]), electronic, scatter, f"{len(wedges)} wedges of {path}"
    )


def nearest_profile(
    low: np.ndarray, high: np.ndarray, names: Sequence[str] | None = None
) -> tuple[Profile, str]:
    """Find the profile whose table maps the most pixels of a scan to a material.

    A bag does not suffice to distinguish similar scanners, whose Z differs by a few tenths. Among
    the profiles that fit about as well as the best, the first is returned and the others are named.

    Args:
        low: (H, W) transmission of the low channel, air = 1.
        high: (H, W) transmission of the high channel, air = 1.
        names: candidate profiles; by default all bundled profiles that are not coarse.

    Returns:
        The profile, and a message about how well it and others fit.

    Raises:
        DataError: too few pixels absorb enough for a comparison.
    """
    log_low, log_high = log_attenuation(low), log_attenuation(high)
    usable = (log_high > 0.15) & (log_low < 5)
    if usable.sum() < 100:
        raise DataError(
            "too few pixels of the scan absorb enough to find the nearest scanner profile; "
            "choose a profile with --profile"
        )
    step = max(1, int(usable.sum()) // 20000)
    a, h = log_low[usable][::step], log_high[usable][::step]
    shares = {}
    for name in names or [n for n in profile_names() if not n.endswith("_coarse")]:
        table = load_profile(name).z_table
        lightest, heaviest = (np.interp(h, table.log_h, edge) for edge in table.span.T)
        shares[name] = float(((a / h >= lightest - 0.01) & (a / h <= heaviest + 0.01)).mean())
    as_good = [
        name for name, share in shares.items() if share > max(shares.values()) - FIT_TOLERANCE
    ]
    others = (
        f" (about as many with {' and '.join(as_good[1:])}; choose with --profile)"
        if as_good[1:]
        else ""
    )
    return (
        load_profile(as_good[0]),
        f"nearest scanner profile {as_good[0]}: {shares[as_good[0]]:.0%} of the pixels match "
        f"a material in its table of effective Z{others}",
    )


def write_dual_energy(path: Path, counts: np.ndarray, imaged: Imaged, air_counts: int) -> None:
    """Write (2, H, W) uint16 low and high counts and effective Z as a three-channel TIFF."""
    write_counts(
        path,
        np.concatenate([counts, imaged.zeff_counts[None]]),
        ("low", "high", "zeff"),
        air_counts,
    )


def write_colour(path: Path, imaged: Imaged) -> None:
    """Write pseudo-colour as a PNG."""
    Image.fromarray(imaged.colour.transpose(1, 2, 0)).save(path, "png", compress_level=2)
