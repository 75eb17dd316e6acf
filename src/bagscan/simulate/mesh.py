"""Watertight triangle meshes: primitive shapes, rotation and shift.

x points across the tunnel, y along the belt and z up; units are millimetres. Faces are
counter-clockwise seen from outside. Every builder centres its shape on the origin.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscan.core.errors import DataError


@dataclass(frozen=True)
class Mesh:
    """A closed surface.

    Attributes:
        vertices: (V, 3) float64 coordinates in mm.
        faces: (F, 3) int64 indices of vertices, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    faces: np.ndarray

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Minimum and maximum (x, y, z) in mm."""
        return self.vertices.min(0), self.vertices.max(0)

    @property
    def volume_mm3(self) -> float:
        """Signed volume by the divergence theorem; positive if the faces point outwards."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    @property
    def watertight(self) -> bool:
        """True if every edge belongs to two faces that traverse it in opposite directions."""
        edges = np.concatenate(
            [self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]]
        )
        keys = np.sort(edges[:, 0] * len(self.vertices) + edges[:, 1])
        back = np.sort(edges[:, 1] * len(self.vertices) + edges[:, 0])
        return bool(np.array_equal(keys, back) and (np.diff(keys) > 0).all())

    def moved(
        self, rotation: np.ndarray | None = None, shift: Sequence[float] | np.ndarray = (0, 0, 0)
    ) -> Mesh:
        """Return the mesh rotated about the origin by a (3, 3) matrix, then shifted."""
        vertices = self.vertices if rotation is None else self.vertices @ np.asarray(rotation).T
        return Mesh(vertices + np.asarray(shift, float), self.faces)

    def below(self, z_mm: float) -> Mesh:
        """Return the part below a horizontal plane, closed by a cap; empty if there is none."""
        under = self.vertices[:, 2] < z_mm
        inside = under[self.faces]
        kept = [self.faces[inside.all(1)]]
        edges: dict[tuple[int, int], int] = {}
        new: list[np.ndarray] = []

        def split_edge(a: int, b: int) -> int:
            key = (a, b) if a < b else (b, a)
            if key not in edges:
                p, q = self.vertices[key[0]], self.vertices[key[1]]
                edges[key] = len(self.vertices) + len(new)
                new.append(p + (q - p) * (z_mm - p[2]) / (q[2] - p[2]))
            return edges[key]

        rim, extra = [], []
        for k in np.flatnonzero(inside.any(1) & ~inside.all(1)):
            a, b, c = np.roll(
                self.faces[k], -int(np.argmax(inside[k] if inside[k].sum() == 1 else ~inside[k]))
            )
            p, q = split_edge(a, b), split_edge(a, c)
            if inside[k].sum() == 1:  # only a is below
                extra.append((a, p, q))
                rim.append((p, q))
            else:  # only a is above
                extra += [(p, b, c), (p, c, q)]
                rim.append((q, p))
        if not rim:
            return Mesh(self.vertices, kept[0])
        middle = len(self.vertices) + len(new)
        cap = [(q, p, middle) for p, q in rim]  # a fan with signed areas: valid for any outline
        vertices = np.concatenate([self.vertices, new, [np.mean(new, axis=0)]])
        return Mesh(vertices, np.concatenate([*kept, extra, cap]).astype(np.int64))


