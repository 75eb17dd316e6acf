"""One scene of a data set: what is drawn, in which order, from which random stream.

A device is staged first: something is hidden in it, alone and in its own frame. Bag, clutter and
noise are then drawn for the staged device, and the scene is scanned twice, without and with what is
hidden: nothing but the anomaly tells the two apart.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bagscan.simulate.anomalies import SIZES, Make, build_anomaly
from bagscan.simulate.assembly import OUTSIDE, Assembly, join
from bagscan.simulate.bags import Bag, build_bag
from bagscan.simulate.concealment import Concealed
from bagscan.simulate.devices import NAMES, Family
from bagscan.simulate.items import COMMON, ITEMS, LOOK_ALIKES, build_item
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.packing import Heap
from bagscan.simulate.recipe import STREAMS, Recipe, collection_stream, owned_device
from bagscan.simulate.staging import MAY_LIE, stage, usual_poses

GARMENTS = {"cotton": 1.0, "polyester": 1.0, "wool": 1.0, "leather": 0.5}
TALLEST_MM, WIDEST_MM, LONGEST_MM = 330.0, 520.0, 440.0


@dataclass(frozen=True)
class Plan:
    """What one scene of a data set is to be.

    Attributes:
        part: ``train``, ``val`` or ``test``. family: of the device under test.
        group: one of ``GROUPS``. staging: its number, of ``known_stagings`` alone.
    """

    index: int
    part: str
    family: Family
    group: str
    staging: int | None = None

    @property
    def told_group(self) -> str:
        """The group that results are reported by: families that training never saw are ``unseen_families``."""
        return (
            "unseen_families"
            if self.group == "other_families" and self.part != "train"
            else self.group
        )


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Attributes:
        name: class. role: ``device``, ``item``, ``look_alike`` or ``bag``.
        components: indices into the scene's components. component_names: of each.
    """

    name: str
    role: str
    components: tuple[int, ...]
    component_names: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """Solids in the tunnel, and what they are.

    Attributes:
        benign: everything without the anomaly. things: of both; the anomaly is none of them.
        anomalous: the same with the anomaly as its last solids and component, or None.
        changed: solids that only one of the two holds: the anomaly and what it replaced.
        concealed: how it is hidden. y_mm: belt positions from and to.
    """

    benign: Assembly
    things: tuple[Thing, ...]
    y_mm: tuple[float, float]
    anomalous: Assembly | None = None
    changed: Assembly | None = None
    concealed: Concealed | None = None


@functools.lru_cache(
    maxsize=512
)  # 6 devices × 6 pieces × 3 stagings, and then some: each is drawn once a process
def known_staging(
    collection: int,
    family: Family,
    staging: int,
    kinds: tuple[str, ...],
    ways: tuple[str, ...],
    sizes: str,
) -> Concealed | None:
    """One of the stagings of a piece of the collection, the same in sets of any seed."""
    assert family.piece is not None
    rng = collection_stream(collection, 1, NAMES.index(family.device), family.piece, staging)
    return _stage(
        owned_device(collection, family)[0], family.device, kinds, ways, sizes, rng, build_anomaly
    )


def _stage(
    device: Assembly,
    name: str,
    kinds: tuple[str, ...],
    ways: tuple[str, ...],
    sizes: str,
    rng: np.random.Generator,
    make: Make,
) -> Concealed | None:
    # A user's own mesh is as large as it is, and specks need not show.
    least_visible = sizes != "specks" and make is build_anomaly
    return stage(device, usual_poses(name), kinds, ways, rng, SIZES[sizes], make, least_visible)


def plan(recipe: Recipe, index: int) -> Plan:
    """What one scene is to be: balanced, in an order that tells nothing.

    Every run of as many scenes as there are classes holds each class once. A block of the sum of
    ``parts`` such runs holds, for each class, every part in proportion; which comes when is shuffled.
    """
    devices, cycle = recipe.devices, [name for name, n in recipe.parts.items() for _ in range(n)]
    block, within = divmod(index, len(cycle) * len(devices))
    turn, place = divmod(within, len(devices))
    shuffle = np.random.default_rng(
        np.random.SeedSequence(recipe.seed, spawn_key=(block, len(STREAMS), turn))
    )
    device = devices[shuffle.permutation(len(devices))[place]]
    key = (block, len(STREAMS) + 1, devices.index(device))
    order = np.random.default_rng(np.random.SeedSequence(recipe.seed, spawn_key=key)).permutation(
        len(cycle)
    )
    part = cycle[int(order[turn])]
    rng = recipe.stream(index, "plan")
    weights = np.array(list(recipe.groups.values()), float)
    group = str(rng.choice(list(recipe.groups), p=weights / weights.sum()))
    family = recipe.family(device, part, group, rng)
    return Plan(
        index,
        part,
        family,
        group,
        int(rng.integers(recipe.stagings)) if group == "known_stagings" else None,
    )


