"""A wrench: a flat handle with open jaws, a ring, or a movable jaw."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bagscan.simulate.assembly import AIR, Builder

LAYOUTS = ("open_end", "combination", "adjustable", "ring")
DIMENSIONS = {
    "length_mm": (110.0, 240.0),
    "jaw_mm": (8.0, 27.0),
    "head_share": (1.9, 2.4),
    "head_thickness_mm": (4.0, 9.0),
    "handle_width_mm": (11.0, 26.0),
    "handle_thickness_mm": (3.0, 6.5),
    "web_share": (0.3, 1.0),
    "jaw_depth_share": (0.9, 1.4),
    "jaw_angle_deg": (10.0, 24.0),
    "opening": (0.4, 1.0),
    "knurl_radius_mm": (4.0, 6.5),
    "ring_points": (6, 12),
    "steel": ("iron", "stainless_steel", "iron"),
}


def build(b: Builder, d: SimpleNamespace, layout: str) -> None:
    """Add a wrench along x, with its main jaws at +x."""
    head = d.jaw_mm * d.head_share
    handle = max(d.length_mm - 2 * head * 0.5, 60.0)
    with b.frame((0, 0, d.head_thickness_mm / 2)):
        _handle(b, d, handle, min(d.handle_width_mm, head * 0.7))
        right = handle / 2 + head / 2 + 0.05
        if layout == "ring":
            _ring(b, d, right, head)
        else:
            _jaws(b, d, right, head, layout == "adjustable")
        if layout in ("combination", "ring"):
            _ring(b, d, -right, head)
        elif layout == "open_end":
            with b.frame((0, 0, 0), np.diag([-1.0, -1.0, 1.0])):
                _jaws(b, d, right, head * 0.9, False)


def _handle(b: Builder, d: SimpleNamespace, length: float, width: float) -> None:
    """Add a handle whose middle is thinner than its edges, as forged handles are."""
    bar = b.box(d.steel, (length, width, d.handle_thickness_mm))
    depth = d.handle_thickness_mm * (1 - d.web_share) / 2
    if depth > 0.3:
        for side in (-1, 1):
            at = (0, 0, side * (d.handle_thickness_mm - depth) / 2)
            b.slab(AIR, (length * 0.8, width * 0.55, depth), width * 0.2, at, inside=bar)


def _jaws(b: Builder, d: SimpleNamespace, x: float, head: float, adjustable: bool) -> None:
    """Add a C-shaped head around the jaw opening."""
    jaw = d.jaw_mm * (d.opening if adjustable else 1.0) * head / (d.jaw_mm * d.head_share)
    depth = min(jaw * d.jaw_depth_share, head * 0.6)
    lean = np.radians(d.jaw_angle_deg)
    start = np.arcsin(min(jaw / head, 0.9))
    arc = np.linspace(start, 2 * np.pi - start, 26)
    outer = np.column_stack([head / 2 * np.cos(arc), head / 2 * np.sin(arc)])
    front = head / 2 * np.cos(start)
    notch = [(front - depth, -jaw / 2), (front - depth, jaw / 2)]
    outline = np.concatenate([outer, notch])
    turn = np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
    b.prism(d.steel, outline @ turn.T, d.head_thickness_mm, (x, 0, 0))
    if adjustable:
        b.cylinder(
            "iron",
            d.knurl_radius_mm,
            9,
            (x, 0, d.head_thickness_mm / 2 + d.knurl_radius_mm + 0.1),
            14,
            axis="y",
        )


def _ring(b: Builder, d: SimpleNamespace, x: float, head: float) -> None:
    ring = b.cylinder(d.steel, head / 2, d.head_thickness_mm, (x, 0, 0), 28)
    b.cylinder(AIR, d.jaw_mm / 2, d.head_thickness_mm, (x, 0, 0), d.ring_points, inside=ring)
