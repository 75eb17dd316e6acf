"""Rendering of scenes: raw counts, component masks and detectability of the anomaly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bagscan.imaging.scanner import Profile, ViewGeometry
from bagscan.simulate.assembly import AIR, Assembly
from bagscan.simulate.forward import line_positions, transmission
from bagscan.simulate.noise import blur, measure, unspread
from bagscan.simulate.raster import Rasteriser, Silhouette
from bagscan.simulate.scene import Scene
from bagscan.simulate.staging import Shown, compute_visibility, pixel_mm

PER_PIXEL = 2
STRATA = ((5.0, "below 5"), (50.0, "5-50"), (500.0, "50-500"), (np.inf, "above 500"))


@dataclass(frozen=True)
class RenderedView:
    """A view of a scene.

    Attributes:
        view: geometry of the view, cropped to the scene.
        counts: (2, H, W) uint16 low and high counts.
        components: silhouette of each component of the scene; that of the anomaly comes last.
        detectability: detectability of the anomaly; None without an anomaly.
        shown: visibility of the anomaly; None without an anomaly.
    """

    view: ViewGeometry
    counts: np.ndarray
    components: tuple[Silhouette, ...]
    detectability: Detectability | None = None
    shown: Shown | None = None


@dataclass(frozen=True)
class Detectability:
    """Contrast-to-noise ratio (CNR) of an anomaly.

    Attributes:
        cnr: (H, W) float32 CNR of each pixel, over both channels.
        area_cnr: CNR of a prewhitening matched filter, that is an observer who knows the difference
            image and the correlation of the noise between channels (ICRU Report 54).
    """

    cnr: np.ndarray
    area_cnr: float

    @property
    def stratum(self) -> str:
        """Class of ``area_cnr``, see :func:`stratum`."""
        return stratum(self.area_cnr)


def stratum(area_cnr: float) -> str:
    """Return ``below 5`` (undetectable), ``5-50``, ``50-500`` or ``above 500``."""
    return next(name for limit, name in STRATA if area_cnr < limit)


def render(
    scene: Scene, profile: Profile, seed: int, both: bool = False
) -> dict[str, list[RenderedView]]:
    """Render every view of a scene, with its anomaly if it has any.

    Args:
        scene: scene to render.
        profile: scanner profile.
        seed: seed of all noise.
        both: also render the benign twin, with the same noise.

    Returns:
        Views under the keys ``anomalous`` and ``benign``.
    """
    out: dict[str, list[RenderedView]] = {}
    # Channels that see only air are dropped. The benign scene determines them for both twins.
    for number, view in enumerate(profile.views):
        for name, rendered in _render_view(scene, profile, view, seed + number, both).items():
            out.setdefault(name, []).append(rendered)
    return out


def _render_view(
    scene: Scene, profile: Profile, view: ViewGeometry, seed: int, both: bool
) -> Mapping[str, RenderedView]:
    view = view.cropped(*scene.benign.bounds)
    clean = transmission(scene.benign, profile, view, scene.y_mm, PER_PIXEL)
    fan = view.fan(line_positions(scene.y_mm, profile.line_pitch_mm, PER_PIXEL), PER_PIXEL)
    found: dict[str, RenderedView] = {}
    if both or scene.anomalous is None:
        found["benign"] = RenderedView(
            view, measure(clean, profile, view, seed), component_silhouettes(scene.benign, fan)
        )
    if scene.anomalous is not None:
        assert scene.changed is not None
        edited = _transmission_with_anomaly(scene, profile, view, clean, fan)
        contrast = detectability(clean, edited, profile, view)
        components = component_silhouettes(scene.anomalous, fan)
        is_anomaly = scene.anomalous.component == len(scene.anomalous.components) - 1
        middle = np.mean(scene.anomalous.alone(is_anomaly).bounds, 0)
        visibility = compute_visibility(
            clean, edited, components[-1], pixel_mm(view, profile.line_pitch_mm, middle)
        )
        found["anomalous"] = RenderedView(
            view, measure(edited, profile, view, seed), components, contrast, visibility
        )
    return found


def _transmission_with_anomaly(
    scene: Scene, profile: Profile, view: ViewGeometry, clean: np.ndarray, fan: object
) -> np.ndarray:
    """Return the transmission with the anomaly.

    It is recomputed only where the twins differ, so that all other pixels are bit-identical.
    """
    assert scene.changed is not None
    assert scene.anomalous is not None
    footprint = _silhouettes(scene.changed, np.zeros(len(scene.changed), np.int64), 1, fan)[0]
    if not footprint.mask.any():
        return clean
    lines = footprint.top, footprint.top + footprint.mask.shape[0]
    recomputed = transmission(scene.anomalous, profile, view, scene.y_mm, PER_PIXEL, lines=lines)
    changed = footprint.full(clean.shape[1:])[lines[0] : lines[1]]
    edited = clean.copy()
    edited[:, lines[0] : lines[1]] = np.where(changed, recomputed, clean[:, lines[0] : lines[1]])
    return edited


def component_silhouettes(scene: Assembly, fan: object) -> tuple[Silhouette, ...]:
    """Return the amodal silhouettes of all components, without air."""
    solid = np.array([name != AIR for name in scene.material])
    return tuple(
        _silhouettes(scene, np.where(solid, scene.component, -1), len(scene.components), fan)
    )


def _silhouettes(scene: Assembly, part: np.ndarray, n: int, fan: object) -> list[Silhouette]:
    raster = Rasteriser(scene.solids([]), fan)  # type: ignore[arg-type]
    return [s.coarser(PER_PIXEL) for s in raster.silhouettes(part, n)]


def detectability(
    clean: np.ndarray, edited: np.ndarray, profile: Profile, view: ViewGeometry
) -> Detectability:
    """Compute the CNR of the difference of two noise-free transmissions after the detector blur.

    Args:
        clean: (2, H, W) transmission of the benign scene.
        edited: (2, H, W) transmission of the anomalous scene.
        profile: scanner profile.
        view: view of the scene.
    """
    response = profile.response
    distance = view.fan(np.zeros(1)).distance_mm
    squared, area = np.zeros(clean.shape[1:]), 0.0
    changed = np.flatnonzero((clean != edited).any((0, 2)))
    if not len(changed):
        return Detectability(squared.astype(np.float32), 0.0)
    rows = slice(max(0, changed[0] - 4), changed[-1] + 5)
    for channel, photons in enumerate((response.low_photons, response.high_photons)):
        air = photons * (profile.detector.distance_mm / distance) ** 2
        before, after = (blur(t[channel, rows], profile.blur_px) for t in (clean, edited))
        # Noise at the mean level: photons and electronics, with half of the scatter. An observer
        # who knows the scanner corrects gain, cards and flicker, so they are omitted.
        level = (before + after) / 2 + profile.scatter.share * 0.5
        variance = level / air + (profile.noise.electronic / air) ** 2
        contrast = (before - after) / np.sqrt(variance)
        squared[rows] += contrast**2
        area += float(np.square(unspread(contrast, profile.noise.spread_px)).sum())
    return Detectability(np.sqrt(squared).astype(np.float32), float(np.sqrt(area)))
