"""Pictures of a report: views as operators know them, cropped to the bag, with contours, rings and close-ups."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from bagscan.core import Report, View
from bagscan.formats.quantities import transmission_of
from bagscan.reporting.contours import anomalous_path, benign_path
from bagscan.reporting.places import Place

SIDE_PX = 900
CLOSE_UP_PX = 260
AIR_FROM = 235  # of 255, in every colour
MARGIN = 0.03  # around the bag, of the picture's longer side
RED, GREEN, TRUTH = "#e0182d", "#2fbf5f", "#ffd400"


@dataclass
class Pictures:
    """Where a report's pictures go: into the page, or for many bags into a folder beside it, loaded as one scrolls.

    Attributes:
        folder: that they are written to; None for within the page. prefix: of their names, one for each bag.
    """

    folder: Path | None = None
    prefix: str = ""
    count: int = 0

    def put(self, rgb: np.ndarray, side: int) -> str:
        """Address of a (H, W, 3) uint8 picture that is made no larger than ``side`` pixels."""
        encoded = _jpeg(rgb, side)
        return _data_address(encoded) if self.folder is None else self._write(encoded, "jpg")

    def draw(
        self,
        rgb: np.ndarray,
        side: int,
        window: tuple[int, int, int, int],
        contours: str,
        label: str,
    ) -> str:
        """HTML of a picture with contours over it.

        A file beside the page holds both, so that a page of many bags stays small and loads a drawing when it is scrolled to.

        Args:
            window: x1, y1, x2, y2 of the view that the picture shows. contours: SVG elements in pixels of the view.
        """
        x1, y1, x2, y2 = window
        image = f'<image href="{_data_address(_jpeg(rgb, side))}" x="{x1}" y="{y1}" width="{x2 - x1}" height="{y2 - y1}"/>'
        label = escape(label)
        head = f'viewBox="{x1} {y1} {x2 - x1} {y2 - y1}"'
        if self.folder is None:
            return (
                f'<svg class="view" {head} role="img" aria-label="{label}">{image}{contours}</svg>'
            )
        address = self._write(
            f'<svg xmlns="http://www.w3.org/2000/svg" {head} font-family="sans-serif">{image}{contours}</svg>'.encode(),
            "svg",
        )
        return f'<img class="view" loading="lazy" width="{x2 - x1}" height="{y2 - y1}" src="{address}" alt="{label}">'

    def _write(self, content: bytes, ending: str) -> str:
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.prefix}_{self.count}.{ending}"
        self.count += 1
        (self.folder / name).write_bytes(content)
        return f"{self.folder.name}/{name}"


def _jpeg(rgb: np.ndarray, side: int) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(rgb))
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _data_address(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def displayable(view: View) -> np.ndarray:
    """(H, W, 3) uint8: pseudo-colour as it is or, of low, high and effective Z, as operators know it; anything else as grey of its first channel."""
    if {"low", "high", "zeff"} <= set(view.channels):
        return _coloured(
            *(view.pixels[view.channels.index(name)] for name in ("low", "high", "zeff"))
        )
    view = transmission_of(view)  # what absorbs is dark, as readers know it
    pixels = (
        view.pixels
        if view.quantity == "pseudo_colour" and len(view.pixels) == 3
        else view.pixels[:1].repeat(3, 0)
    )
    low, high = np.percentile(pixels, [0.5, 99.5]) if view.quantity == "effective_z" else (0.0, 1.0)
    return (
        (((pixels - low) / max(high - low, 1e-6)).clip(0, 1) * 255)
        .astype(np.uint8)
        .transpose(1, 2, 0)
    )


def _coloured(low: np.ndarray, high: np.ndarray, zeff: np.ndarray) -> np.ndarray:
    from bagscan.physics.pseudo_colour import colour_again

    return colour_again(low, high, zeff).transpose(1, 2, 0)


def bag_window(rgb: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of all that is not air, with a margin; the whole picture where that is all or nothing."""
    height, width = rgb.shape[:2]
    matter = rgb.min(-1) < AIR_FROM
    rows, columns = np.flatnonzero(matter.mean(1) > 0.01), np.flatnonzero(matter.mean(0) > 0.01)
    if not len(rows) or not len(columns):
        return 0, 0, width, height
    margin = round(MARGIN * max(height, width))
    x1, y1 = max(0, int(columns[0]) - margin), max(0, int(rows[0]) - margin)
    return (
        x1,
        y1,
        min(width, int(columns[-1]) + 1 + margin),
        min(height, int(rows[-1]) + 1 + margin),
    )


