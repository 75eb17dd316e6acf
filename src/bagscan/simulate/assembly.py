"""Assemblies of solids: each has a material, a component and a parent solid.

Nesting is explicit. A solid displaces the material of the solid it is ``inside`` of, and of no
other. Siblings must therefore not overlap, and a child must not reach out of its parent;
:func:`bagscan.simulate.occupancy.audit` measures both. Images are normalised to air, so air is a
material without attenuation, and a cavity is a solid of air inside its shell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bagscan.core.errors import DataError
from bagscan.simulate.mesh import Mesh, rotation_xyz
from bagscan.simulate.raster import Solids
from bagscan.simulate.shapes import Shapes, Vector, fill_cavity

AIR = "air"
OUTSIDE = -1
AXES = {"x": rotation_xyz(0, np.pi / 2, 0), "y": rotation_xyz(-np.pi / 2, 0, 0), "z": np.eye(3)}


@dataclass(frozen=True)
class Component:
    """A named component of an object, annotated with a mask of its own.

    Attributes:
        name: class of the component.
        replaceable: whether another object could take its place, as for a cell or a disk.
    """

    name: str
    replaceable: bool = False


@dataclass(frozen=True)
class Assembly:
    """S solids, packed into arrays.

    Attributes:
        vertices: (V, 3) float64, in mm.
        faces: (F, 3) int64, indices into ``vertices``.
        first_vertex: (S + 1,) int64, first row of each solid in ``vertices``, then V.
        first_face: (S + 1,) int64, first row of each solid in ``faces``, then F.
        material: (S,) names of materials.
        inside: (S,) int64, index of the parent solid, smaller than the solid's own, or ``OUTSIDE``.
        density: (S,) float64, relative to the density of the material.
        component: (S,) int64, index into ``components``, or -1.
        components: all components, including those without a solid.
        hollows: indices of the cavities that an anomaly can be poured into.
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
        """Smallest and largest (x, y, z) in mm, each (3,)."""
        return self.vertices.min(0), self.vertices.max(0)

    def mesh(self, solid: int | np.integer) -> Mesh:
        """Return the mesh of a solid."""
        a, b = self.first_vertex[solid : solid + 2]
        c, d = self.first_face[solid : solid + 2]
        return Mesh(self.vertices[a:b], self.faces[c:d] - a)

    def solid_bounds(self) -> np.ndarray:
        """Return the smallest and largest (x, y, z) of every solid: (S, 2, 3), in mm."""
        starts = self.first_vertex[:-1]
        low = np.minimum.reduceat(self.vertices, starts)
        high = np.maximum.reduceat(self.vertices, starts)
        return np.stack([low, high], 1)

    def moved(self, rotation: np.ndarray | None = None, shift: Vector = (0, 0, 0)) -> Assembly:
        """Rotate about the origin by a (3, 3) matrix, then shift by (3,) mm."""
        vertices = self.vertices if rotation is None else self.vertices @ np.asarray(rotation).T
        return replace(self, vertices=vertices + np.asarray(shift, float))

    def part_of(self, component: int) -> np.ndarray:
        """Return (S,) bool: the solids of a component and all solids inside them."""
        member = self.component == component
        # Parents come first, so a single pass reaches all descendants.
        for s in np.flatnonzero(self.inside >= 0):
            member[s] |= member[self.inside[s]]
        return np.asarray(member)

    def without(self, component: int) -> Assembly:
        """Remove a component and all solids inside it."""
        return self.only(~self.part_of(component))

    def alone(self, chosen: np.ndarray) -> Assembly:
        """Keep the solids where ``chosen``, (S,) bool, is true.

        A solid whose parent is not chosen becomes an outermost solid.
        """
        hosts = np.where((self.inside >= 0) & chosen[self.inside], self.inside, OUTSIDE)
        return replace(self, inside=hosts).only(chosen)

    def only(self, keep: np.ndarray) -> Assembly:
        """Keep the solids where ``keep``, (S,) bool, is true. Parents must be kept too."""
        number = np.cumsum(keep) - 1
        kept = []
        for s in np.flatnonzero(keep):
            parent = int(self.inside[s])
            host = int(number[parent]) if parent >= 0 else OUTSIDE
            density, component = float(self.density[s]), int(self.component[s])
            kept.append(_Solid(self.mesh(s), self.material[s], host, density, component))
        hollows = tuple(int(number[s]) for s in self.hollows if keep[s])
        return _pack(kept, self.components, hollows)

    def solids(self, rows: Sequence[str]) -> Solids:
        """Return the solids in the form that the rasteriser reads.

        Args:
            rows: names of the materials without air; row k of the path lengths is of ``rows[k]``.
        """
        row_of = {name: k for k, name in enumerate(rows)}
        own = np.array([row_of.get(name, -1) for name in self.material], np.int64)
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


class _Solid(NamedTuple):
    mesh: Mesh
    material: str
    inside: int
    density: float
    component: int


def _pack(
    solids: Sequence[_Solid], components: Sequence[Component], hollows: tuple[int, ...]
) -> Assembly:
    first_vertex = np.cumsum([0, *(len(s.mesh.vertices) for s in solids)])
    first_face = np.cumsum([0, *(len(s.mesh.faces) for s in solids)])
    vertices, faces = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    if solids:
        vertices = np.concatenate([s.mesh.vertices for s in solids])
        faces = np.concatenate(
            [s.mesh.faces + start for s, start in zip(solids, first_vertex, strict=False)]
        )
    return Assembly(
        vertices,
        faces,
        first_vertex,
        first_face,
        tuple(s.material for s in solids),
        np.array([s.inside for s in solids], np.int64),
        np.array([s.density for s in solids], float),
        np.array([s.component for s in solids], np.int64),
        tuple(components),
        hollows,
    )


