"""Solids that belong together, each with its material, its component and what it lies inside of.

Nesting is explicit: a solid displaces the material of the one it is ``inside`` of and of nothing
else, so siblings must not overlap and a child must not reach out of its parent
(:mod:`bagscan.simulate.occupancy` audits that). Air is a material that weighs nothing: images are
normalised to air, so a cavity is a solid of air inside its shell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from bagscan.core.errors import DataError
from bagscan.simulate.mesh import (
    Mesh,
    box,
    cord,
    cylinder,
    ellipsoid,
    lathe,
    prism,
    rotation_xyz,
    rounded_rectangle,
    tube,
)
from bagscan.simulate.raster import Solids

AIR = "air"
OUTSIDE = -1
# A wire thinner than this falls between rays; it is drawn this thick, and as much lighter.
THINNEST_WIRE_MM = 0.35
AXES = {"x": rotation_xyz(0, np.pi / 2, 0), "y": rotation_xyz(-np.pi / 2, 0, 0), "z": np.eye(3)}


@dataclass(frozen=True)
class Component:
    """A named part of an object, masked as one.

    Attributes:
        replaceable: whether something else of its size could sit in its place (a cell, a disk).
    """

    name: str
    replaceable: bool = False


@dataclass(frozen=True)
class Assembly:
    """Packed solids.

    Attributes:
        vertices: (V, 3) mm. faces: (F, 3) int64. first_vertex, first_face: (S + 1,) of every solid.
        material: (S,) names. inside: (S,) index of the solid that each lies in, always a smaller
            one, or ``OUTSIDE``. density: (S,) relative to the material's own.
        component: (S,) index into ``components``, -1 for none. hollows: cavities that could be poured into.
    """

    vertices: np.ndarray
    faces: np.ndarray
    first_vertex: np.ndarray
    first_face: np.ndarray
    material: tuple[str, ...]
    inside: np.ndarray
    density: np.ndarray
    component: np.ndarray
    components: tuple[Component, ...] = ()
    hollows: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.material)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest (x, y, z) in mm."""
        return self.vertices.min(0), self.vertices.max(0)

    def mesh(self, solid: int | np.integer) -> Mesh:
        """One solid."""
        a, b = self.first_vertex[solid : solid + 2]
        c, d = self.first_face[solid : solid + 2]
        return Mesh(self.vertices[a:b], self.faces[c:d] - a)

    def solid_bounds(self) -> np.ndarray:
        """(S, 2, 3) least and greatest corner of every solid."""
        at = self.first_vertex[:-1]
        return np.stack(
            [np.minimum.reduceat(self.vertices, at), np.maximum.reduceat(self.vertices, at)], 1
        )

    def moved(
        self, rotation: np.ndarray | None = None, shift: Sequence[float] | np.ndarray = (0, 0, 0)
    ) -> Assembly:
        """Rotated about the origin by a (3, 3) matrix, then shifted."""
        vertices = self.vertices if rotation is None else self.vertices @ np.asarray(rotation).T
        return replace(self, vertices=vertices + np.asarray(shift, float))

    def part_of(self, component: int) -> np.ndarray:
        """(S,) bool: the solids of a component and whatever lies inside of them."""
        found = self.component == component
        for s in np.flatnonzero(
            self.inside >= 0
        ):  # parents come first, so one pass finds all descendants
            found[s] |= found[self.inside[s]]
        return np.asarray(found)

    def without(self, component: int) -> Assembly:
        """Less one component and whatever lies inside of it."""
        return self.only(~self.part_of(component))

    def alone(self, chosen: np.ndarray) -> Assembly:
        """The solids where ``chosen`` (S,) is true, taken out of whatever else they lay in."""
        hosts = np.where((self.inside >= 0) & chosen[self.inside], self.inside, OUTSIDE)
        return replace(self, inside=hosts).only(chosen)

    def only(self, keep: np.ndarray) -> Assembly:
        """The solids where ``keep`` (S,) is true; a kept one's parent must be kept too."""
        number = np.cumsum(keep) - 1
        builder = _Packed()
        for s in np.flatnonzero(keep):
            parent = int(self.inside[s])
            builder.add(
                self.mesh(s),
                self.material[s],
                int(number[parent]) if parent >= 0 else OUTSIDE,
                float(self.density[s]),
                int(self.component[s]),
            )
        return builder.assembly(
            self.components, tuple(int(number[s]) for s in self.hollows if keep[s])
        )

    def solids(self, rows: Sequence[str]) -> Solids:
        """For the rasteriser: paths by row of ``rows``, material names without air."""
        row = {name: k for k, name in enumerate(rows)}
        own = np.array([row.get(name, -1) for name in self.material], np.int64)
        takes = np.where(self.inside >= 0, own[self.inside], -1) if len(self) else own
        return Solids(
            np.ascontiguousarray(self.vertices),
            np.ascontiguousarray(self.faces),
            self.first_vertex,
            self.first_face,
            own,
            takes,
            self.density,
            self.density[self.inside],
        )


