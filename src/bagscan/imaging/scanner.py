"""Scanner profiles: geometry, tube, detector and imperfections, as data files in profiles/."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bagscan.config import fill, read_yaml
from bagscan.core.errors import ConfigError, nearest
from bagscan.imaging.fan import Fan
from bagscan.physics.detector import Response, Sandwich, Tube, response
from bagscan.physics.effective_z import ZTable, table_from_response
from bagscan.physics.transmission import Spectral, exact, grouped

MAX_AIR_COUNTS = 65000
PROFILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class ViewGeometry:
    """One source and its bent array.

    Attributes:
        source_mm: (x, z). corners_mm: the array's path in (x, z), over which channels are evenly spread.
        channels: the only ones to keep, from and to; all where null.
    """

    name: str
    source_mm: tuple[float, float]
    corners_mm: tuple[tuple[float, float], ...]
    n_channels: int
    channels: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.n_channels < 2 or len(self.corners_mm) < 2:
            raise ValueError(
                f"view {self.name}: needs 2 or more channels along 2 or more corners, got {self.n_channels} and {len(self.corners_mm)}"
            )

    @property
    def width(self) -> int:
        """Channels kept."""
        return self.n_channels if self.channels is None else self.channels[1] - self.channels[0]

    def fan(self, y_mm: np.ndarray, across: int = 1) -> Fan:
        """Rays of lines at ``y_mm``, ``across`` per channel."""
        corners = np.array(self.corners_mm, float)
        at = np.append(0, np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1)))
        n = self.n_channels * across
        first, end = self.channels or (0, self.n_channels)
        along = (np.arange(first * across, end * across) + 0.5) / n * at[-1]
        return Fan.towards(
            self.source_mm,
            np.column_stack([np.interp(along, at, corners[:, k]) for k in (0, 1)]),
            y_mm,
        )

    def cropped(self, low_mm: np.ndarray, high_mm: np.ndarray, margin: int = 24) -> ViewGeometry:
        """The channels that a box in the tunnel falls upon, and some around."""
        fan = self.fan(np.zeros(1))
        corners = np.array(
            [(x, z) for x in (low_mm[0], high_mm[0]) for z in (low_mm[2], high_mm[2])]
        )
        seen = (corners - fan.source_mm) @ fan.frame.T
        rays = fan.direction @ fan.frame.T
        at = np.searchsorted(rays[:, 0] / rays[:, 1], seen[:, 0] / seen[:, 1])
        return replace(
            self,
            channels=(max(0, int(at.min()) - margin), min(self.n_channels, int(at.max()) + margin)),
        )


@dataclass(frozen=True)
class Noise:
    """What a blank scan shows.

    Attributes:
        electronic: in photons. gain: per channel, left after calibration, relative. flicker: of the tube, per line, relative.
        spread_px: σ along the line over which light spreads in the scintillator: what makes photon noise of neighbours alike.
    """

    electronic: float = 8.0
    gain: float = 0.002
    flicker: float = 0.002
    spread_px: float = 0.55


@dataclass(frozen=True)
class Scatter:
    """Share of the air signal that scatters, and how far, in channels."""

    share: float = 0.015
    sigma_px: float = 25.0


@dataclass(frozen=True)
class Faults:
    """What real machines add.

    Attributes:
        registration_px: shift of high against low, at most. afterglow: share of a line left in the next.
        belt_jitter: of the line pitch. dead_channels: interpolated over, as machines do.
        card_channels, card_gain: channels on one card, and how cards differ.
    """

    registration_px: float = 0.0
    afterglow: float = 0.0
    belt_jitter: float = 0.0
    dead_channels: int = 0
    card_channels: int = 64
    card_gain: float = 0.0


@dataclass(frozen=True)
class Profile:
    """A scanner.

    Attributes:
        tunnel_mm: width and height. belt_mm_s, line_pitch_mm: motion.
        blur_px: σ along and across the line. air_counts: digital value of air.
    """

    name: str
    tunnel_mm: tuple[float, float]
    belt_mm_s: float
    line_pitch_mm: float
    views: tuple[ViewGeometry, ...]
    tube: Tube = field(default_factory=Tube)
    detector: Sandwich = field(default_factory=Sandwich)
    noise: Noise = field(default_factory=Noise)
    blur_px: tuple[float, float] = (0.28, 0.35)
    scatter: Scatter = field(default_factory=Scatter)
    faults: Faults = field(default_factory=Faults)
    air_counts: int = 60000

    def __post_init__(self) -> None:
        wrong = {
            "tunnel_mm": not all(0 < side < math.inf for side in self.tunnel_mm),
            "belt_mm_s": not 0 < self.belt_mm_s < math.inf,
            "line_pitch_mm": not 0.05 <= self.line_pitch_mm <= 20,
            "views": not self.views or len({view.name for view in self.views}) < len(self.views),
            "blur_px": not all(0 <= blur < 10 for blur in self.blur_px),
            "air_counts": not 1000 <= self.air_counts <= MAX_AIR_COUNTS,
        }
        if found := [
            f"{name}: {getattr(self, name)}" for name, is_wrong in wrong.items() if is_wrong
        ]:
            raise ValueError(
                f"no scanner has {', '.join(found)[:300]} (lengths above 0, line_pitch_mm 0.05 to 20, views of different names, "
                f"air_counts 1,000 to {MAX_AIR_COUNTS:,}, so that noise of air stays within 16 bits)"
            )

    @property
    def hash(self) -> str:
        """Of everything in the profile: two scans of one hash come from the same machine."""
        return hashlib.sha256(
            json.dumps(dataclasses.asdict(self), sort_keys=True).encode()
        ).hexdigest()

    @property
    def response(self) -> Response:
        """Energy weights and effective photons of a pixel."""
        return _response(*self.response_key)

    @property
    def z_table(self) -> ZTable:
        """Effective Z of this machine's own wedges."""
        return _z_table(self.response_key)

    def spectral(self, mode: str = "groups") -> Spectral:
        """Energies to evaluate: ``groups`` (39, fitted) or ``exact`` (1 keV bins)."""
        return _spectral(self.response_key, mode)

    @property
    def response_key(self) -> tuple[str, str]:
        """What the tube and detector are, as text: the cache's key."""
        return json.dumps(dataclasses.asdict(self.tube), sort_keys=True), json.dumps(
            dataclasses.asdict(self.detector), sort_keys=True
        )