def build_scene(
    recipe: Recipe, what: Plan, tunnel_mm: Sequence[float], make: Make = build_anomaly
) -> Scene:
    """The scene of a plan, in the tunnel's frame; without an anomaly where none could be hidden.

    Args:
        tunnel_mm: width and height. make: builds every anomaly in place of its kind's own builder.
    """
    rng = recipe.stream(what.index, "device")
    device, drawn = recipe.build(what.family, rng)
    if what.staging is not None and make is build_anomaly:
        found = known_staging(
            recipe.collection, what.family, what.staging, recipe.kinds, recipe.ways, recipe.sizes
        )
    else:
        found = _stage(
            device,
            what.family.device,
            recipe.kinds,
            recipe.ways,
            recipe.sizes,
            recipe.stream(what.index, "anomaly"),
            make,
        )
    # What is taped to a device is packed with it; the benign twin keeps the same room free.
    staged = join([device, found.anomaly]) if found and found.way == "taped_outside" else device
    lying = (
        rotation_xyz(np.pi / 2, 0, 0)
        if what.family.device in MAY_LIE and rng.random() < 0.5
        else np.eye(3)
    )
    turn = _fitting_turn(
        staged, rotation_xyz(rng.normal(0, 0.045), rng.normal(0, 0.045), 0) @ lying, rng
    )
    bag, heap = _bag(recipe, staged.moved(turn), recipe.stream(what.index, "bag"))
    placed, things = _pack(recipe, what, bag, heap, device, staged, turn, drawn)
    parts = [bag.assembly, *(a for a, _, _ in placed)]
    hosts = [OUTSIDE, *[bag.host] * len(placed)]
    inside = join(parts, hosts)
    yaw, at = _on_the_belt(inside, tunnel_mm[0], recipe.stream(what.index, "belt"))
    benign = inside.moved(yaw, at)
    scene = Scene(benign, things, (0.0, float(np.ptp(benign.vertices[:, 1]) + 60.0)))
    return scene if found is None else _with_anomaly(scene, found, parts, hosts, placed, yaw, at)


