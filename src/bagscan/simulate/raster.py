"""Path lengths of fan-beam rays through solids, as sums of signed depths.

A ray enters a watertight solid as often as it leaves it. The length inside is the sum of the depths
of all exits minus the sum of the depths of all entrances; hits need not be sorted. The plane of a
belt line intersects a triangle in a segment, which the channels between its ends see.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscan.core.errors import DataError
from bagscan.imaging.fan import Fan
from bagscan.simulate.mesh import Mesh
from bagscan.simulate.raster_kernels import accumulate_paths, cover_silhouettes


@dataclass(frozen=True)
class Solids:
    """Concatenated meshes, as the compiled kernels need them.

    Attributes:
        vertices: (V, 3) coordinates in mm.
        faces: (F, 3) indices of vertices.
        first_vertex: (S + 1,) first vertex of each solid, and V.
        first_face: (S + 1,) first face of each solid, and F.
        adds: (S,) row of the paths to which the length in a solid is added; -1 for air.
        takes: (S,) row of the enclosing solid, from which it is subtracted; -1 if there is none.
        scale: (S,) density relative to that of the material.
        taken: (S,) relative density of the displaced material.
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
        """Concatenate a mesh per solid; the other arguments are described in :class:`Solids`."""
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
    """Mask of a part in a window of a view.

    Attributes:
        top: line of ``mask[0, 0]``.
        left: channel of ``mask[0, 0]``.
        mask: (h, w) bool; empty if the part is not visible.
    """

    top: int
    left: int
    mask: np.ndarray

    def full(self, shape: tuple[int, int]) -> np.ndarray:
        """Return the (lines, channels) bool mask in the whole view."""
        out = np.zeros(shape, bool)
        out[
            self.top : self.top + self.mask.shape[0], self.left : self.left + self.mask.shape[1]
        ] = self.mask
        return out

    def coarser(self, factor: int) -> Silhouette:
        """Downsample to pixels of ``factor`` × ``factor`` rays; a pixel is set if any ray is."""
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
        """Return the union of silhouettes."""
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
    """Projection of solids through a fan, in blocks of lines."""

    def __init__(self, solids: Solids, fan: Fan) -> None:
        self.solids, self.fan = solids, fan
        frame = fan.frame
        local = (solids.vertices[:, [0, 2]] - fan.source_mm) @ frame.T
        if len(local) and local[:, 1].min() <= 0:
            raise DataError("a solid extends behind the source; place it in front of the source")
        # (across, y, along): axes of the fan instead of the tunnel
        self.vertices = np.ascontiguousarray(
            np.column_stack([local[:, 0], solids.vertices[:, 1], local[:, 1]])
        )
        rays = fan.direction @ frame.T
        self.tangent = np.ascontiguousarray(rays[:, 0] / rays[:, 1])
        self.per_depth = np.ascontiguousarray(1 / rays[:, 1])
        # First channel at or after each of many even steps: a look-up instead of a binary search.
        steps = np.linspace(self.tangent[0], self.tangent[-1], 4 * len(self.tangent))
        self.first_channel = np.searchsorted(self.tangent, steps)
        # Entrances and exits cancel, so the origin of depths is arbitrary. Depths from the middle
        # of each solid are small enough for single precision.
        self.middle = (
            np.add.reduceat(local[:, 1], solids.first_vertex[:-1]) / np.diff(solids.first_vertex)
            if len(local)
            else np.zeros(0)
        )
        # A frame that mirrors the plane reverses the orientation of faces.
        self.sign = float(np.sign(np.linalg.det(frame)))
        self.first_line, self.end_line = self._lines_of_faces(fan.y_mm)

    def _lines_of_faces(self, y_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the (F,) first line that intersects each face, and the line after the last."""
        y = self.vertices[:, 1][self.solids.faces]
        return np.searchsorted(y_mm, y.min(1, initial=np.inf)), np.searchsorted(
            y_mm, y.max(1, initial=-np.inf)
        )

    def paths(self, first_line: int, end_line: int, out: np.ndarray) -> None:
        """Add path lengths in mm of the lines ``first_line`` to ``end_line - 1`` to ``out``.

        Args:
            first_line: first line of the block.
            end_line: line after the last.
            out: (lines, rows, U) float64 or float32, changed in place.
        """
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
        accumulate_paths(
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
        """Return the amodal silhouette of each part; overlapping solids do not hide each other.

        Args:
            part: (S,) part number of each solid, -1 to ignore it.
            n_parts: number of parts.
        """
        owner = np.repeat(part, np.diff(self.solids.first_face))
        window = self._windows(owner, n_parts)
        height, width = window[:, 2] - window[:, 0], window[:, 3] - window[:, 1]
        first = np.cumsum(np.append(0, height * width))
        out = np.zeros(first[-1], np.bool_)
        cover_silhouettes(
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
        """Return (n_parts, 4) first line, first channel, end line, end channel; 0 if empty."""
        tangent = (self.vertices[:, 0] / self.vertices[:, 2])[self.solids.faces]
        bounds = np.column_stack(
            [
                self.first_line,
                np.searchsorted(self.tangent, tangent.min(1, initial=np.inf)),
                self.end_line,
                np.searchsorted(self.tangent, tangent.max(1, initial=-np.inf)),
            ]
        )
        window = np.tile([2**31, 2**31, 0, 0], (n_parts, 1))
        has_part = owner >= 0
        np.minimum.at(window[:, :2], owner[has_part], bounds[has_part, :2])
        np.maximum.at(window[:, 2:], owner[has_part], bounds[has_part, 2:])
        window[(window[:, 2:] <= window[:, :2]).any(1)] = 0
        return np.asarray(window)
