"""Pictures of a report: views cropped to the bag, with contours, rings and close-ups."""

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
from bagscan.reporting.contours import benign_path, outline_path
from bagscan.reporting.places import Place

SIDE_PX = 900  # longest side of a view's picture
CLOSE_UP_PX = 260  # side of a close-up
AIR_FROM = 235  # of 255; a pixel whose colours all reach it is air
MARGIN = 0.03  # around the bag, as a share of the picture's longer side
RED, GREEN, TRUTH = "#e0182d", "#2fbf5f", "#ffd400"


@dataclass
class Pictures:
    """Destination of a report's pictures: the page, or files beside it that load on scrolling.

    Attributes:
        folder: directory of the files; None embeds the pictures in the page.
        prefix: start of the file names; unique to a bag.
        count: number of files written.
    """

    folder: Path | None = None
    prefix: str = ""
    count: int = 0

    def put(self, rgb: np.ndarray, side: int) -> str:
        """Store a picture and return its address.

        Args:
            rgb: (H, W, 3) uint8.
            side: longest side of the stored picture, in pixels.
        """
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
        """Store a picture with contours over it and return its HTML.

        In a directory, one SVG file holds both, so that a page of many bags stays small.

        Args:
            rgb: (H, W, 3) uint8.
            side: longest side of the stored picture, in pixels.
            window: (x1, y1, x2, y2) of the picture in the view, in pixels.
            contours: SVG elements in pixels of the view.
            label: description for screen readers.
        """
        x1, y1, x2, y2 = window
        size = f'width="{x2 - x1}" height="{y2 - y1}"'
        image = f'<image href="{_data_address(_jpeg(rgb, side))}" x="{x1}" y="{y1}" {size}/>'
        label = escape(label)
        box = f'viewBox="{x1} {y1} {x2 - x1} {y2 - y1}"'
        if self.folder is None:
            return (
                f'<svg class="view" {box} role="img" aria-label="{label}">{image}{contours}</svg>'
            )
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif">'
            f"{image}{contours}</svg>"
        )
        address = self._write(svg.encode(), "svg")
        return f'<img class="view" loading="lazy" {size} src="{address}" alt="{label}">'

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
    """Return a view as a picture, (H, W, 3) uint8.

    Low energy, high energy and effective Z together become pseudo-colour. Pseudo-colour stays as
    it is. Of any other view, the first channel is shown in grey.
    """
    if {"low", "high", "zeff"} <= set(view.channels):
        from bagscan.physics.pseudo_colour import colour_stored

        planes = (view.pixels[view.channels.index(name)] for name in ("low", "high", "zeff"))
        return colour_stored(*planes).transpose(1, 2, 0)
    view = transmission_of(view)  # readers expect absorbing matter to be dark
    if view.quantity == "pseudo_colour" and len(view.pixels) == 3:
        pixels = view.pixels
    else:
        pixels = view.pixels[:1].repeat(3, 0)
    low, high = np.percentile(pixels, [0.5, 99.5]) if view.quantity == "effective_z" else (0.0, 1.0)
    scaled = ((pixels - low) / max(high - low, 1e-6)).clip(0, 1) * 255
    return scaled.astype(np.uint8).transpose(1, 2, 0)


def bag_window(rgb: np.ndarray) -> tuple[int, int, int, int]:
    """Return the box of everything but air, with a margin.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (x1, y1, x2, y2) in pixels; the whole picture if all of it is air.
    """
    height, width = rgb.shape[:2]
    matter = rgb.min(-1) < AIR_FROM
    rows, columns = np.flatnonzero(matter.mean(1) > 0.01), np.flatnonzero(matter.mean(0) > 0.01)
    if not len(rows) or not len(columns):
        return 0, 0, width, height
    margin = round(MARGIN * max(height, width))
    x1, y1 = max(0, int(columns[0]) - margin), max(0, int(rows[0]) - margin)
    x2, y2 = int(columns[-1]) + 1 + margin, int(rows[-1]) + 1 + margin
    return x1, y1, min(width, x2), min(height, y2)


