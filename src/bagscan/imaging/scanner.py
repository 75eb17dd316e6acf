"""Scanner profiles: geometry, tube, detector, imperfections. Bundled profiles: profiles/."""

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
from bagscan.physics.transmission import Spectral, exact, fit_groups

MAX_AIR_COUNTS = 65000
PROFILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class ViewGeometry:
    """A source and its bent detector array.

    Attributes:
        name: name of the view.
        source_mm: (x, z) of the source.
        corners_mm: path of the array in (x, z), along which channels are evenly spaced.
        n_channels: number of channels of the array.
        channels: range of channels to keep, as (first, end); null for all.
    """

    name: str
    source_mm: tuple[float, float]
    corners_mm: tuple[tuple[float, float], ...]
    n_channels: int
    channels: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.n_channels < 2 or len(self.corners_mm) < 2:
            raise ValueError(
                f"view {self.name}: needs 2 or more channels along 2 or more corners, "
                f"got {self.n_channels} channels and {len(self.corners_mm)} corners"
            )

    @property
    def width(self) -> int:
        """Number of channels kept."""
        return self.n_channels if self.channels is None else self.channels[1] - self.channels[0]

    def fan(self, y_mm: np.ndarray, across: int = 1) -> Fan:
        """Return the rays of lines at ``y_mm``, with ``across`` rays per channel."""
        corners = np.array(self.corners_mm, float)
        corner_at = np.append(0, np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1)))
        n = self.n_channels * across
        first, end = self.channels or (0, self.n_channels)
        along = (np.arange(first * across, end * across) + 0.5) / n * corner_at[-1]
        return Fan.towards(
            self.source_mm,
            np.column_stack([np.interp(along, corner_at, corners[:, k]) for k in (0, 1)]),
            y_mm,
        )

    def cropped(self, low_mm: np.ndarray, high_mm: np.ndarray, margin: int = 24) -> ViewGeometry:
        """Return the view with only the channels behind a box in the tunnel, and a margin.

        Args:
            low_mm: (x, y, z) minimum of the box.
            high_mm: (x, y, z) maximum of the box.
            margin: channels to keep on either side.
        """
        fan = self.fan(np.zeros(1))
        corners = np.array(
            [(x, z) for x in (low_mm[0], high_mm[0]) for z in (low_mm[2], high_mm[2])]
        )
        local = (corners - fan.source_mm) @ fan.frame.T
        rays = fan.direction @ fan.frame.T
        at = np.searchsorted(rays[:, 0] / rays[:, 1], local[:, 0] / local[:, 1])
        return replace(
            self,
            channels=(max(0, int(at.min()) - margin), min(self.n_channels, int(at.max()) + margin)),
        )


@dataclass(frozen=True)
class Noise:
    """Noise of a blank scan.

    Attributes:
        electronic: noise of the electronics in photons.
        gain: relative gain error per channel that calibration leaves.
        flicker: relative fluctuation of the tube per line.
        spread_px: σ along the line of the spread of light in the scintillator, which correlates the
            photon noise of neighbouring channels.
    """

    electronic: float = 8.0
    gain: float = 0.002
    flicker: float = 0.002
    spread_px: float = 0.55


@dataclass(frozen=True)
class Scatter:
    """Scattered radiation.

    Attributes:
        share: ratio of scattered to primary signal in air.
        sigma_px: σ of the scatter kernel in channels.
    """

    share: float = 0.015
    sigma_px: float = 25.0


