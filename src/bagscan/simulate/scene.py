"""Scenes of a dataset: their plans, their random streams and how they are assembled.

First, an anomaly is hidden in a device (staging), in the coordinates of the device. Then bag,
clutter and noise are drawn for the staged device. The scene is scanned twice, without and with the
anomaly. The two scans differ only in the anomaly and the components that it replaces.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bagscan.simulate.anomalies import SIZES, AnomalyBuilder, build_anomaly
from bagscan.simulate.assembly import OUTSIDE, Assembly, join
from bagscan.simulate.bag_contents import DeviceUnderTest, Placed, SceneObject, pack
from bagscan.simulate.belt import (
    LONGEST_MM,
    WIDEST_MM,
    Pose,
    add_neighbours,
    draw_bag,
    lay_on_belt,
    renumber,
)
from bagscan.simulate.concealment import Concealed
from bagscan.simulate.devices import Family, seed_of
from bagscan.simulate.mesh import rotation_xyz
from bagscan.simulate.recipe import Recipe, collection_stream, owned_device
from bagscan.simulate.staging import CAN_LIE_ON_SIDE, stage, usual_poses

# Keys of the random orders of a block of scenes; other values would change every dataset.
ORDER_OF_CLASSES, ORDER_OF_SPLITS = 9, 10


@dataclass(frozen=True)
class Plan:
    """Choices that define a scene of a dataset.

    Attributes:
        index: number of the scene.
        part: split of the dataset: ``train``, ``val`` or ``test``.
        family: family of the device under test.
        group: one of ``GROUPS``.
        staging: number of the staging; None unless ``group`` is ``known_stagings``.
    """

    index: int
    part: str
    family: Family
    group: str
    staging: int | None = None

    @property
    def reported_group(self) -> str:
        """Group for reports: ``unseen_families`` if training never sees the family."""
        return (
            "unseen_families"
            if self.group == "other_families" and self.part != "train"
            else self.group
        )


@dataclass(frozen=True)
class Scene:
    """Solids in the tunnel and the objects that they form.

    Attributes:
        benign: everything except the anomaly.
        things: objects of both twins; the anomaly is not included.
        y_mm: belt positions of the first and the last line.
        anomalous: the scene with the anomaly, whose solids and component come last, or None.
        changed: solids that only one twin contains: the anomaly and the solids that it replaces.
        concealed: the concealment, or None.
    """

    benign: Assembly
    things: tuple[SceneObject, ...]
    y_mm: tuple[float, float]
    anomalous: Assembly | None = None
    changed: Assembly | None = None
    concealed: Concealed | None = None


# The cache holds all stagings of a preset (6 devices × 6 pieces × 3 stagings) with some reserve.
@functools.lru_cache(maxsize=512)
def known_staging(
    collection: int,
    family: Family,
    staging: int,
    kinds: tuple[str, ...],
    ways: tuple[str, ...],
    sizes: str,
) -> Concealed | None:
    """Return a staging of a piece of the collection. It does not depend on the dataset's seed."""
    assert family.piece is not None
    rng = collection_stream(collection, 1, seed_of(family.device), family.piece, staging)
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
    make: AnomalyBuilder,
) -> Concealed | None:
    # A user's own mesh has a fixed size, and specks are small on purpose: both can be invisible.
    require_visible = sizes != "specks" and make is build_anomaly
    return stage(device, usual_poses(name), kinds, ways, rng, SIZES[sizes], make, require_visible)


def plan(recipe: Recipe, index: int) -> Plan:
    """Choose device, split, group and staging of a scene, balanced and in random order.

    With n classes, every n consecutive scenes contain each class once. After n * sum(parts) scenes,
    every class has its scenes in the splits in exactly the proportions of ``recipe.parts``.
    """
    devices, cycle = recipe.devices, [name for name, n in recipe.parts.items() for _ in range(n)]
    block, within = divmod(index, len(cycle) * len(devices))
    run, place = divmod(within, len(devices))
    shuffle = np.random.default_rng(
        np.random.SeedSequence(recipe.seed, spawn_key=(block, ORDER_OF_CLASSES, run))
    )
    device = devices[shuffle.permutation(len(devices))[place]]
    key = (block, ORDER_OF_SPLITS, devices.index(device))
    order = np.random.default_rng(np.random.SeedSequence(recipe.seed, spawn_key=key)).permutation(
        len(cycle)
    )
    part = cycle[int(order[run])]
    rng = recipe.stream(index, "plan")
    weights = np.array(list(recipe.groups.values()), float)
    group = str(rng.choice(list(recipe.groups), p=weights / weights.sum()))
    family = recipe.family(device, part, group, rng)
    staging = int(rng.integers(recipe.stagings)) if group == "known_stagings" else None
    return Plan(index, part, family, group, staging)


