"""Path lengths through solids, by signed depths along fan-beam lines: no sorting of hits.

A ray enters a watertight solid as often as it leaves it. The distance to every exit counts plus, to
every entrance minus, and the sum is the length inside, whatever the order. A belt line cuts a
triangle in a segment; the channels between its ends see it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from bagscan.core.errors import DataError
from bagscan.imaging.fan import Fan
from bagscan.simulate.mesh import Mesh


@dataclass(frozen=True)
class Solids:
    """Meshes packed for the kernel.

    Attributes:
        vertices: (V, 3). faces: (F, 3). first_vertex, first_face: (S + 1,) of every solid.
        adds: (S,) row of paths that a solid's length is added to; -1 for none (air).
        takes: (S,) row it is taken from, of the solid that it lies inside of; -1 for none.
        scale: (S,) density relative to the material's own. taken: (S,) that of what it displaces.
    """

    vertices: np.ndarray
    faces: np.ndarray
    first_vertex: np.ndarray
    first_face: np.ndarray
    adds: np.ndarray
    takes: np.ndarray
    scale: np.ndarray
    taken: np.ndarray

    @classmethod
    def pack(
        cls,
        meshes: Sequence[Mesh],
        adds: Sequence[int],
        takes: Sequence[int],
        scale: Sequence[float],
        taken: Sequence[float] | None = None,
    ) -> Solids:
        """From one mesh per solid."""
        starts = np.cumsum([0, *(len(m.vertices) for m in meshes)])
        vertices = np.concatenate([m.vertices for m in meshes]) if meshes else np.zeros((0, 3))
        faces = (
            np.concatenate([m.faces + s for m, s in zip(meshes, starts, strict=False)])
            if meshes
            else np.zeros((0, 3), np.int64)
        )
        first = np.cumsum([0, *(len(m.faces) for m in meshes)])
        return cls(
            np.ascontiguousarray(vertices),
            np.ascontiguousarray(faces, np.int64),
            starts,
            first,
            np.asarray(adds, np.int64),
            np.asarray(takes, np.int64),
            np.asarray(scale, float),
            np.ones(len(meshes)) if taken is None else np.asarray(taken, float),
        )


@dataclass(frozen=True)
class Silhouette:
    """Attributes: top, left: line and channel of ``mask[0, 0]``. mask: (h, w) bool; empty where nothing is seen."""

    top: int
    left: int
    mask: np.ndarray

    def full(self, shape: tuple[int, int]) -> np.ndarray:
        """(lines, channels) bool of the whole view."""
        out = np.zeros(shape, bool)
        out[
            self.top : self.top + self.mask.shape[0], self.left : self.left + self.mask.shape[1]
        ] = self.mask
        return out

    def coarser(self, factor: int) -> Silhouette:
        """On pixels of ``factor`` rays each way: wherever any of them meets the part."""
        top, left = self.top // factor, self.left // factor
        pad = (
            (self.top - top * factor, -(self.top + self.mask.shape[0]) % factor),
            (self.left - left * factor, -(self.left + self.mask.shape[1]) % factor),
        )
        padded = np.pad(self.mask, pad)
        rays = [padded[a::factor, b::factor] for a in range(factor) for b in range(factor)]
        return Silhouette(top, left, np.asarray(functools.reduce(np.logical_or, rays)))

    @classmethod
    def union(cls, parts: Sequence[Silhouette]) -> Silhouette:
        """All of them together."""
        parts = [p for p in parts if p.mask.size]
        if not parts:
            return cls(0, 0, np.zeros((0, 0), bool))
        top, left = min(p.top for p in parts), min(p.left for p in parts)
        mask = np.zeros(
            (
                max(p.top + p.mask.shape[0] for p in parts) - top,
                max(p.left + p.mask.shape[1] for p in parts) - left,
            ),
            bool,
        )
        for p in parts:
            mask[
                p.top - top : p.top - top + p.mask.shape[0],
                p.left - left : p.left - left + p.mask.shape[1],
            ] |= p.mask
        return cls(top, left, mask)


class Rasteriser:
    """Solids seen through a fan, line block by line block."""

    def __init__(self, solids: Solids, fan: Fan) -> None:
        self.solids, self.fan = solids, fan
        frame = fan.frame
        seen = (solids.vertices[:, [0, 2]] - fan.source_mm) @ frame.T
        if len(seen) and seen[:, 1].min() <= 0:
            raise DataError("a solid reaches behind the source")
        # (across, y, along): the kernel knows nothing of the tunnel's axes.
        self.vertices = np.ascontiguousarray(
            np.column_stack([seen[:, 0], solids.vertices[:, 1], seen[:, 1]])
        )
        rays = fan.direction @ frame.T
        self.tangent = np.ascontiguousarray(rays[:, 0] / rays[:, 1])
        self.per_depth = np.ascontiguousarray(1 / rays[:, 1])
        # First channel at or after each of many even steps: a search by one look-up and a step or two.
        steps = np.linspace(self.tangent[0], self.tangent[-1], 4 * len(self.tangent))
        self.first_channel = np.searchsorted(self.tangent, steps)
        # Entries and exits cancel, so depths may count from anywhere: from each solid's own middle they
        # are small, and single precision holds them.
        self.middle = (
            np.add.reduceat(seen[:, 1], solids.first_vertex[:-1]) / np.diff(solids.first_vertex)
            if len(seen)
            else np.zeros(0)
        )
        # Orientation: the frame may mirror the plane, which turns faces inside out.
        self.sign = float(np.sign(np.linalg.det(frame)))
        self.first_line, self.end_line = self._lines_of_faces(fan.y_mm)

    def _lines_of_faces(self, y_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(F,) first line that cuts each face, and the one after the last."""
        y = self.vertices[:, 1][self.solids.faces]
        return np.searchsorted(y_mm, y.min(1, initial=np.inf)), np.searchsorted(
            y_mm, y.max(1, initial=-np.inf)
        )

    def paths(self, first_line: int, end_line: int, out: np.ndarray) -> None:
        """Add lengths in mm to ``out`` (lines, rows, U), float64 or float32, for lines first_line..end_line - 1."""
        near = np.flatnonzero((self.first_line < end_line) & (self.end_line > first_line))
        owner = np.searchsorted(self.solids.first_face, near, side="right") - 1
        s = self.solids
        lines = (
            np.maximum(self.first_line[near], first_line),
            np.minimum(self.end_line[near], end_line),
        )
        rows = (
            s.adds[owner],
            s.takes[owner],
            s.scale[owner] * self.sign,
            s.taken[owner] * self.sign,
            self.middle[owner],
        )
        _accumulate(
            self.vertices,
            s.faces[near],
            *lines,
            *rows,
            self.fan.y_mm,
            self.tangent,
            self.first_channel,
            self.per_depth,
            first_line,
            out,
        )

    def silhouettes(self, part: np.ndarray, n_parts: int) -> list[Silhouette]:
        """Where each part lies in the beam, whatever lies over it.

        Args:
            part: (S,) part number of each solid, -1 for none.
        """
        owner = np.repeat(part, np.diff(self.solids.first_face))
        window = self._windows(owner, n_parts)
        height, width = window[:, 2] - window[:, 0], window[:, 3] - window[:, 1]
        first = np.cumsum(np.append(0, height * width))
        out = np.zeros(first[-1], np.bool_)
        _cover(
            self.vertices,
            self.solids.faces,
            self.first_line,
            self.end_line,
            owner,
            self.fan.y_mm,
            self.tangent,
            self.first_channel,
            window,
            first,
            out,
        )
        return [
            Silhouette(int(w[0]), int(w[1]), out[a : a + h * v].reshape(h, v))
            for w, a, h, v in zip(window, first[:-1], height, width, strict=True)
        ]

    def _windows(self, owner: np.ndarray, n_parts: int) -> np.ndarray:
        """(n_parts, 4) first line, first channel, end line, end channel of every part; empty ones are all 0."""
        seen = (self.vertices[:, 0] / self.vertices[:, 2])[self.solids.faces]
        bounds = np.column_stack(
            [
                self.first_line,
                np.searchsorted(self.tangent, seen.min(1, initial=np.inf)),
                self.end_line,
                np.searchsorted(self.tangent, seen.max(1, initial=-np.inf)),
            ]
        )
        window = np.tile([2**31, 2**31, 0, 0], (n_parts, 1))
        there = owner >= 0
        np.minimum.at(window[:, :2], owner[there], bounds[there, :2])
        np.maximum.at(window[:, 2:], owner[there], bounds[there, 2:])
        window[(window[:, 2:] <= window[:, :2]).any(1)] = 0
        return np.asarray(window)