def rotation_xyz(about_x: float, about_y: float, about_z: float) -> np.ndarray:
    """Return the (3, 3) rotation by angles in radians about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = (
        np.cos([about_x, about_y, about_z]),
        np.sin([about_x, about_y, about_z]),
    )
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx)


def box(size_mm: Sequence[float]) -> Mesh:
    """Return a cuboid with the sides (x, y, z)."""
    unit = _unit_box()
    return Mesh(unit.vertices * np.asarray(size_mm, float), unit.faces)


@functools.cache
def _unit_box() -> Mesh:
    return prism([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], 1.0)


def prism(outline_mm: Sequence[tuple[float, float]] | np.ndarray, height_mm: float) -> Mesh:
    """Return a simple polygon in (x, y), of either orientation, extruded along z."""
    outline = np.asarray(outline_mm, float)
    if _area(outline) < 0:
        outline = outline[::-1]
    n = len(outline)
    low = np.column_stack([outline, np.full(n, -height_mm / 2)])
    high = np.column_stack([outline, np.full(n, height_mm / 2)])
    i, j = np.arange(n), (np.arange(n) + 1) % n
    sides = np.concatenate([np.column_stack([i, j, j + n]), np.column_stack([i, j + n, i + n])])
    cap = _triangulate(outline)
    return Mesh(np.concatenate([low, high]), np.concatenate([sides, cap[:, ::-1], cap + n]))


def ribbon(path_mm: np.ndarray, thickness_mm: float, height_mm: float) -> Mesh:
    """Return a band of constant thickness that stands along a smooth path (P, 2) in (x, y)."""
    path = np.asarray(path_mm, float)
    along = np.gradient(path, axis=0)
    perpendicular = np.column_stack([-along[:, 1], along[:, 0]])
    normal = perpendicular / np.linalg.norm(along, axis=1)[:, None] * thickness_mm / 2
    n = len(path)
    rails = [
        np.column_stack([path + side * normal, np.full(n, z)])
        for z in (-height_mm / 2, height_mm / 2)
        for side in (-1, 1)
    ]
    i, j = np.arange(n - 1), np.arange(1, n)
    corners = [0, n, 3 * n, 2 * n]  # once around: right low, left low, left high, right high
    faces = []
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        faces += [np.column_stack([a + i, b + i, b + j]), np.column_stack([a + i, b + j, a + j])]
    low, end = [[0, 3 * n, n], [0, 2 * n, 3 * n]], n - 1
    faces += [np.array(low), np.array(low)[:, ::-1] + end]
    mesh = Mesh(np.concatenate(rails), np.concatenate(faces))
    return mesh if mesh.volume_mm3 > 0 else Mesh(mesh.vertices, mesh.faces[:, ::-1])


def lathe(profile_mm: Sequence[tuple[float, float]], segments: int = 32) -> Mesh:
    """Return the solid of revolution of a profile (radius, z) about z.

    Args:
        profile_mm: points from bottom to top along the outside. The profile starts and ends on the
            axis, with radius 0 at its ends only, or is a closed curve off the axis.
        segments: number of segments around z.
    """
    profile = np.asarray(profile_mm, float)
    turn = 2 * np.pi * np.arange(segments) / segments
    ring = np.column_stack([np.cos(turn), np.sin(turn)])
    closed = profile[0, 0] > 0 and profile[-1, 0] > 0
    rings = [k for k in range(len(profile)) if profile[k, 0] > 0]
    vertices = [
        np.column_stack([profile[k, 0] * ring, np.full(segments, profile[k, 1])]) for k in rings
    ]
    i, j = np.arange(segments), (np.arange(segments) + 1) % segments
    faces = []
    pairs = list(zip(range(len(rings)), [*range(1, len(rings)), 0], strict=True))
    for a, b in pairs if closed else pairs[:-1]:
        faces += [np.column_stack([a * segments + i, a * segments + j, b * segments + j])]
        faces += [np.column_stack([a * segments + i, b * segments + j, b * segments + i])]
    count = len(rings) * segments
    if not closed:
        vertices += [np.array([[0, 0, profile[0, 1]], [0, 0, profile[-1, 1]]])]
        last = (len(rings) - 1) * segments
        faces += [np.column_stack([np.full(segments, count), j, i])]
        faces += [np.column_stack([np.full(segments, count + 1), last + i, last + j])]
    return Mesh(np.concatenate(vertices), np.concatenate(faces))


def cylinder(radius_mm: float, height_mm: float, segments: int = 32) -> Mesh:
    """Return a polygonal cylinder along z with the volume of the round cylinder."""
    unit = _unit_cylinder(segments)
    return Mesh(unit.vertices * np.array([radius_mm, radius_mm, height_mm]), unit.faces)


@functools.cache
def _unit_cylinder(segments: int) -> Mesh:
    radius = _same_area(segments)
    return lathe([(0, -0.5), (radius, -0.5), (radius, 0.5), (0, 0.5)], segments)


def tube(outer_mm: float, inner_mm: float, height_mm: float, segments: int = 32) -> Mesh:
    """Return a hollow cylinder along z.

    Raises:
        DataError: the inner radius is not between 0 and the outer radius.
    """
    if not 0 < inner_mm < outer_mm:
        raise DataError(
            "inner radius of a tube must be between 0 and the outer radius; "
            f"got {inner_mm} and {outer_mm} mm"
        )
    outer, inner, h = (
        outer_mm * _same_area(segments),
        inner_mm * _same_area(segments),
        height_mm / 2,
    )
    return lathe([(inner, -h), (outer, -h), (outer, h), (inner, h)], segments)


def ellipsoid(radii_mm: Sequence[float], segments: int = 32) -> Mesh:
    """Return an ellipsoid with three radii and exact volume."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    profile = [(float(r), float(z)) for r, z in zip(np.cos(angle), np.sin(angle), strict=True)]
    profile[0], profile[-1] = (0.0, -1.0), (0.0, 1.0)
    unit = lathe(profile, segments)
    factor = (4 / 3 * np.pi / unit.volume_mm3) ** (1 / 3)
    return Mesh(unit.vertices * factor * np.asarray(radii_mm, float), unit.faces)