def _on_the_belt(
    bag: Assembly, tunnel_width_mm: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A turn and a shift that lay a bag on the belt as it comes, 30 mm behind the first line."""
    for most in (0.7, 0.15, 0.0):
        yaw = rotation_xyz(0, 0, rng.uniform(-most, most))
        low, high = bag.moved(yaw).bounds
        if high[0] - low[0] < tunnel_width_mm - 10 and high[1] - low[1] < LONGEST_MM + 90:
            break
    off = rng.uniform(-0.5, 0.5) * max(0.0, tunnel_width_mm - 10 - (high[0] - low[0]))
    return yaw, np.array([tunnel_width_mm / 2 + off - (low[0] + high[0]) / 2, 30.0 - low[1], 0.0])


def _fitting_turn(device: Assembly, tilted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned any way that the largest bag has room for; the largest devices lie straight."""
    drawn = rng.uniform(-0.25, 0.25) + np.pi / 2 * rng.integers(4)
    turns = [
        np.asarray(rotation_xyz(0, 0, yaw) @ tilted)
        for yaw in (drawn, drawn + np.pi / 2, 0.0, np.pi / 2)
    ]
    for turn in turns:
        need = np.ptp(np.array(device.moved(turn).bounds), axis=0)
        if need[0] < WIDEST_MM - 24 and need[1] < LONGEST_MM - 24:
            return turn
    return turns[-2]


def _bag(recipe: Recipe, device: Assembly, rng: np.random.Generator) -> tuple[Bag, Heap]:
    """A bag that the device fits in with room to spare."""
    need = np.ptp(np.array(device.bounds), axis=0)
    kind = str(
        rng.choice(
            list(recipe.bags), p=np.array(list(recipe.bags.values())) / sum(recipe.bags.values())
        )
    )
    room = [
        max(float(rng.uniform(310, 480)), need[0] + 24),
        max(float(rng.uniform(250, 380)), need[1] + 24),
        max(float(rng.uniform(130, 230)), need[2] + 45),
    ]
    if kind == "tray":
        room[:2] = [max(room[0], 420.0), max(room[1], 330.0)]
    size = (min(room[0], WIDEST_MM), min(room[1], LONGEST_MM), min(room[2], TALLEST_MM))
    bag = build_bag(kind, size, rng)
    return bag, Heap.empty(size, bag.corner_mm)


Placed = tuple[Assembly, np.ndarray, np.ndarray]  # in the bag's frame, its turn and shift


def _pack(
    recipe: Recipe,
    what: Plan,
    bag: Bag,
    heap: Heap,
    device: Assembly,
    staged: Assembly,
    turn: np.ndarray,
    drawn: Mapping[str, Any],
) -> tuple[list[Placed], tuple[Thing, ...]]:
    """Clothes, the device, other things, clothes: in this order from below.

    Args:
        staged: the device with what is taped to it, which needs the room.
    """
    rng = recipe.stream(what.index, "items")
    placed: list[Placed] = []
    things: list[Thing] = []

    def name_parts(
        assembly: Assembly, name: str, role: str, about: Mapping[str, Any] | None = None
    ) -> None:
        first = sum(len(t.components) for t in things)
        numbers = tuple(range(first, first + len(assembly.components)))
        things.append(
            Thing(name, role, numbers, tuple(c.name for c in assembly.components), about or {})
        )

    name_parts(bag.assembly, bag.kind, "bag")

    def add(
        assembly: Assembly,
        shift: np.ndarray,
        turned: np.ndarray,
        name: str,
        role: str,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        at = shift + np.array([0, 0, bag.floor_mm])
        placed.append((assembly.moved(turned, at), turned, at))
        name_parts(assembly, name, role, about)

    def drape(times: int) -> None:
        for _ in range(times):
            material = str(rng.choice(list(GARMENTS)))
            garment = heap.drape(
                rng,
                material,
                GARMENTS[material] * rng.uniform(0.5, 1.6),
                float(np.exp(rng.uniform(np.log(2), np.log(30)))),
            )
            if garment is not None:
                add(garment, np.zeros(3), np.eye(3), "garment", "item")

    def drop(
        assembly: Assembly,
        turned: np.ndarray,
        name: str,
        role: str,
        about: Mapping[str, Any] | None = None,
        tries: int = 30,
        room: Assembly | None = None,
    ) -> bool:
        shift = heap.drop((room or assembly).moved(turned), rng, tries)
        if shift is not None:
            add(assembly, shift, turned, name, role, about)
        return shift is not None

    drape(0 if bag.kind == "tray" else int(rng.integers(0, 4)))
    about = {
        "family": what.family.name,
        "layout": what.family.layout,
        "piece": what.family.piece,
        "under_test": True,
        **drawn,
    }
    if not drop(device, turn, what.family.device, "device", about, 60, staged):
        things_before = list(things)
        heap.height[np.isfinite(heap.height)] = (
            0.0  # the device goes in first where clothes left no room
        )
        placed.clear()
        things[:] = things_before[:1]
        if not drop(device, turn, what.family.device, "device", about, 400, staged):
            centre = -np.array(staged.moved(turn).bounds).mean(0)
            add(
                device,
                np.append(centre[:2], -staged.moved(turn).bounds[0][2] + 0.4),
                turn,
                what.family.device,
                "device",
                about,
            )
    for _ in range(2):
        if rng.random() < recipe.more_devices:
            other = recipe.family(str(rng.choice(recipe.devices)), what.part, what.group, rng)
            assembly, dims = recipe.build(other, rng)
            drop(
                assembly,
                _any_turn(rng),
                other.device,
                "device",
                {
                    "family": other.name,
                    "layout": other.layout,
                    "piece": other.piece,
                    "under_test": False,
                    **dims,
                },
            )
    wanted = int(rng.integers(recipe.items[0], recipe.items[1] + 1))
    loose = [str(n) for n in rng.choice(list(LOOK_ALIKES), 3) if rng.random() < recipe.look_alikes]
    weight = np.array([COMMON.get(n, 1.0) for n in ITEMS])
    common = [
        str(n)
        for n in rng.choice(list(ITEMS), max(0, wanted - len(loose)), p=weight / weight.sum())
    ]
    for name in rng.permutation([*loose, *common]):
        drop(
            build_item(str(name), rng, SIZES[recipe.sizes]),
            _any_turn(rng),
            str(name),
            "look_alike" if name in LOOK_ALIKES else "item",
        )
    drape(int(rng.integers(1, 5)) if bag.kind != "tray" else int(rng.random() < 0.3))
    return placed, tuple(things)


def _any_turn(rng: np.random.Generator) -> np.ndarray:
    """Lying as it was built, or now and then on another side, turned any way."""
    side = rotation_xyz(np.pi / 2 * rng.integers(1, 4), 0, 0) if rng.random() < 0.25 else np.eye(3)
    return np.asarray(
        rotation_xyz(0, 0, rng.uniform(0, 2 * np.pi))
        @ rotation_xyz(rng.normal(0, 0.08), rng.normal(0, 0.08), 0)
        @ side
    )


def _with_anomaly(
    scene: Scene,
    found: Concealed,
    parts: list[Assembly],
    hosts: list[int],
    placed: list[Placed],
    yaw: np.ndarray,
    belt: np.ndarray,
) -> Scene:
    """The scene with its device staged."""
    k = next(i for i, thing in enumerate(scene.things) if thing.about.get("under_test"))
    _, turn, at = placed[k - 1]
    start = sum(len(a) for a in parts[:k])
    host = hosts[k] if found.host == OUTSIDE else start + found.host
    in_bag = [
        *parts[:k],
        found.device.moved(turn, at),
        *parts[k + 1 :],
        found.anomaly.moved(turn, at),
    ]
    edited = join(in_bag, [*hosts, host]).moved(yaw, belt)
    changed = (
        join([found.anomaly, *([found.removed] if found.removed is not None else [])])
        .moved(turn, at)
        .moved(yaw, belt)
    )
    return dataclasses.replace(scene, anomalous=edited, changed=changed, concealed=found)