@functools.cache
def _response(tube: str, detector: str) -> Response:
    return response(fill(Tube, json.loads(tube)), fill(Sandwich, json.loads(detector)))


@functools.cache
def _z_table(key: tuple[str, str]) -> ZTable:
    return table_from_response(_response(*key))


@functools.cache
def _spectral(key: tuple[str, str], mode: str) -> Spectral:
    if mode not in ("groups", "exact"):
        raise ConfigError(f"spectral mode must be groups or exact, got {mode!r}")
    return grouped(_response(*key)) if mode == "groups" else exact(_response(*key))


def varied(profile: Profile, rng: np.random.Generator) -> Profile:
    """The same tube and detector with noise, blur, scatter and faults drawn from the ranges of machines in use (docs/simulator.md)."""
    blur = rng.uniform(0.3, 0.6)
    return replace(
        profile,
        noise=replace(profile.noise, electronic=float(rng.uniform(4, 20))),
        blur_px=(0.8 * blur, blur),
        scatter=Scatter(float(rng.uniform(0.005, 0.03)), profile.scatter.sigma_px),
        faults=replace(
            profile.faults,
            registration_px=float(rng.uniform(0, 0.3)),
            afterglow=float(rng.uniform(0, 0.01)),
            belt_jitter=float(rng.uniform(0, 0.02)),
            dead_channels=int(rng.integers(0, 3)),
        ),
    )


def profile_names() -> list[str]:
    """Profiles that come with the project."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(name: str | Path) -> Profile:
    """A profile of the project by name, or a user's own by the path of its YAML file.

    Raises:
        ConfigError: no such profile, or an unknown key in it.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"no scanner profile {str(name)!r}{nearest(str(name), profile_names())}; there are {', '.join(profile_names())}, or give a YAML file"
        )
    data, lines = read_yaml(path)
    return fill(Profile, {"name": path.stem, **data}, str(path), lines)