@dataclass
class _Packed:
    """Lists that become an assembly."""

    meshes: list[Mesh] = field(default_factory=list)
    material: list[str] = field(default_factory=list)
    inside: list[int] = field(default_factory=list)
    density: list[float] = field(default_factory=list)
    component: list[int] = field(default_factory=list)

    def add(self, mesh: Mesh, material: str, inside: int, density: float, component: int) -> int:
        self.meshes.append(mesh)
        self.material.append(material)
        self.inside.append(inside)
        self.density.append(density)
        self.component.append(component)
        return len(self.meshes) - 1

    def assembly(self, components: Sequence[Component], hollows: tuple[int, ...] = ()) -> Assembly:
        first_vertex = np.cumsum([0, *(len(m.vertices) for m in self.meshes)])
        first_face = np.cumsum([0, *(len(m.faces) for m in self.meshes)])
        vertices = (
            np.concatenate([m.vertices for m in self.meshes]) if self.meshes else np.zeros((0, 3))
        )
        faces = (
            np.concatenate([m.faces + a for m, a in zip(self.meshes, first_vertex, strict=False)])
            if self.meshes
            else np.zeros((0, 3), np.int64)
        )
        return Assembly(
            vertices,
            faces,
            first_vertex,
            first_face,
            tuple(self.material),
            np.array(self.inside, np.int64),
            np.array(self.density, float),
            np.array(self.component, np.int64),
            tuple(components),
            hollows,
        )


def join(assemblies: Sequence[Assembly], inside: Sequence[int] | None = None) -> Assembly:
    """One after the other; components keep their order.

    Args:
        inside: for each assembly, the solid of the result that its outermost solids lie in.
    """
    n_vertices = np.cumsum([0, *(len(a.vertices) for a in assemblies)])
    n_faces = np.cumsum([0, *(len(a.faces) for a in assemblies)])
    n_solids = np.cumsum([0, *(len(a) for a in assemblies)])
    n_components = np.cumsum([0, *(len(a.components) for a in assemblies)])
    hosts = inside or [OUTSIDE] * len(assemblies)
    return Assembly(
        np.concatenate([a.vertices for a in assemblies]),
        np.concatenate([a.faces + v for a, v in zip(assemblies, n_vertices, strict=False)]),
        np.concatenate(
            [
                *(a.first_vertex[:-1] + v for a, v in zip(assemblies, n_vertices, strict=False)),
                n_vertices[-1:],
            ]
        ),
        np.concatenate(
            [
                *(a.first_face[:-1] + f for a, f in zip(assemblies, n_faces, strict=False)),
                n_faces[-1:],
            ]
        ),
        tuple(name for a in assemblies for name in a.material),
        np.concatenate(
            [
                np.where(a.inside >= 0, a.inside + s, host)
                for a, s, host in zip(assemblies, n_solids, hosts, strict=False)
            ]
        ),
        np.concatenate([a.density for a in assemblies]),
        np.concatenate(
            [
                np.where(a.component >= 0, a.component + c, -1)
                for a, c in zip(assemblies, n_components, strict=False)
            ]
        ),
        tuple(c for a in assemblies for c in a.components),
        tuple(int(h + s) for a, s in zip(assemblies, n_solids, strict=False) for h in a.hollows),
    )


