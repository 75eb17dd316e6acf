"""Bags on the belt: size and position of the bag, and further bags in front of it and behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscan.simulate.assembly import OUTSIDE, Assembly, join
from bagscan.simulate.bag_contents import SceneObject, pack_without_device
from bagscan.simulate.bags import Bag, build_bag
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.packing import Heap
from bagscan.simulate.recipe import Recipe

TALLEST_MM, WIDEST_MM, LONGEST_MM = 330.0, 520.0, 440.0  # inner size of the largest bag
MARGIN_MM = 30.0  # of belt in front of the bag and behind it
GAP_MM = (2.0, 60.0)  # between two bags
SHOWN = (0.05, 1.0)  # part of a further bag's length in the image


@dataclass(frozen=True)
class Pose:
    """Rotation and shift of a bag on the belt.

    Attributes:
        yaw: (3, 3) rotation about z.
        at: (3,) shift in mm, after the rotation.
    """

    yaw: np.ndarray
    at: np.ndarray

    def to_belt(self, in_bag: Assembly) -> Assembly:
        """Move an assembly from the frame of the bag to that of the belt."""
        return in_bag.moved(self.yaw, self.at)

    def to_bag(self, on_belt: Assembly) -> Assembly:
        """Move an assembly from the frame of the belt to that of the bag."""
        return on_belt.moved(None, -self.at).moved(self.yaw.T)


@dataclass(frozen=True)
class Neighbours:
    """Further bags beside a bag on the belt.

    Attributes:
        bags: the bags, in the frame of the belt.
        things: their objects; the components of each bag are numbered from 0.
        y_mm: belt positions of the first and the last line of the image.
    """

    bags: tuple[Assembly, ...]
    things: tuple[tuple[SceneObject, ...], ...]
    y_mm: tuple[float, float]


def draw_bag(
    recipe: Recipe, rng: np.random.Generator, need_mm: Sequence[float] = (0, 0, 0)
) -> tuple[Bag, Heap]:
    """Build a bag with an empty heap.

    Args:
        recipe: settings of the dataset.
        rng: source of kind, size and material of the bag.
        need_mm: width, length and height of what must fit in.
    """
    weights = np.array(list(recipe.bags.values())) / sum(recipe.bags.values())
    kind = str(rng.choice(list(recipe.bags), p=weights))
    inner = [
        max(float(rng.uniform(310, 480)), need_mm[0] + 24),
        max(float(rng.uniform(250, 380)), need_mm[1] + 24),
        max(float(rng.uniform(130, 230)), need_mm[2] + 45),
    ]
    if kind == "tray":
        inner[:2] = [max(inner[0], 420.0), max(inner[1], 330.0)]
    size = (min(inner[0], WIDEST_MM), min(inner[1], LONGEST_MM), min(inner[2], TALLEST_MM))
    bag = build_bag(kind, size, rng)
    return bag, Heap.empty(size, bag.corner_mm)


def lay_on_belt(bag: Assembly, tunnel_width_mm: float, rng: np.random.Generator) -> Pose:
    """Draw the pose of a bag on the belt, which begins ``MARGIN_MM`` behind y = 0."""
    for max_yaw in (0.7, 0.15, 0.0):
        yaw = rotation_xyz(0, 0, rng.uniform(-max_yaw, max_yaw))
        low, high = bag.moved(yaw).bounds
        if high[0] - low[0] < tunnel_width_mm - 10 and high[1] - low[1] < LONGEST_MM + 90:
            break
    offset = rng.uniform(-0.5, 0.5) * max(0.0, tunnel_width_mm - 10 - (high[0] - low[0]))
    x = tunnel_width_mm / 2 + offset - (low[0] + high[0]) / 2
    return Pose(yaw, np.array([x, MARGIN_MM - low[1], 0.0]))


def add_neighbours(
    recipe: Recipe,
    part: str,
    length_mm: float,
    tunnel_width_mm: float,
    rng: np.random.Generator,
) -> Neighbours:
    """Draw further bags, and the part of the belt that the image shows.

    Args:
        recipe: settings of the dataset.
        part: split of the scene, which limits the families of prohibited items.
        length_mm: length of the bag on the belt, which begins at ``MARGIN_MM``.
        tunnel_width_mm: width of the tunnel.
        rng: source of all random numbers.
    """
    first, last = 0.0, length_mm + 2 * MARGIN_MM
    bags, things = [], []
    for is_behind in (False, True):
        if rng.random() >= recipe.neighbours:
            continue
        bag, own_things = _fill(recipe, part, rng)
        bag = lay_on_belt(bag, tunnel_width_mm, rng).to_belt(bag)
        own_length = float(np.ptp(bag.vertices[:, 1]))
        gap, shown = rng.uniform(*GAP_MM), rng.uniform(*SHOWN) * own_length
        if is_behind:
            start = MARGIN_MM + length_mm + gap
            last = start + shown
        else:
            start = MARGIN_MM - gap - own_length
            first = MARGIN_MM - gap - shown
        bags.append(bag.moved(None, (0, start - MARGIN_MM, 0)))
        things.append(own_things)
    return Neighbours(tuple(bags), tuple(things), (first, last))


def _fill(
    recipe: Recipe, part: str, rng: np.random.Generator
) -> tuple[Assembly, tuple[SceneObject, ...]]:
    bag, heap = draw_bag(recipe, rng)
    placed, things = pack_without_device(recipe, part, bag, heap, rng)
    parts = [bag.assembly, *(assembly for assembly, _, _ in placed)]
    return join(parts, [OUTSIDE, *[bag.host] * len(placed)]), things


def renumber(things: Sequence[SceneObject], first: int) -> tuple[SceneObject, ...]:
    """Return things whose components are numbered from ``first`` instead of 0."""
    return tuple(
        dataclasses.replace(thing, components=tuple(first + k for k in thing.components))
        for thing in things
    )
