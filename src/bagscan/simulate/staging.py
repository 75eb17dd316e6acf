"""Stagings: devices with a concealed anomaly, and the visibility of the anomaly.

A laboratory stages a device with a concealment once and scans it many times. Stagings are drawn
until an operator could see the anomaly in each of the usual poses of the device. An individual scan
in which the anomaly is not visible is kept and reported separately.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bagscan.imaging.scanner import Profile, ViewGeometry, load_profile
from bagscan.simulate.anomalies import OPERATIONAL, AnomalyBuilder, Sizes, build_anomaly
from bagscan.simulate.assembly import OUTSIDE, Assembly, join
from bagscan.simulate.concealment import Concealed, conceal
from bagscan.simulate.forward import line_positions, transmission
from bagscan.simulate.free_space import FreeSpaces
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.raster import Rasteriser, Silhouette

MIN_AREA_MM2, MIN_CHANGE = 150.0, 0.08
# Visibility is evaluated on a reference scanner, so that stagings do not depend on the scanner.
REFERENCE_PROFILE, REFERENCE_LINE_PITCH_MM = "g640", 2.0
SURROUNDINGS_MM = 10.0
# Devices that lie on their back or side in half of the bags.
CAN_LIE_ON_SIDE = ("toaster", "kettle", "iron", "router", "camera")
TRIES, TRIES_PER_WAY, TRIES_PER_KIND = 72, 4, 24


@dataclass(frozen=True)
class Shown:
    """Visibility of an anomaly in a view.

    Attributes:
        area_mm2: area of its silhouette, at its distance from the source.
        change: median of |Δ(-ln T)| over the silhouette, between the low channels of both twins
            without noise.
        spread: standard deviation of -ln T of the benign twin, in the bounding box of the
            silhouette and 10 mm around it.
    """

    area_mm2: float
    change: float
    spread: float

    @property
    def visible(self) -> bool:
        """True if an operator could see it: at least 150 mm² that change by at least 0.08."""
        return self.area_mm2 >= MIN_AREA_MM2 and self.change >= MIN_CHANGE

    @property
    def standing_out(self) -> float:
        """Ratio of change to the spread of the surroundings."""
        return self.change / max(self.spread, 1e-6)


NOT_SHOWN = Shown(0.0, 0.0, 1.0)


def compute_visibility(
    clean: np.ndarray, edited: np.ndarray, silhouette: Silhouette, pixel_mm: tuple[float, float]
) -> Shown:
    """Compute the visibility of an anomaly.

    Args:
        clean: (2, H, W) transmission without the anomaly.
        edited: (2, H, W) transmission with the anomaly.
        silhouette: silhouette of the anomaly.
        pixel_mm: height and width of a pixel at the anomaly.
    """
    mask = silhouette.full(clean.shape[1:])
    if not mask.any():
        return NOT_SHOWN
    reach = [int(np.ceil(SURROUNDINGS_MM / side)) for side in pixel_mm]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = np.s_[
        max(0, rows[0] - reach[0]) : rows[-1] + 1 + reach[0],
        max(0, columns[0] - reach[1]) : columns[-1] + 1 + reach[1],
    ]
    before, after = (-np.log(np.maximum(t[0][window], 1e-5)) for t in (clean, edited))
    return Shown(
        float(mask.sum() * pixel_mm[0] * pixel_mm[1]),
        float(np.median(np.abs(after - before)[mask[window]])),
        float(before.std()),
    )


def pixel_mm(view: ViewGeometry, line_pitch_mm: float, at_mm: np.ndarray) -> tuple[float, float]:
    """Return the height and width in mm of a pixel at a point (x, y, z)."""
    fan = view.fan(np.zeros(1))
    towards = np.asarray(at_mm)[[0, 2]] - fan.source_mm
    distance = float(np.linalg.norm(towards))
    channel = int(np.argmax(fan.direction @ (towards / distance)))
    last = len(fan.direction) - 1
    cosine = fan.direction[min(channel + 1, last)] @ fan.direction[max(channel - 1, 0)]
    return line_pitch_mm, distance * float(np.arccos(np.clip(cosine, -1, 1))) / 2


def usual_poses(device: str) -> list[np.ndarray]:
    """Return the (3, 3) rotations of the two usual poses of a device.

    Devices of ``CAN_LIE_ON_SIDE`` stand or lie; other devices point along or across the belt.
    """
    return [
        np.eye(3),
        rotation_xyz(np.pi / 2, 0, 0)
        if device in CAN_LIE_ON_SIDE
        else rotation_xyz(0, 0, np.pi / 2),
    ]


def can_be_seen(device: Assembly, found: Concealed, poses: Sequence[np.ndarray]) -> bool:
    """Return True if, in every pose of the device alone, a view shows the anomaly."""
    profile = _reference_profile()
    return all(
        any(_show_alone(device, found, pose, profile, view).visible for view in profile.views)
        for pose in poses
    )


@functools.cache
def _reference_profile() -> Profile:
    return replace(load_profile(REFERENCE_PROFILE), line_pitch_mm=REFERENCE_LINE_PITCH_MM)


def _show_alone(
    device: Assembly, found: Concealed, pose: np.ndarray, profile: Profile, view: ViewGeometry
) -> Shown:
    low, high = join([device, found.anomaly]).moved(pose).bounds
    at = np.array([(profile.tunnel_mm[0] - low[0] - high[0]) / 2, 20 - low[1], 5 - low[2]])
    before = device.moved(pose, at)
    after = join([found.device, found.anomaly], [OUTSIDE, found.host]).moved(pose, at)
    anomaly = found.anomaly.moved(pose, at)
    y_mm = (0.0, float(high[1] - low[1] + 40))
    view = view.cropped(low + at, high + at)
    fan = view.fan(line_positions(y_mm, profile.line_pitch_mm))
    silhouette = Rasteriser(anomaly.solids([]), fan).silhouettes(
        np.zeros(len(anomaly), np.int64), 1
    )[0]
    if not silhouette.mask.any():
        return NOT_SHOWN
    lines = silhouette.top, silhouette.top + silhouette.mask.shape[0]
    clean, edited = (
        transmission(scene, profile, view, y_mm, 1, lines=lines) for scene in (before, after)
    )
    inside = Silhouette(0, silhouette.left, silhouette.mask)
    return compute_visibility(
        clean, edited, inside, pixel_mm(view, profile.line_pitch_mm, np.mean(anomaly.bounds, 0))
    )


def stage(
    device: Assembly,
    poses: Sequence[np.ndarray],
    kinds: Sequence[str],
    ways: Sequence[str],
    rng: np.random.Generator,
    sizes: Sizes = OPERATIONAL,
    make: AnomalyBuilder = build_anomaly,
    require_visible: bool = True,
) -> Concealed | None:
    """Hide an anomaly in a device such that it can be seen.

    A kind and a way are drawn and tried several times, then another way, then another kind. Thus
    kinds that are hard to place do not become rare. Taping an anomaly to the outside always works
    and therefore replaces another way only as a last resort.

    Args:
        device: the device in its own frame.
        poses: (3, 3) rotations, see :func:`usual_poses`.
        kinds: kinds of anomalies to choose from.
        ways: ways of concealment to choose from.
        rng: source of all random numbers of the staging.
        sizes: range of anomaly sizes.
        make: builder of anomalies.
        require_visible: require that the anomaly can be seen; False for specks.

    Returns:
        The concealment, or None if all tries fail.
    """
    spaces = FreeSpaces(device)
    inside = [way for way in ways if way != "taped_outside"]
    for attempt in range(TRIES):
        if attempt % TRIES_PER_KIND == 0:
            kind = str(rng.choice(kinds))
        if attempt % TRIES_PER_WAY == 0:
            last_resort = attempt >= TRIES - TRIES_PER_KIND
            way = str(rng.choice(inside if attempt and inside and not last_resort else ways))
        found = conceal(spaces, way, kind, rng, sizes, make)
        if found is not None and (not require_visible or can_be_seen(device, found, poses)):
            return found
    return None