@numba.njit(cache=True)
def cut_triangle(vertices, faces, f, y):  # type: ignore[no-untyped-def]
    """Segment (x0, z0, x1, z1) in which the plane at y cuts triangle f; whether it does."""
    n = 0
    x0 = z0 = x1 = z1 = 0.0
    for e in range(3):
        a, b = faces[f, e], faces[f, (e + 1) % 3]
        if (
            a > b
        ):  # one order for both faces of an edge: the same arithmetic, so no gap between them
            a, b = b, a
        ya, yb = vertices[a, 1], vertices[b, 1]
        if (ya <= y) != (yb <= y):
            w = (y - ya) / (yb - ya)
            x = vertices[a, 0] + w * (vertices[b, 0] - vertices[a, 0])
            z = vertices[a, 2] + w * (vertices[b, 2] - vertices[a, 2])
            if n == 0:
                x0, z0 = x, z
            else:
                x1, z1 = x, z
            n += 1
    return n == 2, x0, z0, x1, z1


@numba.njit(cache=True, inline="always")
def _channel(tangent, first_channel, value):  # type: ignore[no-untyped-def]
    """np.searchsorted(tangent, value), from a table."""
    step = int((value - tangent[0]) / (tangent[-1] - tangent[0]) * (len(first_channel) - 1))
    u = first_channel[min(max(step, 0), len(first_channel) - 1)]
    while u > 0 and tangent[u - 1] >= value:
        u -= 1
    while u < len(tangent) and tangent[u] < value:
        u += 1
    return u