def overlay(
    view: View,
    rgb: np.ndarray,
    report: Report,
    places: Sequence[Place],
    pictures: Pictures,
    hidden: np.ndarray | None = None,
) -> str:
    """Draw one view, cropped to the bag, and return its HTML.

    The drawing shows benign contours, flagged places in numbered rings, and hidden items.

    Args:
        view: the view.
        rgb: (H, W, 3) uint8, its picture from :func:`displayable`.
        report: the screener's report of the bag.
        places: places of the whole bag; a place's number is its position, from 1.
        pictures: destination of the picture.
        hidden: (H, W) bool mask of hidden items, of simulated scans.
    """
    x1, y1, x2, y2 = bag_window(rgb)
    stroke = max(x2 - x1, y2 - y1) / 400
    lines = [_benign(report, view.view_id, stroke)]
    if hidden is not None:
        lines.append(_two_tone(outline_path(hidden), TRUTH, "#000", stroke, "what is hidden here"))
    spots: list[tuple[float, float]] = []
    for number, place in enumerate(places, 1):
        if place.view_id != view.view_id:
            continue
        title = f"place {number}: score {place.score:.4f}"
        lines.append(_two_tone(outline_path(place.mask), RED, "#fff", stroke, title, dashed=True))
        x, y, radius = _ring(place.box_xyxy, view.shape)
        spot = _free_spot((x, y), radius, view.shape, 12 * stroke, spots)
        spots.append(spot)
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="none"'
        lines.append(
            f'{circle} stroke="#fff" stroke-opacity=".7" stroke-width="{2 * stroke:.2f}"/>'
            f'{circle} stroke="{RED}" stroke-width="{stroke:.2f}"/>'
            f'<text x="{spot[0]:.1f}" y="{spot[1]:.1f}" font-size="{11 * stroke:.1f}" '
            'text-anchor="middle" dominant-baseline="central" font-weight="700" '
            f'fill="{RED}" stroke="#fff" stroke-width="{2 * stroke:.2f}" paint-order="stroke">'
            f"{number}</text>"
        )
    label = f"view {view.view_id} with contours"
    return pictures.draw(rgb[y1:y2, x1:x2], SIDE_PX, (x1, y1, x2, y2), "".join(lines), label)


def _benign(report: Report, view_id: str, stroke: float) -> str:
    labels, scores = report.regions.get(view_id), report.scores.get(view_id)
    if labels is None or scores is None:
        return ""
    threshold = report.threshold if report.threshold is not None else np.inf
    step = max(1, max(labels.shape) // 480)  # finer contours cannot be seen
    path = benign_path(labels[::step, ::step], scores, threshold)
    width = 0.6 * stroke / step
    return (
        f'<g transform="scale({step})" fill="none">'
        f'<path d="{path}" stroke="#06250f" stroke-opacity=".7" stroke-width="{2.4 * width:.2f}"/>'
        f'<path d="{path}" stroke="{GREEN}" stroke-width="{width:.2f}"/></g>'
    )


def _two_tone(
    path: str, colour: str, under: str, stroke: float, title: str, dashed: bool = False
) -> str:
    """Return an outline over a wider line of another brightness: visible on light and dark."""
    dashes = f' stroke-dasharray="{4 * stroke:.1f} {2.2 * stroke:.1f}"' if dashed else ""
    return (
        f'<path d="{path}" fill="none" stroke="{under}" stroke-opacity=".75" '
        f'stroke-width="{2.4 * stroke:.2f}"/>'
        f'<path d="{path}" fill="{colour}" fill-opacity=".1" stroke="{colour}" '
        f'stroke-width="{1.3 * stroke:.2f}"{dashes}><title>{title}</title></path>'
    )


def _ring(
    box: tuple[float, float, float, float], shape: tuple[int, int]
) -> tuple[float, float, float]:
    """Return (x, y, radius) of the ring around a box; it stays visible around a small box."""
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) / 2 + max(shape) / 40


def _free_spot(
    centre: tuple[float, float],
    radius: float,
    shape: tuple[int, int],
    min_distance: float,
    taken: Sequence[tuple[float, float]],
) -> tuple[float, float]:
    """Return a position on a ring for its number, within the picture.

    The search starts at the upper right and goes around the ring. If no position is
    ``min_distance`` from all other numbers, the farthest is returned.
    """
    height, width = shape
    spots = []
    for angle in np.deg2rad(-45 + 30 * np.arange(12)):
        x = float(centre[0] + radius * np.cos(angle))
        y = float(centre[1] + radius * np.sin(angle))
        x = min(max(x, min_distance), width - min_distance)
        y = min(max(y, min_distance), height - min_distance)
        spots.append((x, y))
    distances = [min((np.hypot(x - u, y - v) for u, v in taken), default=np.inf) for x, y in spots]
    for spot, distance in zip(spots, distances, strict=True):
        if distance >= min_distance:
            return spot
    return spots[int(np.argmax(distances))]


def close_up(rgb: np.ndarray, box: tuple[float, float, float, float], pictures: Pictures) -> str:
    """Store a square crop around a box and return its address.

    The crop includes the surroundings, which help to identify the item.

    Args:
        rgb: (H, W, 3) uint8.
        box: (x1, y1, x2, y2) in pixels.
        pictures: destination of the picture.
    """
    x1, y1, x2, y2 = box
    height, width = rgb.shape[:2]
    side = max(x2 - x1, y2 - y1)
    half = min(0.5 * side + max(1.2 * side, 24.0), min(height, width) / 2)
    x = min(max((x1 + x2) / 2, half), width - half)
    y = min(max((y1 + y2) / 2, half), height - half)
    rows = slice(int(y - half), int(np.ceil(y + half)))
    columns = slice(int(x - half), int(np.ceil(x + half)))
    return pictures.put(rgb[rows, columns], CLOSE_UP_PX)
