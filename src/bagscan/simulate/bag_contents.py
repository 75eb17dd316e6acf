"""Contents of a simulated bag: the device under test, further devices, clutter and garments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bagscan.simulate.anomalies import SIZES
from bagscan.simulate.assembly import Assembly
from bagscan.simulate.bags import Bag
from bagscan.simulate.devices import Family, build_device, draw_family
from bagscan.simulate.items import COMMON, ITEMS, LOOK_ALIKES, build_item
from bagscan.simulate.luggage import LUGGAGE
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.packing import Heap
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.resembling import RESEMBLING, build_resembling

GARMENTS = {"cotton": 1.0, "polyester": 1.0, "wool": 1.0, "leather": 0.5}

Placed = tuple[Assembly, np.ndarray, np.ndarray]  # object in the bag's frame, rotation, shift


@dataclass(frozen=True)
class SceneObject:
    """An object of a scene.

    Attributes:
        name: class of the object.
        role: ``device``, ``prohibited``, ``item``, ``look_alike`` or ``bag``.
        components: indices into the components of the scene.
        component_names: name of each component.
        about: properties of a device: family, layout, piece, ``under_test`` and dimensions.
    """

    name: str
    role: str
    components: tuple[int, ...]
    component_names: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceUnderTest:
    """A device to pack into a bag.

    Attributes:
        family: family of the device.
        dimensions: its dimensions.
        device: the device in its own frame.
        staged: the device with an anomaly taped to it, if any; the heap reserves space for both.
        turn: (3, 3) rotation in which the device is packed.
    """

    family: Family
    dimensions: Mapping[str, Any]
    device: Assembly
    staged: Assembly
    turn: np.ndarray


def pack(
    recipe: Recipe,
    part: str,
    group: str,
    bag: Bag,
    heap: Heap,
    subject: DeviceUnderTest,
    rng: np.random.Generator,
    prohibited_rng: np.random.Generator,
) -> tuple[list[Placed], tuple[SceneObject, ...]]:
    """Fill a bag from bottom to top: garments, the device under test, other things, garments.

    Args:
        recipe: settings of the dataset.
        part: split of the scene, which limits the families of further devices.
        group: group of the scene, one of ``GROUPS``.
        bag: the bag.
        heap: its empty interior; filled by this call.
        subject: the device under test.
        rng: source of all random numbers of the contents, except of prohibited items.
        prohibited_rng: source of those of prohibited items and of benign things like them.

    Returns:
        The objects in the bag, and the things of the scene, of which the first is the bag.
    """
    packer = _Packer(bag, heap, rng, recipe.crumpled)
    under, over = ((1, 5), (2, 8)) if recipe.crumpled else ((0, 4), (1, 5))
    packer.drape(0 if bag.kind == "tray" else int(rng.integers(*under)))
    packer.add_device_under_test(subject)
    for _ in range(2):
        if rng.random() < recipe.more_devices:
            family = recipe.family(str(rng.choice(recipe.devices)), part, group, rng)
            assembly, dimensions = recipe.build(family, rng)
            packer.drop(
                assembly,
                _random_turn(rng),
                family.device,
                "device",
                _describe(family, False, dimensions),
            )
    packer.drop_things(recipe, part, prohibited_rng)
    packer.drape(int(rng.integers(*over)) if bag.kind != "tray" else int(rng.random() < 0.3))
    return packer.placed, tuple(packer.things)


def pack_without_device(
    recipe: Recipe, part: str, bag: Bag, heap: Heap, rng: np.random.Generator
) -> tuple[list[Placed], tuple[SceneObject, ...]]:
    """Fill a bag with garments, prohibited items and other things; see :func:`pack`."""
    packer = _Packer(bag, heap, rng, recipe.crumpled)
    packer.drape(int(rng.integers(0, 3)))
    packer.drop_things(recipe, part, rng)
    packer.drape(int(rng.integers(0, 4)))
    return packer.placed, tuple(packer.things)


def _choose_prohibited(recipe: Recipe, part: str, rng: np.random.Generator) -> list[Family | str]:
    """Choose families of prohibited items, and names of benign things that resemble them.

    With them come things of real luggage, such as metal parts, rods, tins and straps. Bags without
    prohibited items have benign ones as well, or these would tell that there are some.
    """
    if not recipe.prohibited[1]:
        return []
    count = int(rng.integers(recipe.prohibited[0], recipe.prohibited[1] + 1))
    items = [
        draw_family(str(rng.choice(recipe.prohibited_classes)), part, rng) for _ in range(count)
    ]
    resembling = count or int(rng.integers(0, 3))
    benign = [str(name) for name in rng.choice(list(RESEMBLING), resembling)]
    luggage = int(rng.integers(3, 15) if recipe.crumpled else rng.integers(0, 7))
    benign += [str(name) for name in rng.choice(list(LUGGAGE), luggage)]
    chosen = [*items, *benign]
    return [chosen[k] for k in rng.permutation(len(chosen))]


def _choose_items(recipe: Recipe, rng: np.random.Generator) -> list[str]:
    count = int(rng.integers(recipe.items[0], recipe.items[1] + 1))
    look_alikes = [
        str(name) for name in rng.choice(list(LOOK_ALIKES), 3) if rng.random() < recipe.look_alikes
    ]
    weight = np.array([COMMON.get(name, 1.0) for name in ITEMS])
    common = rng.choice(
        list(ITEMS), max(0, count - len(look_alikes)), p=weight / weight.sum()
    ).tolist()
    return [str(name) for name in rng.permutation([*look_alikes, *common])]


def _describe(family: Family, under_test: bool, dimensions: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "family": family.name,
        "layout": family.layout,
        "piece": family.piece,
        "under_test": under_test,
        **dimensions,
    }


class _Packer:
    """Objects of a bag in the order in which they are packed."""

    def __init__(self, bag: Bag, heap: Heap, rng: np.random.Generator, crumpled: bool) -> None:
        self._bag, self._heap, self._rng, self._crumpled = bag, heap, rng, crumpled
        self.placed: list[Placed] = []
        self.things: list[SceneObject] = []
        self._register(bag.assembly, bag.kind, "bag", {})

    def _register(self, assembly: Assembly, name: str, role: str, about: Mapping[str, Any]) -> None:
        first = sum(len(thing.components) for thing in self.things)
        numbers = tuple(range(first, first + len(assembly.components)))
        names = tuple(component.name for component in assembly.components)
        self.things.append(SceneObject(name, role, numbers, names, about))

    def _add(
        self,
        assembly: Assembly,
        shift: np.ndarray,
        turn: np.ndarray,
        name: str,
        role: str,
        about: Mapping[str, Any],
    ) -> None:
        at = shift + np.array([0, 0, self._bag.floor_mm])
        self.placed.append((assembly.moved(turn, at), turn, at))
        self._register(assembly, name, role, about)

    def drape(self, times: int) -> None:
        """Lay garments over the heap, each as far as it has space."""
        for _ in range(times):
            material = str(self._rng.choice(list(GARMENTS)))
            density = GARMENTS[material] * self._rng.uniform(0.5, 1.6)
            thickness_mm = float(np.exp(self._rng.uniform(np.log(2), np.log(30))))
            garment = self._heap.drape(self._rng, material, density, thickness_mm, self._crumpled)
            if garment is not None:
                self._add(garment, np.zeros(3), np.eye(3), "garment", "item", {})

    def drop(
        self,
        assembly: Assembly,
        turn: np.ndarray,
        name: str,
        role: str,
        about: Mapping[str, Any] | None = None,
        tries: int = 30,
        envelope: Assembly | None = None,
    ) -> bool:
        """Drop an object onto the heap; return False if it does not fit.

        Args:
            assembly: the object in its own frame.
            turn: (3, 3) rotation.
            name: class of the object.
            role: see :class:`SceneObject`.
            about: see :class:`SceneObject`.
            tries: number of random positions to try.
            envelope: object for which to reserve space, if larger than ``assembly``.
        """
        shift = self._heap.drop((envelope or assembly).moved(turn), self._rng, tries)
        if shift is not None:
            self._add(assembly, shift, turn, name, role, about or {})
        return shift is not None

    def drop_things(self, recipe: Recipe, part: str, prohibited_rng: np.random.Generator) -> None:
        """Drop other things, between two halves of the prohibited items and things like them."""
        chosen = _choose_prohibited(recipe, part, prohibited_rng)
        self._drop_prohibited(chosen[::2], prohibited_rng)
        for name in _choose_items(recipe, self._rng):
            assembly = build_item(name, self._rng, SIZES[recipe.sizes])
            role = "look_alike" if name in LOOK_ALIKES else "item"
            self.drop(assembly, _random_turn(self._rng), name, role)
        self._drop_prohibited(chosen[1::2], prohibited_rng)

    def _drop_prohibited(self, chosen: Sequence[Family | str], rng: np.random.Generator) -> None:
        for item in chosen:
            if isinstance(item, Family):
                assembly, dimensions = build_device(item, rng)
                about = {"family": item.name, "layout": item.layout, **dimensions}
                self.drop(assembly, _any_turn(rng), item.device, "prohibited", about)
            else:
                self.drop(build_resembling(item, rng), _any_turn(rng), item, "item")

    def add_device_under_test(self, subject: DeviceUnderTest) -> None:
        """Drop the device under test; if garments leave no space, remove them first."""
        name, about = subject.family.device, _describe(subject.family, True, subject.dimensions)
        device, turn, staged = subject.device, subject.turn, subject.staged
        if self.drop(device, turn, name, "device", about, 60, staged):
            return
        self._heap.height[np.isfinite(self._heap.height)] = 0.0
        self.placed.clear()
        del self.things[1:]  # keep the bag
        if self.drop(device, turn, name, "device", about, 400, staged):
            return
        bounds = np.array(staged.moved(turn).bounds)
        shift = np.append(-bounds.mean(0)[:2], -bounds[0][2] + 0.4)
        self._add(device, shift, turn, name, "device", about)


def _any_turn(rng: np.random.Generator) -> np.ndarray:
    """Draw a rotation: flat with a tilt, or in one of three cases any rotation at all."""
    if rng.random() < 1 / 3:
        return np.asarray(rotation_xyz(*rng.uniform(0, 2 * np.pi, 3)))
    tilted = rotation_xyz(rng.normal(0, 0.2), rng.normal(0, 0.2), 0)
    return np.asarray(rotation_xyz(0, 0, rng.uniform(0, 2 * np.pi)) @ tilted)


def _random_turn(rng: np.random.Generator) -> np.ndarray:
    """Draw a rotation about z with a slight tilt; one object in four lies on another side."""
    side = rotation_xyz(np.pi / 2 * rng.integers(1, 4), 0, 0) if rng.random() < 0.25 else np.eye(3)
    return np.asarray(
        rotation_xyz(0, 0, rng.uniform(0, 2 * np.pi))
        @ rotation_xyz(rng.normal(0, 0.08), rng.normal(0, 0.08), 0)
        @ side
    )