def rounded_rectangle(
    width_mm: float, length_mm: float, radius_mm: float, per_corner: int = 5
) -> np.ndarray:
    """Return a (4 · per_corner, 2) counter-clockwise outline centred on the origin."""
    radius = min(radius_mm, width_mm / 2 - 1e-6, length_mm / 2 - 1e-6)
    quarter = np.linspace(0, np.pi / 2, per_corner)
    corners = []
    for k, (sx, sy) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        turn = quarter + k * np.pi / 2
        centre = np.array([sx * (width_mm / 2 - radius), sy * (length_mm / 2 - radius)])
        corners.append(centre + radius * np.column_stack([np.cos(turn), np.sin(turn)]))
    return np.concatenate(corners)


def cord(points_mm: np.ndarray, radius_mm: float, segments: int = 8) -> Mesh:
    """Return a round wire along a polyline (P, 3), with flat ends and mitred corners.

    Raises:
        DataError: there are fewer than two points, or two consecutive points coincide.
    """
    points = np.asarray(points_mm, float)
    if len(points) < 2 or (np.linalg.norm(np.diff(points, axis=0), axis=1) < 1e-9).any():
        raise DataError("a cord needs two or more points, and consecutive points must differ")
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    side = np.cross(along[0], [0.0, 0.0, 1.0] if abs(along[0, 2]) < 0.9 else [1.0, 0.0, 0.0])
    turn = 2 * np.pi * np.arange(segments) / segments
    rings = []
    for point, tangent in zip(points, along, strict=True):
        side = side - tangent * (side @ tangent)  # transported without twist
        side /= np.linalg.norm(side)
        up = np.cross(tangent, side)
        rings.append(
            point
            + radius_mm
            * _same_area(segments)
            * (np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * up)
        )
    n, last = segments, (len(points) - 1) * segments
    i, j = np.arange(n), (np.arange(n) + 1) % n
    faces = []
    for a in range(0, last, n):
        faces += [
            np.column_stack([a + i, a + j, a + n + j]),
            np.column_stack([a + i, a + n + j, a + n + i]),
        ]
    ends = len(points) * n
    faces += [
        np.column_stack([np.full(n, ends), j, i]),
        np.column_stack([np.full(n, ends + 1), last + i, last + j]),
    ]
    return Mesh(np.concatenate([*rings, points[[0, -1]]]), np.concatenate(faces))


def _same_area(segments: int) -> float:
    """Return the radius of a regular polygon with the area of a unit circle."""
    return float(np.sqrt(2 * np.pi / (segments * np.sin(2 * np.pi / segments))))


def _area(outline: np.ndarray) -> float:
    x, y = outline.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _triangulate(outline: np.ndarray) -> np.ndarray:
    """Return the (n - 2, 3) triangles of a simple counter-clockwise polygon.

    A convex polygon is split into a fan, any other by ear clipping.

    Raises:
        DataError: the outline crosses itself, repeats a corner or encloses no area.
    """
    if _is_convex(outline):
        corner = np.arange(1, len(outline) - 1)
        return np.column_stack([np.zeros(len(corner), np.int64), corner, corner + 1])
    remaining = list(range(len(outline)))
    triangles = []
    while len(remaining) > 3:
        for k in range(len(remaining)):
            a, b, c = remaining[k - 1], remaining[k], remaining[(k + 1) % len(remaining)]
            if _is_ear(outline, a, b, c, remaining):
                triangles.append((a, b, c))
                del remaining[k]
                break
        else:
            raise DataError("outline crosses itself or repeats a corner")
    triangles.append((remaining[0], remaining[1], remaining[2]))
    if _area(outline[list(triangles[-1])]) <= 0:
        raise DataError("outline crosses itself or encloses no area")
    return np.array(triangles)


def _is_convex(outline: np.ndarray) -> bool:
    """Return True if a polygon turns left at every corner and winds around once."""
    along = np.roll(outline, -1, 0) - outline
    after = np.roll(along, -1, 0)
    turn = np.arctan2(along[:, 0] * after[:, 1] - along[:, 1] * after[:, 0], (along * after).sum(1))
    return bool((turn > 1e-9).all() and turn.sum() < 2.5 * np.pi)


def _cross(start: np.ndarray, end: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return twice the signed area of an edge with each point; positive on the left."""
    return np.asarray(
        (end[0] - start[0]) * (points[..., 1] - start[1])
        - (end[1] - start[1]) * (points[..., 0] - start[0])
    )


def _is_ear(outline: np.ndarray, a: int, b: int, c: int, remaining: list[int]) -> bool:
    p, q, r = outline[a], outline[b], outline[c]
    if _cross(p, q, r) <= 1e-12:
        return False
    rest = outline[[k for k in remaining if k not in (a, b, c)]]
    inside = (_cross(p, q, rest) >= 0) & (_cross(q, r, rest) >= 0) & (_cross(r, p, rest) >= 0)
    return not inside.any()