def build_scene(
    recipe: Recipe, plan: Plan, tunnel_mm: Sequence[float], make: AnomalyBuilder = build_anomaly
) -> Scene:
    """Build the scene of a plan in the frame of the tunnel.

    Args:
        recipe: settings of the dataset.
        plan: plan of the scene.
        tunnel_mm: width and height of the tunnel.
        make: builds every anomaly; for a user's mesh it replaces the builders of the kinds.

    Returns:
        The scene; without an anomaly if none could be hidden.
    """
    rng = recipe.stream(plan.index, "device")
    device, dimensions = recipe.build(plan.family, rng)
    if plan.staging is not None and make is build_anomaly:
        found = known_staging(
            recipe.collection, plan.family, plan.staging, recipe.kinds, recipe.ways, recipe.sizes
        )
    else:
        found = _stage(
            device,
            plan.family.device,
            recipe.kinds,
            recipe.ways,
            recipe.sizes,
            recipe.stream(plan.index, "anomaly"),
            make,
        )
    # An anomaly taped to a device is packed with it; the benign twin keeps the same space free.
    staged = join([device, found.anomaly]) if found and found.way == "taped_outside" else device
    if plan.family.device in CAN_LIE_ON_SIDE and rng.random() < 0.5:
        side = rotation_xyz(np.pi / 2, 0, 0)
    else:
        side = np.eye(3)
    turn = _fitting_turn(
        staged, rotation_xyz(rng.normal(0, 0.045), rng.normal(0, 0.045), 0) @ side, rng
    )
    subject = DeviceUnderTest(plan.family, dimensions, device, staged, turn)
    return _put_on_belt(recipe, plan, subject, found, tunnel_mm[0])


def _put_on_belt(
    recipe: Recipe,
    plan: Plan,
    subject: DeviceUnderTest,
    found: Concealed | None,
    tunnel_width_mm: float,
) -> Scene:
    """Pack the device under test into a bag, and lay the bag on the belt, maybe beside others."""
    bounds = np.array(subject.staged.moved(subject.turn).bounds)
    bag, heap = draw_bag(recipe, recipe.stream(plan.index, "bag"), np.ptp(bounds, axis=0))
    placed, things = pack(
        recipe,
        plan.part,
        plan.group,
        bag,
        heap,
        subject,
        recipe.stream(plan.index, "items"),
        recipe.stream(plan.index, "prohibited"),
    )
    parts = [bag.assembly, *(assembly for assembly, _, _ in placed)]
    hosts = [OUTSIDE, *[bag.host] * len(placed)]
    inside = join(parts, hosts)
    pose = lay_on_belt(inside, tunnel_width_mm, recipe.stream(plan.index, "belt"))
    length_mm = float(np.ptp(pose.to_belt(inside).vertices[:, 1]))
    beside = add_neighbours(
        recipe, plan.part, length_mm, tunnel_width_mm, recipe.stream(plan.index, "neighbours")
    )
    for other, own_things in zip(beside.bags, beside.things, strict=True):
        things += renumber(own_things, sum(len(a.components) for a in parts))
        parts.append(pose.to_bag(other))
        hosts.append(OUTSIDE)
    scene = Scene(pose.to_belt(join(parts, hosts)), things, beside.y_mm)
    return scene if found is None else _add_anomaly(scene, found, parts, hosts, placed, pose)


def _fitting_turn(device: Assembly, tilt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a rotation about z with which the device fits the largest bag.

    A device that fits with none of the rotations tried is not rotated.
    """
    random_yaw = rng.uniform(-0.25, 0.25) + np.pi / 2 * rng.integers(4)
    turns = [
        np.asarray(rotation_xyz(0, 0, yaw) @ tilt)
        for yaw in (random_yaw, random_yaw + np.pi / 2, 0.0, np.pi / 2)
    ]
    for turn in turns:
        need = np.ptp(np.array(device.moved(turn).bounds), axis=0)
        if need[0] < WIDEST_MM - 24 and need[1] < LONGEST_MM - 24:
            return turn
    return turns[-2]


def _add_anomaly(
    scene: Scene,
    found: Concealed,
    parts: list[Assembly],
    hosts: list[int],
    placed: list[Placed],
    pose: Pose,
) -> Scene:
    """Return the scene with the anomalous twin.

    Args:
        scene: the benign scene.
        found: the concealment, in the frame of the device.
        parts: the bag, its contents and other bags, in the frame of the bag.
        hosts: index of the solid that contains each of ``parts``.
        placed: the contents with rotation and shift.
        pose: pose of the bag on the belt.
    """
    k = next(i for i, thing in enumerate(scene.things) if thing.about.get("under_test"))
    _, turn, at = placed[k - 1]
    start = sum(len(part) for part in parts[:k])
    host = hosts[k] if found.host == OUTSIDE else start + found.host
    device, anomaly = found.device.moved(turn, at), found.anomaly.moved(turn, at)
    in_bag = [*parts[:k], device, *parts[k + 1 :], anomaly]
    edited = pose.to_belt(join(in_bag, [*hosts, host]))
    replaced = [found.removed] if found.removed is not None else []
    changed = pose.to_belt(join([found.anomaly, *replaced]).moved(turn, at))
    return dataclasses.replace(scene, anomalous=edited, changed=changed, concealed=found)