@numba.njit(cache=True)
def _accumulate(
    vertices,
    faces,
    from_line,
    to_line,
    adds,
    takes,
    scale,
    taken,
    middle,
    y_mm,
    tangent,
    first_channel,
    per_depth,
    first_line,
    out,
):  # type: ignore[no-untyped-def]
    for f in range(len(faces)):
        i0, i1, i2 = faces[f]
        ax, ay, az = (
            vertices[i1, 0] - vertices[i0, 0],
            vertices[i1, 1] - vertices[i0, 1],
            vertices[i1, 2] - vertices[i0, 2],
        )
        bx, by, bz = (
            vertices[i2, 0] - vertices[i0, 0],
            vertices[i2, 1] - vertices[i0, 1],
            vertices[i2, 2] - vertices[i0, 2],
        )
        normal_x, normal_z = ay * bz - az * by, ax * by - ay * bx
        for j in range(from_line[f], to_line[f]):
            cuts, x0, z0, x1, z1 = cut_triangle(vertices, faces, f, y_mm[j])
            if not cuts:
                continue
            s0, s1 = x0 / z0, x1 / z1
            if s0 > s1:
                s0, s1, x0, z0, x1, z1 = s1, s0, x1, z1, x0, z0
            start, end = _channel(tangent, first_channel, s0), _channel(tangent, first_channel, s1)
            for u in range(start, end):
                t = tangent[u]
                across = (x1 - x0) - t * (z1 - z0)
                share = (t * z0 - x0) / across if abs(across) > 1e-15 else 0.5
                depth = (z0 + share * (z1 - z0) - middle[f]) * per_depth[u]
                length = depth if normal_x * t + normal_z > 0 else -depth
                if adds[f] >= 0:
                    out[j - first_line, adds[f], u] += length * scale[f]
                if takes[f] >= 0:
                    out[j - first_line, takes[f], u] -= length * taken[f]


@numba.njit(cache=True)
def _cover(
    vertices, faces, from_line, to_line, part, y_mm, tangent, first_channel, window, first, out
):  # type: ignore[no-untyped-def]
    for f in range(len(faces)):
        p = part[f]
        if p < 0 or window[p, 2] == 0:
            continue
        top, left, width = window[p, 0], window[p, 1], window[p, 3] - window[p, 1]
        for j in range(from_line[f], to_line[f]):
            cuts, x0, z0, x1, z1 = cut_triangle(vertices, faces, f, y_mm[j])
            if cuts:
                s0, s1 = min(x0 / z0, x1 / z1), max(x0 / z0, x1 / z1)
                row = first[p] + (j - top) * width - left
                for u in range(
                    _channel(tangent, first_channel, s0), _channel(tangent, first_channel, s1)
                ):
                    out[row + u] = True
