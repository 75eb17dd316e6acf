"""Stagings: a device with something hidden in it, fixed in the device's frame, and whether it can be seen.

A laboratory stages a device with a concealment once and scans it many times. A staging is drawn
until an operator could see it in each of the device's usual poses; a single scan in which it happens
not to show stays, and is reported apart.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bagscan.imaging.scanner import Profile, ViewGeometry, load_profile
from bagscan.simulate.anomalies import OPERATIONAL, Make, Sizes, build_anomaly
from bagscan.simulate.assembly import OUTSIDE, Assembly, join
from bagscan.simulate.concealment import Concealed, Rooms, conceal
from bagscan.simulate.forward import line_positions, transmission
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.raster import Rasteriser, Silhouette

MIN_AREA_MM2, MIN_CHANGE = 150.0, 0.08
# Whether a staging shows is judged on one scanner, so that every scanner meets the same stagings.
JUDGED_ON, JUDGED_LINE_MM = "g640", 2.0
SURROUNDINGS_MM = 10.0
# Devices that are as often packed lying on their back or side.
MAY_LIE = ("toaster", "kettle", "iron", "router", "camera")
TRIES, TRIES_A_WAY, TRIES_A_KIND = 72, 4, 24


@dataclass(frozen=True)
class Shown:
    """How an anomaly shows in one view.

    Attributes:
        area_mm2: of its silhouette, at its own distance from the source. change: median over the silhouette
            of |Δ(-ln T)| of the low channel between the scene and its benign twin, without noise.
        spread: standard deviation of -ln T of the benign twin there and up to 10 mm around.
    """

    area_mm2: float
    change: float
    spread: float

    @property
    def visible(self) -> bool:
        """Whether an operator could see it: 150 mm² or more that change by 0.08 or more."""
        return self.area_mm2 >= MIN_AREA_MM2 and self.change >= MIN_CHANGE

    @property
    def standing_out(self) -> float:
        """Change over the spread of what surrounds it."""
        return self.change / max(self.spread, 1e-6)


NOT_SHOWN = Shown(0.0, 0.0, 1.0)


def shown(
    clean: np.ndarray, edited: np.ndarray, silhouette: Silhouette, pixel_mm: tuple[float, float]
) -> Shown:
    """How an anomaly shows, from (2, H, W) transmission without and with it.

    Args:
        silhouette: of the anomaly. pixel_mm: height and width of a pixel at the anomaly.
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
    """Height and width of a pixel at a point (x, y, z), from the fan's geometry."""
    fan = view.fan(np.zeros(1))
    towards = np.asarray(at_mm)[[0, 2]] - fan.source_mm
    distance = float(np.linalg.norm(towards))
    channel = int(np.argmax(fan.direction @ (towards / distance)))
    beside = (
        fan.direction[min(channel + 1, len(fan.direction) - 1)] @ fan.direction[max(channel - 1, 0)]
    )
    return line_pitch_mm, distance * float(np.arccos(np.clip(beside, -1, 1))) / 2


def usual_poses(device: str) -> list[np.ndarray]:
    """Two turns that a device is packed in: on either side where it may lie, else along and across the belt."""
    return [
        np.eye(3),
        rotation_xyz(np.pi / 2, 0, 0) if device in MAY_LIE else rotation_xyz(0, 0, np.pi / 2),
    ]


def can_be_seen(device: Assembly, found: Concealed, poses: Sequence[np.ndarray]) -> bool:
    """Whether a concealment shows in some view in every pose, the device standing alone."""
    profile = _judged_on()
    return all(
        any(_alone(device, found, pose, profile, view).visible for view in profile.views)
        for pose in poses
    )


@functools.cache
def _judged_on() -> Profile:
    return replace(load_profile(JUDGED_ON), line_pitch_mm=JUDGED_LINE_MM)


def _alone(
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
    return shown(
        clean, edited, inside, pixel_mm(view, profile.line_pitch_mm, np.mean(anomaly.bounds, 0))
    )


def stage(
    device: Assembly,
    poses: Sequence[np.ndarray],
    kinds: Sequence[str],
    ways: Sequence[str],
    rng: np.random.Generator,
    sizes: Sizes = OPERATIONAL,
    make: Make = build_anomaly,
    least_visible: bool = True,
) -> Concealed | None:
    """Hide something in a device so that it can be seen; None where none of many tries succeeds.

    A kind and a way are drawn and tried some times, then another way, then another kind: what is
    drawn first is kept where it can be, so that kinds that are hard to place do not die out. Taping
    outside always works, so it replaces another way only as a last resort.

    Args:
        device: in its own frame. poses: see :func:`usual_poses`. least_visible: False for what nobody need see (specks).
    """
    rooms = Rooms(device)
    inside = [way for way in ways if way != "taped_outside"]
    for attempt in range(TRIES):
        if attempt % TRIES_A_KIND == 0:
            kind = str(rng.choice(kinds))
        if attempt % TRIES_A_WAY == 0:
            last_resort = attempt >= TRIES - TRIES_A_KIND
            way = str(rng.choice(inside if attempt and inside and not last_resort else ways))
        found = conceal(rooms, way, kind, rng, sizes, make)
        if found is not None and (not least_visible or can_be_seen(device, found, poses)):
            return found
    return None