def join(assemblies: Sequence[Assembly], inside: Sequence[int] | None = None) -> Assembly:
    """Concatenate assemblies. Solids and components keep their order.

    Args:
        inside: for each assembly, the solid of the result that its outermost solids lie in;
            ``OUTSIDE`` for all by default.
    """
    hosts = inside or [OUTSIDE] * len(assemblies)
    faces, first_vertex, first_face, parents, components = [], [], [], [], []
    hollows: list[int] = []
    n_vertices = n_faces = n_solids = n_components = 0
    for a, host in zip(assemblies, hosts, strict=True):
        faces.append(a.faces + n_vertices)
        first_vertex.append(a.first_vertex[:-1] + n_vertices)
        first_face.append(a.first_face[:-1] + n_faces)
        parents.append(np.where(a.inside >= 0, a.inside + n_solids, host))
        components.append(np.where(a.component >= 0, a.component + n_components, -1))
        hollows += [int(cavity + n_solids) for cavity in a.hollows]
        n_vertices += len(a.vertices)
        n_faces += len(a.faces)
        n_solids += len(a)
        n_components += len(a.components)
    return Assembly(
        np.concatenate([a.vertices for a in assemblies]),
        np.concatenate(faces),
        np.concatenate([*first_vertex, np.array([n_vertices])]),
        np.concatenate([*first_face, np.array([n_faces])]),
        tuple(name for a in assemblies for name in a.material),
        np.concatenate(parents),
        np.concatenate([a.density for a in assemblies]),
        np.concatenate(components),
        tuple(c for a in assemblies for c in a.components),
        tuple(hollows),
    )


class Builder(Shapes):
    """Builder of an assembly, solid by solid, in nested frames, components and cavities.

    Lengths are in mm. Methods that add a solid share these arguments:
        at: (3,) centre, in the current frame.
        axis: axis of the current frame that the shape's own z points along.
        turn: (3, 3) rotation, in place of ``axis``.
        density: relative to the density of the material.
        inside: index of the parent solid; by default that of the innermost ``within``.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._solids: list[_Solid] = []
        self._components: list[Component] = []
        self._hollows: list[int] = []
        self._component = -1
        self._host = OUTSIDE
        self._turn, self._shift = np.eye(3), np.zeros(3)

    def build(self) -> Assembly:
        """Return the assembly of all solids added so far."""
        return _pack(self._solids, self._components, tuple(self._hollows))

    @contextmanager
    def frame(
        self, at: Vector = (0, 0, 0), turn: np.ndarray | None = None, axis: str = "z"
    ) -> Iterator[None]:
        """Use a frame centred on ``at``, with axes turned by ``turn`` or ``axis``."""
        before = self._turn, self._shift
        self._shift = self._shift + self._turn @ np.asarray(at, float)
        self._turn = self._turn @ (AXES[axis] if turn is None else turn)
        try:
            yield
        finally:
            self._turn, self._shift = before

    @contextmanager
    def within(self, solid: int) -> Iterator[None]:
        """Add new solids inside this solid, whose material they displace."""
        before, self._host = self._host, solid
        try:
            yield
        finally:
            self._host = before

    @contextmanager
    def part(self, name: str, replaceable: bool = False) -> Iterator[None]:
        """Assign new solids to a new component."""
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
        at: Vector = (0, 0, 0),
        turn: np.ndarray | None = None,
        axis: str = "z",
        density: float = 1.0,
        inside: int | None = None,
        placed: bool = False,
    ) -> int:
        """Add a mesh and return its index.

        Args:
            placed: whether the mesh is in the coordinates of the assembly already; ``at``,
                ``turn`` and ``axis`` are then ignored.

        Raises:
            DataError: the parent solid does not exist.
        """
        host = self._host if inside is None else inside
        if host >= len(self._solids):
            raise DataError(f"parent solid {host} does not exist; add the parent first")
        if not placed:
            rotation = self._turn @ (AXES[axis] if turn is None else turn)
            shift = self._turn @ np.asarray(at, float) + self._shift
            mesh = Mesh(mesh.vertices @ rotation.T + shift, mesh.faces)
        self._solids.append(_Solid(mesh, material, host, density, self._component))
        return len(self._solids) - 1

    def hollow(self, cavity: int) -> None:
        """Mark a cavity that an anomaly can be poured into; cases and vessels mark theirs."""
        self._hollows.append(cavity)

    def pour(self, cavity: int, material: str, level: float) -> int:
        """Fill a cavity to ``level``, a share in [0, 1] of its height along z; return the index."""
        filling = fill_cavity(self._solids[cavity].mesh, level)
        return self.add(filling, material, inside=cavity, placed=True)

    def case(
        self,
        material: str,
        size: Sequence[float],
        wall: float,
        radius: float = 3.0,
        at: Vector = (0, 0, 0),
        lid: float | None = None,
    ) -> int:
        """Add a closed case with rounded edges and return the index of its cavity.

        Args:
            wall: thickness of the sides.
            lid: thickness of top and bottom; ``wall`` by default.
        """
        lid = wall if lid is None else lid
        outer = self.slab(material, size, radius, at)
        w, d, h = size[0] - 2 * wall, size[1] - 2 * wall, size[2] - 2 * lid
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
        """Add a vessel of revolution and return the index of its cavity.

        Both profiles, of (radius, z), start and end on the axis.
        """
        body = self.lathe(material, outer, axis=axis)
        cavity = self.lathe(AIR, inner, axis=axis, inside=body)
        self._hollows.append(cavity)
        return cavity