class Builder:
    """Builds an assembly solid by solid, in nested frames, components and cavities.

    Lengths are in mm. ``at`` is the centre in the current frame, ``axis`` the direction of a
    shape's own z, ``turn`` a (3, 3) rotation. New solids lie inside of the innermost
    ``with b.within(solid)``.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._packed = _Packed()
        self._components: list[Component] = []
        self._hollows: list[int] = []
        self._component = -1
        self._host = OUTSIDE
        self._turn, self._shift = np.eye(3), np.zeros(3)

    def build(self) -> Assembly:
        """What was built so far."""
        return self._packed.assembly(self._components, tuple(self._hollows))

    @contextmanager
    def frame(
        self,
        at: Sequence[float] | np.ndarray = (0, 0, 0),
        turn: np.ndarray | None = None,
        axis: str = "z",
    ) -> Iterator[None]:
        """A frame centred on ``at`` whose axes are turned."""
        before = self._turn, self._shift
        self._shift = self._shift + self._turn @ np.asarray(at, float)
        self._turn = self._turn @ (AXES[axis] if turn is None else turn)
        try:
            yield
        finally:
            self._turn, self._shift = before

    @contextmanager
    def within(self, solid: int) -> Iterator[None]:
        """New solids displace this one."""
        before, self._host = self._host, solid
        try:
            yield
        finally:
            self._host = before

    @contextmanager
    def part(self, name: str, replaceable: bool = False) -> Iterator[None]:
        """New solids are one component."""
        before, self._component = self._component, len(self._components)
        self._components.append(Component(name, replaceable))
        try:
            yield
        finally:
            self._component = before

    def add(
        self,
        mesh: Mesh,
        material: str,
        at: Sequence[float] | np.ndarray = (0, 0, 0),
        turn: np.ndarray | None = None,
        axis: str = "z",
        density: float = 1.0,
        inside: int | None = None,
        placed: bool = False,
    ) -> int:
        """Any mesh; its index is returned, for what lies inside of it. ``placed``: it already stands where it belongs.

        Raises:
            DataError: it lies inside of a solid that does not exist.
        """
        host = self._host if inside is None else inside
        if host >= len(self._packed.meshes):
            raise DataError(f"no solid {host} to lie inside of")
        if not placed:
            own = AXES[axis] if turn is None else turn
            mesh = Mesh(
                mesh.vertices @ (self._turn @ own).T
                + (self._turn @ np.asarray(at, float) + self._shift),
                mesh.faces,
            )
        return self._packed.add(mesh, material, host, density, self._component)

    def hollow(self, cavity: int) -> None:
        """Say that things could be poured into a cavity; cases and vessels say it of their own."""
        self._hollows.append(cavity)

    def pour(self, cavity: int, material: str, level: float) -> int:
        """Fill a cavity up to a share of its height; z of the whole assembly is up."""
        mesh = self._packed.meshes[cavity]
        return self.add(filled(mesh, level), material, inside=cavity, placed=True)

    def box(
        self,
        material: str,
        size: Sequence[float],
        at: Sequence[float] | np.ndarray = (0, 0, 0),
        **where: object,
    ) -> int:
        """A cuboid of full sides."""
        return self.add(box(size), material, at, **where)  # type: ignore[arg-type]

    def slab(
        self,
        material: str,
        size: Sequence[float],
        radius: float,
        at: Sequence[float] | np.ndarray = (0, 0, 0),
        **where: object,
    ) -> int:
        """A cuboid whose upright edges are rounded."""
        return self.add(
            prism(rounded_rectangle(size[0], size[1], radius, 4), size[2]), material, at, **where
        )  # type: ignore[arg-type]

    def cylinder(
        self,
        material: str,
        radius: float,
        height: float,
        at: Sequence[float] | np.ndarray = (0, 0, 0),
        segments: int = 16,
        **where: object,
    ) -> int:
        """A cylinder along its axis."""
        return self.add(cylinder(radius, height, segments), material, at, **where)  # type: ignore[arg-type]

    def tube(
        self,
        material: str,
        outer: float,
        inner: float,
        height: float,
        at: Sequence[float] | np.ndarray = (0, 0, 0),
        segments: int = 24,
        **where: object,
    ) -> int:
        """A hollow cylinder, open at both ends."""
        return self.add(tube(outer, inner, height, segments), material, at, **where)  # type: ignore[arg-type]

    def ball(
        self,
        material: str,
        radii: Sequence[float],
        at: Sequence[float] | np.ndarray = (0, 0, 0),
        **where: object,
    ) -> int:
        """An ellipsoid."""
        return self.add(ellipsoid(radii, 16), material, at, **where)  # type: ignore[arg-type]

    def lathe(
        self,
        material: str,
        profile: Sequence[tuple[float, float]],
        at: Sequence[float] | np.ndarray = (0, 0, 0),
        segments: int = 28,
        **where: object,
    ) -> int:
        """A turned profile of (radius, z)."""
        return self.add(lathe(profile, segments), material, at, **where)  # type: ignore[arg-type]

    def prism(
        self,
        material: str,
        outline: Sequence[tuple[float, float]] | np.ndarray,
        height: float,
        at: Sequence[float] | np.ndarray = (0, 0, 0),
        **where: object,
    ) -> int:
        """An extruded outline."""
        return self.add(prism(outline, height), material, at, **where)  # type: ignore[arg-type]

    def wire(
        self,
        material: str,
        points: Sequence[Sequence[float]] | np.ndarray,
        radius: float,
        density: float = 1.0,
        segments: int = 6,
        **where: object,
    ) -> int:
        """A round wire along smooth points; one too thin for the rays is widened at the same mass."""
        drawn = max(radius, THINNEST_WIRE_MM)
        return self.add(
            cord(np.asarray(points, float), drawn, segments),
            material,
            density=density * (radius / drawn) ** 2,
            **where,
        )  # type: ignore[arg-type]

    def case(
        self,
        material: str,
        size: Sequence[float],
        wall: float,
        radius: float = 3.0,
        at: Sequence[float] | np.ndarray = (0, 0, 0),
        lid: float | None = None,
    ) -> int:
        """A closed rounded case; the index of its air is returned. ``lid``: thickness of top and bottom."""
        ends = wall if lid is None else lid
        outer = self.slab(material, size, radius, at)
        w, d, h = size[0] - 2 * wall, size[1] - 2 * wall, size[2] - 2 * ends
        cavity = self.slab(AIR, (w, d, h), max(radius - wall, 0.5), at, inside=outer)
        self._hollows.append(cavity)
        return cavity

    def vessel(
        self,
        material: str,
        outer: Sequence[tuple[float, float]],
        inner: Sequence[tuple[float, float]],
        axis: str = "z",
    ) -> int:
        """A turned vessel; the index of its air is returned. Profiles of (radius, z) start and end on the axis."""
        body = self.lathe(material, outer, axis=axis)
        cavity = self.lathe(AIR, inner, axis=axis, inside=body)
        self._hollows.append(cavity)
        return cavity


def filled(cavity: Mesh, level: float) -> Mesh:
    """The part of a cavity below a share of its height."""
    low, high = cavity.vertices[:, 2].min(), cavity.vertices[:, 2].max()
    return cavity.below(float(low + level * (high - low)))