@dataclass(frozen=True)
class Faults:
    """Imperfections of real scanners.

    Attributes:
        registration_px: maximum shift of the high against the low channel.
        afterglow: share of the signal of a line that remains in the next line.
        belt_jitter: σ of the position of a line, relative to the line pitch.
        dead_channels: number of dead channels, which are interpolated as in real scanners.
        card_channels: channels per detector card.
        card_gain: relative gain difference between cards.
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
        name: name of the profile.
        tunnel_mm: width and height of the tunnel.
        belt_mm_s: speed of the belt.
        line_pitch_mm: distance between lines along the belt.
        views: views with their sources and detector arrays.
        tube: X-ray tube.
        detector: dual-energy detector.
        noise: noise of a blank scan.
        blur_px: σ of the blur between lines and between channels.
        scatter: scattered radiation.
        faults: imperfections.
        air_counts: digital value of air.
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
        is_invalid = {
            "tunnel_mm": not all(0 < side < math.inf for side in self.tunnel_mm),
            "belt_mm_s": not 0 < self.belt_mm_s < math.inf,
            "line_pitch_mm": not 0.05 <= self.line_pitch_mm <= 20,
            "views": not self.views or len({view.name for view in self.views}) < len(self.views),
            "blur_px": not all(0 <= blur < 10 for blur in self.blur_px),
            "air_counts": not 1000 <= self.air_counts <= MAX_AIR_COUNTS,
        }
        if invalid := [
            f"{name}: {getattr(self, name)}" for name, wrong in is_invalid.items() if wrong
        ]:
            raise ValueError(
                f"invalid scanner profile: {', '.join(invalid)[:300]}; expected lengths above 0, "
                "line_pitch_mm from 0.05 to 20, views with different names, blur_px from 0 to "
                f"below 10, and air_counts from 1,000 to {MAX_AIR_COUNTS:,}, so that noise of air "
                "fits into 16 bits"
            )

    @property
    def hash(self) -> str:
        """SHA-256 of all settings; scans with the same hash come from the same scanner."""
        return hashlib.sha256(
            json.dumps(dataclasses.asdict(self), sort_keys=True).encode()
        ).hexdigest()

    @property
    def response(self) -> Response:
        """Energy weights and effective photon numbers of a pixel."""
        return _response(*self.response_key)

    @property
    def z_table(self) -> ZTable:
        """Table of effective Z from simulated wedges in this scanner."""
        return _z_table(self.response_key)

    def spectral(self, mode: str = "groups") -> Spectral:
        """Return the energies to evaluate.

        Args:
            mode: ``groups`` (39, fitted) or ``exact`` (1 keV bins).

        Raises:
            ConfigError: the mode is unknown.
        """
        return _spectral(self.response_key, mode)

    @property
    def response_key(self) -> tuple[str, str]:
        """Tube and detector as JSON, the key of caches."""
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
        raise ConfigError(f"spectral mode must be 'groups' or 'exact', got {mode!r}")
    return fit_groups(_response(*key)) if mode == "groups" else exact(_response(*key))


def vary(profile: Profile, rng: np.random.Generator) -> Profile:
    """Vary tube, filter, noise, blur, scatter and faults within the ranges of real scanners.

    The ranges are documented in docs/simulator.md. Geometry and scintillators stay the same.
    """
    blur = rng.uniform(0.3, 0.6)
    varied = replace(
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
    tube, detector, thicker = profile.tube, profile.detector, rng.uniform(0.6, 1.7)
    return replace(
        varied,
        tube=replace(
            tube,
            voltage_kv=float(rng.uniform(135, 175)),
            current_ma=float(tube.current_ma * rng.uniform(0.6, 1.2)),
        ),
        detector=replace(
            detector,
            filter_mm={name: float(mm * thicker) for name, mm in detector.filter_mm.items()},
        ),
        noise=replace(
            varied.noise,
            gain=float(rng.uniform(0.001, 0.004)),
            flicker=float(rng.uniform(0.001, 0.004)),
            spread_px=float(rng.uniform(0.4, 0.7)),
        ),
        faults=replace(varied.faults, card_gain=float(rng.uniform(0.0005, 0.002))),
    )


def profile_names() -> list[str]:
    """Return the names of the bundled profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(name: str | Path) -> Profile:
    """Load a bundled profile by name, or a user's own profile by the path of its YAML file.

    Raises:
        ConfigError: the profile does not exist, or has an unknown key.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"unknown scanner profile {str(name)!r}{nearest(str(name), profile_names())}; "
            f"use a bundled profile ({', '.join(profile_names())}) or a YAML file"
        )
    data, lines = read_yaml(path)
    return fill(Profile, {"name": path.stem, **data}, str(path), lines)
