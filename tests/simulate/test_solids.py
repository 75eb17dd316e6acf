"""Assemblies, their audit, and objects built from them: devices, items, bags, anomalies."""

import pkgutil
import zlib

import numpy as np
import pytest

from bagscan import testing
from bagscan.core.errors import ConfigError, DataError
from bagscan.simulate import devices, prohibited
from bagscan.simulate.anomalies import (
    KINDS,
    SHAPES,
    SIZES,
    build_anomaly,
    build_from_mesh,
    draw_place_size,
)
from bagscan.simulate.assembly import AIR, OUTSIDE, Builder, join
from bagscan.simulate.bags import KINDS as BAGS
from bagscan.simulate.bags import build_bag
from bagscan.simulate.devices import (
    NAMES,
    PAPER_A,
    Family,
    build_device,
    device_module,
    dimensions,
    draw_dimension,
    draw_family,
    families,
    seed_of,
)
from bagscan.simulate.items import ITEMS, LOOK_ALIKES, build_item
from bagscan.simulate.luggage import LUGGAGE
from bagscan.simulate.mesh import box, rotation_xyz
from bagscan.simulate.occupancy import BoxFinder, audit
from bagscan.simulate.resembling import RESEMBLING, build_resembling

MAX_OVERLAP = 0.005


def builder():
    return Builder(np.random.default_rng(0))


def test_the_audit_sees_what_counts_twice():
    b = builder()
    b.box("iron", (20, 20, 20))
    b.box("iron", (20, 20, 20), (10, 0, 0))
    assert audit(b.build()).overlap_share == pytest.approx(1 / 3, abs=0.02)
    b = builder()
    outer = b.box("iron", (20, 20, 20))
    b.box("pmma", (10, 10, 10))  # inside, but not declared so
    assert audit(b.build()).overlap_share == pytest.approx(1 / 8, abs=0.02)
    b = builder()
    outer = b.box("iron", (20, 20, 20))
    b.box("pmma", (20, 20, 20), (10, 0, 0), inside=outer)  # half of it sticks out
    assert audit(b.build()).overlap_share == pytest.approx(1 / 3, abs=0.02)


def test_nested_solids_and_things_in_the_air_of_a_case_are_no_overlap():
    b = builder()
    cavity = b.case("abs", (60, 40, 30), 2)
    with b.within(cavity):
        outer = b.box("iron", (20, 20, 20))
        b.box("copper", (10, 10, 10), inside=outer)
    assert audit(b.build()).overlap.sum() == 0
    b.box("iron", (4, 4, 4), (25, 0, 0))  # not declared inside the case's air, which weighs nothing
    assert audit(b.build()).overlap.sum() == 0
    b.box("iron", (4, 4, 4), (30, 0, 0))  # through the wall
    assert audit(b.build()).overlap.sum() > 0


def test_frames_nest_and_a_host_must_exist():
    b = builder()
    with b.frame((10, 0, 0), rotation_xyz(0, 0, np.pi / 2)), b.frame((5, 0, 0)):
        b.box("iron", (2, 4, 6))
    low, high = b.build().bounds
    assert (low + high) / 2 == pytest.approx([10, 5, 0], abs=1e-9)
    assert high - low == pytest.approx([4, 2, 6])
    with pytest.raises(DataError, match="7"):
        b.box("iron", (1, 1, 1), inside=7)


def test_taking_a_component_out_takes_what_lies_in_it():
    b = builder()
    cavity = b.case("abs", (60, 40, 30), 2)
    with b.within(cavity):
        with b.part("cell", replaceable=True):
            outer = b.box("iron", (20, 20, 20))
        with b.part("core"):
            b.box("copper", (10, 10, 10), inside=outer)
        with b.part("board"):
            b.box("fr4", (5, 5, 1), (20, 0, 0))
    whole = b.build()
    left = whole.without(0)
    assert left.material == ("abs", AIR, "fr4")
    assert left.inside.tolist() == [OUTSIDE, 0, 1]
    alone = whole.alone(whole.part_of(0))
    assert alone.material == ("iron", "copper")
    assert alone.inside.tolist() == [OUTSIDE, 0]
    both = join([left, alone], [OUTSIDE, 1])
    assert both.inside.tolist() == [OUTSIDE, 0, 1, 1, 3]
    assert audit(both).overlap.sum() == 0


