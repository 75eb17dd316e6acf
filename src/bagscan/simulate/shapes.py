"""Basic shapes as methods, for the builder of an assembly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypedDict, Unpack

import numpy as np

from bagscan.simulate.mesh import (
    Mesh,
    box,
    cord,
    cylinder,
    ellipsoid,
    lathe,
    prism,
    rounded_rectangle,
    tube,
)

Vector = Sequence[float] | np.ndarray
# A thinner wire can fall between two rays. It is built at this radius, with less density.
MIN_WIRE_RADIUS_MM = 0.35


class Pose(TypedDict, total=False):
    """Keyword arguments of :meth:`Shapes.add` that place a shape."""

    turn: np.ndarray | None
    axis: str
    inside: int | None
    placed: bool


class Placement(Pose, total=False):
    """Keyword arguments of :meth:`Shapes.add` that every shape but a wire accepts."""

    density: float


class Shapes(ABC):
    """Methods that each add a solid and return its index. Lengths are in mm."""

    @abstractmethod
    def add(
        self,
        mesh: Mesh,
        material: str,
        at: Vector = (0, 0, 0),
        turn: np.ndarray | None = None,
        axis: str = "z",
        density: float = 1.0,
        inside: int | None = None,
        placed: bool = False,
    ) -> int:
        """Add a mesh and return its index; see :meth:`bagscan.simulate.assembly.Builder.add`."""

    def box(
        self,
        material: str,
        size: Sequence[float],
        at: Vector = (0, 0, 0),
        **where: Unpack[Placement],
    ) -> int:
        """Add a cuboid with sides ``size``."""
        return self.add(box(size), material, at, **where)

    def slab(
        self,
        material: str,
        size: Sequence[float],
        radius: float,
        at: Vector = (0, 0, 0),
        **where: Unpack[Placement],
    ) -> int:
        """Add a cuboid whose edges along z are rounded."""
        outline = rounded_rectangle(size[0], size[1], radius, 4)
        return self.add(prism(outline, size[2]), material, at, **where)

    def cylinder(
        self,
        material: str,
        radius: float,
        height: float,
        at: Vector = (0, 0, 0),
        segments: int = 16,
        **where: Unpack[Placement],
    ) -> int:
        """Add a cylinder along its axis."""
        return self.add(cylinder(radius, height, segments), material, at, **where)

    def tube(
        self,
        material: str,
        outer: float,
        inner: float,
        height: float,
        at: Vector = (0, 0, 0),
        segments: int = 24,
        **where: Unpack[Placement],
    ) -> int:
        """Add a hollow cylinder, open at both ends, with two radii."""
        return self.add(tube(outer, inner, height, segments), material, at, **where)

    def ball(
        self,
        material: str,
        radii: Sequence[float],
        at: Vector = (0, 0, 0),
        **where: Unpack[Placement],
    ) -> int:
        """Add an ellipsoid."""
        return self.add(ellipsoid(radii, 16), material, at, **where)

    def lathe(
        self,
        material: str,
        profile: Sequence[tuple[float, float]],
        at: Vector = (0, 0, 0),
        segments: int = 28,
        **where: Unpack[Placement],
    ) -> int:
        """Add a solid of revolution from a profile of (radius, z)."""
        return self.add(lathe(profile, segments), material, at, **where)

    def prism(
        self,
        material: str,
        outline: Sequence[tuple[float, float]] | np.ndarray,
        height: float,
        at: Vector = (0, 0, 0),
        **where: Unpack[Placement],
    ) -> int:
        """Add an outline in (x, y), extruded along z."""
        return self.add(prism(outline, height), material, at, **where)

    def wire(
        self,
        material: str,
        points: Sequence[Sequence[float]] | np.ndarray,
        radius: float,
        density: float = 1.0,
        segments: int = 6,
        **where: Unpack[Pose],
    ) -> int:
        """Add a round wire along smooth points.

        A wire thinner than ``MIN_WIRE_RADIUS_MM`` is widened to it and keeps its mass.
        """
        mesh_radius = max(radius, MIN_WIRE_RADIUS_MM)
        return self.add(
            cord(np.asarray(points, float), mesh_radius, segments),
            material,
            density=density * (radius / mesh_radius) ** 2,
            **where,
        )


def fill_cavity(cavity: Mesh, level: float) -> Mesh:
    """Return the part of a cavity below ``level``, a share in [0, 1] of its height along z."""
    low, high = cavity.vertices[:, 2].min(), cavity.vertices[:, 2].max()
    return cavity.below(float(low + level * (high - low)))