def overlay(
    view: View,
    rgb: np.ndarray,
    report: Report,
    places: Sequence[Place],
    pictures: Pictures,
    hidden: np.ndarray | None = None,
) -> str:
    """HTML of one view, cropped to the bag: benign contours, flagged places in numbered rings, and what is truly hidden.

    Args:
        places: of the whole bag, whose numbers they have. hidden: (H, W) bool, of simulated scans.
    """
    x1, y1, x2, y2 = bag_window(rgb)
    stroke = max(x2 - x1, y2 - y1) / 400
    lines = [_benign(report, view.view_id, stroke)]
    if hidden is not None:
        lines.append(
            _two_tone(anomalous_path(hidden), TRUTH, "#000", stroke, "what is hidden here")
        )
    taken: list[tuple[float, float]] = []
    for number, place in enumerate(places, 1):
        if place.view_id != view.view_id:
            continue
        result = f"place {number}: score {place.score:.4f}"
        lines.append(
            _two_tone(anomalous_path(place.mask), RED, "#fff", stroke, result, dashed=True)
        )
        x, y, radius = _ring(place.box_xyxy, view.shape)
        at = _free_spot((x, y), radius, view.shape, 12 * stroke, taken)
        taken.append(at)
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="none" stroke="#fff" stroke-opacity=".7" stroke-width="{2 * stroke:.2f}"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="none" stroke="{RED}" stroke-width="{stroke:.2f}"/>'
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" font-size="{11 * stroke:.1f}" text-anchor="middle" dominant-baseline="central" '
            f'font-weight="700" fill="{RED}" stroke="#fff" stroke-width="{2 * stroke:.2f}" paint-order="stroke">{number}</text>'
        )
    return pictures.draw(
        rgb[y1:y2, x1:x2],
        SIDE_PX,
        (x1, y1, x2, y2),
        "".join(lines),
        f"view {view.view_id} with contours",
    )


def _benign(report: Report, view_id: str, stroke: float) -> str:
    labels, scores = report.regions.get(view_id), report.scores.get(view_id)
    if labels is None or scores is None:
        return ""
    threshold = report.threshold if report.threshold is not None else np.inf
    step = max(1, max(labels.shape) // 480)  # contours no finer than they can be seen
    path = benign_path(labels[::step, ::step], scores, threshold)
    wide = 0.6 * stroke / step
    return (
        f'<g transform="scale({step})" fill="none"><path d="{path}" stroke="#06250f" stroke-opacity=".7" stroke-width="{2.4 * wide:.2f}"/>'
        f'<path d="{path}" stroke="{GREEN}" stroke-width="{wide:.2f}"/></g>'
    )


def _two_tone(
    path: str, colour: str, under: str, stroke: float, title: str, dashed: bool = False
) -> str:
    """An outline that is seen on light and on dark: a wider line of another brightness lies under it."""
    dashes = f' stroke-dasharray="{4 * stroke:.1f} {2.2 * stroke:.1f}"' if dashed else ""
    return (
        f'<path d="{path}" fill="none" stroke="{under}" stroke-opacity=".75" stroke-width="{2.4 * stroke:.2f}"/>'
        f'<path d="{path}" fill="{colour}" fill-opacity=".1" stroke="{colour}" stroke-width="{1.3 * stroke:.2f}"{dashes}><title>{title}</title></path>'
    )


def _ring(
    box: tuple[float, float, float, float], shape: tuple[int, int]
) -> tuple[float, float, float]:
    """(x, y, radius) of the ring around a part, which may be a speck of a whole bag."""
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) / 2 + max(shape) / 40


def _free_spot(
    centre: tuple[float, float],
    radius: float,
    shape: tuple[int, int],
    apart: float,
    taken: Sequence[tuple[float, float]],
) -> tuple[float, float]:
    """Where on its ring a number is written: upper right, or the next place around it that is within the picture and as far as ``apart`` from other numbers."""
    height, width = shape
    turns = np.deg2rad(-45 + 30 * np.arange(12))
    spots = [
        (float(centre[0] + radius * np.cos(a)), float(centre[1] + radius * np.sin(a)))
        for a in turns
    ]
    clipped = [
        (min(max(x, apart), width - apart), min(max(y, apart), height - apart)) for x, y in spots
    ]
    clear = [min((np.hypot(x - u, y - v) for u, v in taken), default=np.inf) for x, y in clipped]
    return next(
        (spot for spot, far in zip(clipped, clear, strict=True) if far >= apart),
        clipped[int(np.argmax(clear))],
    )


def close_up(rgb: np.ndarray, box: tuple[float, float, float, float], pictures: Pictures) -> str:
    """Address of a square around a part, with what lies beside it, since that tells what it is."""
    x1, y1, x2, y2 = box
    height, width = rgb.shape[:2]
    half = min(
        0.5 * max(x2 - x1, y2 - y1) + max(1.2 * max(x2 - x1, y2 - y1), 24.0), min(height, width) / 2
    )
    x = min(max((x1 + x2) / 2, half), width - half)
    y = min(max((y1 + y2) / 2, half), height - half)
    return pictures.put(
        rgb[int(y - half) : int(np.ceil(y + half)), int(x - half) : int(np.ceil(x + half))],
        CLOSE_UP_PX,
    )