def test_pouring_fills_to_the_level():
    b = builder()
    cavity = b.case("abs", (64, 44, 34), 2, radius=1)
    poured = b.pour(cavity, "water", 0.25)
    built = b.build()
    assert built.mesh(poured).volume_mm3 == pytest.approx(
        0.25 * built.mesh(cavity).volume_mm3, rel=1e-6
    )
    assert audit(built).overlap.sum() == 0
    assert built.hollows == (cavity,)


def test_a_thin_wire_keeps_its_mass():
    b = builder()
    path = np.column_stack([np.linspace(0, 50, 20), np.zeros(20), np.zeros(20)])
    b.wire("copper", path, 0.1)
    built = b.build()
    assert built.mesh(0).volume_mm3 * built.density[0] == pytest.approx(np.pi * 0.01 * 50, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_devices_nest_without_overlap(name):
    testing.check_device(name)


@pytest.mark.parametrize("name", prohibited.NAMES)
def test_prohibited_items_nest_without_overlap(name):
    testing.check_device(name)


@pytest.mark.parametrize("name", RESEMBLING | LUGGAGE)
def test_what_resembles_them_nests_without_overlap(name):
    for seed in range(3):
        item = build_resembling(name, np.random.default_rng(seed))
        assert audit(item).overlap_share < 0.02
        assert {component.name for component in item.components} == {name}
        assert all(item.mesh(k).watertight for k in range(len(item)))


def test_devices_keep_their_order():
    """Seeds of a collection contain the position of a device in ``NAMES``: append new ones."""
    assert NAMES[:6] == PAPER_A
    assert NAMES[6:16] == (
        "charger",
        "power_bank",
        "camera",
        "drill",
        "shaver",
        "radio",
        "router",
        "game_controller",
        "external_disk",
        "kettle",
    )


def test_every_file_is_a_device():
    found = {module.name for module in pkgutil.iter_modules(devices.__path__)}
    assert found == set(NAMES)
    found = {module.name for module in pkgutil.iter_modules(prohibited.__path__)}
    assert found == {*prohibited.NAMES, "blades"}


def test_a_range_of_whole_numbers_is_refused():
    """It would be a choice of two values, which nobody means."""
    with pytest.raises(ConfigError):
        draw_dimension("length_mm", (10, 40), np.random.default_rng(0))


@pytest.mark.weekly
@pytest.mark.parametrize("name", NAMES)
def test_two_hundred_devices_of_each_class_nest(name):
    layouts = device_module(name).LAYOUTS
    for k in range(200):
        device, _ = build_device(
            Family(name, layouts[k % len(layouts)], k // len(layouts) % 10),
            np.random.default_rng(k),
        )
        assert audit(device).overlap_share < MAX_OVERLAP


def test_families_differ_and_pieces_of_one_differ_a_little():
    one, other = Family("laptop", "drive_bay", 1), Family("laptop", "drive_bay", 2)
    assert dimensions(one) == dimensions(one)
    assert dimensions(one) != dimensions(other)
    nominal, piece = (
        dimensions(one)["width_mm"],
        dimensions(one, np.random.default_rng(3))["width_mm"],
    )
    assert 0 < abs(piece / nominal - 1) < 0.02
    a, b = (build_device(one, np.random.default_rng(s))[0] for s in (1, 2))
    assert a.vertices.shape != b.vertices.shape or not np.array_equal(a.vertices, b.vertices)


@pytest.mark.parametrize("name", PAPER_A)
def test_families_are_split_and_one_layout_is_never_trained_on(name):
    parts = {part: families(name, part) for part in ("train", "val", "test")}
    assert sum(map(len, parts.values())) == len(families(name))
    last = device_module(name).LAYOUTS[-1]
    assert all(f.layout != last for f in parts["train"] + parts["val"])
    drawn = [draw_family(name, "test", np.random.default_rng(k)).layout == last for k in range(60)]
    assert 10 < sum(drawn) < 50


def test_an_unknown_device_is_told():
    with pytest.raises(ConfigError, match="did you mean 'laptop'"):
        device_module("labtop")


@pytest.mark.parametrize("name", [*ITEMS, *LOOK_ALIKES])
def test_items_nest(name):
    for seed in range(3):
        item = build_item(name, np.random.default_rng(seed))
        assert audit(item, (0.7, 0.7, 0.4)).overlap_share < MAX_OVERLAP
        assert [c.name for c in item.components] == [name]


@pytest.mark.parametrize("kind", BAGS)
def test_bags_nest_and_hold_their_room(kind):
    bag = build_bag(kind, (380, 300, 160), np.random.default_rng(2))
    assert audit(bag.assembly).overlap_share < MAX_OVERLAP
    b = builder()
    b.box("food", (300, 200, 20), (0, 0, bag.floor_mm + 12))
    assert audit(join([bag.assembly, b.build()], [OUTSIDE, bag.host])).overlap.sum() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_anomalies_fit_their_place_and_nest(kind):
    assert set(SIZES["specks"].volumes_mm3) == set(SHAPES) == set(KINDS)
    rng = np.random.default_rng(4)
    built = 0
    for _ in range(40):
        size = rng.permutation(draw_place_size(kind, rng))
        found = build_anomaly(kind, size, rng)
        if found is None:
            continue
        built += 1
        low, high = found.bounds
        assert (high - low <= size * 1.02).all()  # a round mesh is enlarged to its true volume
        assert np.abs(high + low).max() <= size.max()
        assert audit(found, np.clip((high - low) / 40, 0.02, 1)).overlap_share < MAX_OVERLAP
        assert len(found.components) == 1
    assert built > 10


def test_a_users_mesh_lies_along_its_place_or_is_refused():
    rng = np.random.default_rng(0)
    found = build_from_mesh(box((30, 4, 8)), "lead", (5, 40, 10), rng)
    assert np.ptp(found.vertices, axis=0) == pytest.approx([4, 30, 8])
    assert found.mesh(0).volume_mm3 == pytest.approx(960)
    assert build_from_mesh(box((30, 4, 8)), "lead", (20, 20, 20), rng) is None


def test_boxes_grow_in_free_room_alone():
    free = np.zeros((12, 10, 8), bool)
    free[2:9, 3:8, 1:7] = True
    free[5, 5, 3] = False
    finder = BoxFinder(free)
    rng = np.random.default_rng(0)
    for start in np.argwhere(free)[::17]:
        low, end = finder.grow(start, (4, 9, 9), rng)
        assert free[tuple(slice(a, b) for a, b in zip(low, end, strict=True))].all()
        assert end[0] - low[0] <= 4
    assert not finder.empty((0, 0, 0), (13, 1, 1))


def test_seeds_of_devices_depend_on_nothing_installed():
    assert [seed_of(name) for name in NAMES] == list(range(len(NAMES)))
    assert seed_of("tube") == 10_000 + zlib.crc32(b"tube")


def test_pieces_of_an_item_differ_within_the_ranges_of_its_dimensions():
    """A few families must show many shapes."""
    family, ranges = Family("lighter", "piezo", 3), device_module("lighter").DIMENSIONS
    pieces = [dimensions(family, np.random.default_rng(seed))["body_mm"] for seed in range(40)]
    assert max(pieces) / min(pieces) > 1.08
    low, high = ranges["body_mm"]
    assert low <= min(pieces)
    assert max(pieces) <= high
