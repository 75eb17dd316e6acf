"""Packing, concealment and scenes: no overlap, all inside the bag, pairs differ in the anomaly."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from bagscan.imaging.scanner import Faults, Scatter, load_profile
from bagscan.simulate.anomalies import KINDS, SIZES, draw_place_size, is_large_enough, size_factor
from bagscan.simulate.assembly import AIR, OUTSIDE, Builder, join
from bagscan.simulate.concealment import CONTENTS, WAYS, conceal
from bagscan.simulate.devices import NAMES, PAPER_A, Family, build_device
from bagscan.simulate.forward import line_positions
from bagscan.simulate.occupancy import audit
from bagscan.simulate.packing import Heap, surfaces
from bagscan.simulate.raster import Rasteriser
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.render import detectability, render, stratum
from bagscan.simulate.scene import build_scene, plan
from bagscan.simulate.truth import ANOMALY, ambiguous, encode, view_annotations

TUNNEL = (640.0, 430.0)
RECIPE = Recipe(devices=PAPER_A, items=(3, 6), seed=11)


def block(size, material="food"):
    b = Builder(np.random.default_rng(0))
    with b.part("block"):
        b.box(material, size)
    return b.build()


def test_what_is_dropped_stands_on_what_lies_below():
    heap = Heap.empty((200, 160, 100), 10)
    rng = np.random.default_rng(1)
    first = heap.drop(block((150, 120, 20)), rng)
    second = heap.drop(block((150, 120, 20)), rng)
    assert 10 < first[2] < 12  # its middle: half its height, and a gap
    assert 30 < second[2] < 33
    assert heap.drop(block((150, 120, 80)), rng) is None  # not enough space below the lid
    assert heap.drop(block((300, 20, 20)), rng) is None


@pytest.mark.parametrize("crumpled", [False, True])
def test_heaps_do_not_overlap_and_stay_inside(crumpled):
    heap = Heap.empty((260, 220, 120), 30)
    rng = np.random.default_rng(2)
    placed = []
    for k in range(12):
        device, _ = build_device(
            Family(
                NAMES[6 + k % 4],
                "brick" if k % 4 == 0 else {1: "stick", 2: "compact", 3: "slim"}[k % 4],
                1,
            ),
            rng,
        )
        shift = heap.drop(device, rng)
        if shift is not None:
            placed.append(device.moved(None, shift))
    garment = heap.drape(rng, "cotton", 1.0, 8.0, crumpled)
    assert len(placed) >= 3
    whole = join([*placed, *([garment] if garment else [])])
    assert audit(whole, (1.5, 1.5, 1.0)).overlap_share < 0.005
    low, high = whole.bounds
    assert low[0] > -130
    assert high[0] < 130
    assert low[2] >= 0
    assert high[2] < 120


@pytest.mark.parametrize("thick_mm", [2.0, 12.0])
def test_crumpled_garments_keep_their_mean_thickness_and_have_no_holes(thick_mm):
    for seed in range(4):
        smooth, crumpled = (
            Heap.empty((300, 300, 150), 30).drape(
                np.random.default_rng(seed), "cotton", 1.0, thick_mm, folded
            )
            for folded in (False, True)
        )
        volumes = [garment.mesh(0).volume_mm3 for garment in (smooth, crumpled)]
        # The fine mesh reaches closer to the garment's edge.
        assert 0.8 < volumes[1] / volumes[0] < 1.45
        assert crumpled.mesh(0).watertight


def test_surfaces_bound_an_item():
    found = surfaces(block((40, 24, 10)))
    assert np.nanmin(found.lower) == -5
    assert found.upper[np.isfinite(found.upper)].max() == 5
    assert np.isfinite(found.lower).sum() * 16 > 40 * 24


def room():
    """A case with a cell, a vessel of water and much air."""
    b = Builder(np.random.default_rng(0))
    with b.part("case"):
        cavity = b.case("abs", (120, 90, 40), 2)
    with b.within(cavity):
        with b.part("cell", replaceable=True):
            b.box("li_ion_stack", (40, 30, 12), (-30, 0, -10))
        with b.part("board"):
            b.box("fr4", (50, 60, 2), (28, 0, 3))
        with b.part("lid"):
            b.box("polycarbonate", (50, 60, 2), (28, 0, 8))
        with b.part("flask"):
            wall = b.box("polypropylene", (30, 20, 14), (-30, 30, -10))
            flask = b.box(AIR, (28, 18, 12), (-30, 30, -10), inside=wall)
            b.hollow(flask)
        with b.part("contents"):
            b.pour(flask, "water", 0.5)
    return b.build()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_hides_in_every_way_without_overlap(way, kind):
    rng = np.random.default_rng(5)
    device = room()
    found = [
        f
        for f in (conceal(device, way, kind, rng, SIZES["specks"]) for _ in range(4))
        if f is not None
    ]
    if kind == "liquid" and way == "partial_fill":
        flask = device.hollows[1]
        assert all(one.host != flask for one in found), (
            "a liquid where a liquid belongs is no anomaly"
        )
    assert found, "no place was found in four times three tries"
    for one in found:
        whole = join([one.device, one.anomaly], [OUTSIDE, one.host])
        assert audit(whole, (1.0, 1.0, 0.4)).overlap_share < 0.005
        low, high = one.anomaly.bounds
        inside = (low > device.bounds[0]).all() and (high < device.bounds[1]).all()
        assert inside == (way != "taped_outside") or (way == "taped_outside" and not inside)
        assert (one.removed is not None) == (way == "replaced_component") or way == "partial_fill"
        if way == "replaced_component":
            assert "li_ion_stack" not in one.device.material
        if one.removed is not None and way == "partial_fill":
            assert {c.name for c in one.removed.components} & set(CONTENTS)


def test_operational_anomalies_measure_what_they_must():
    rng = np.random.default_rng(8)
    laptop = build_device(Family("laptop", "battery_rear", 1), rng)[0]
    least = {
        "organic_block": 30,
        "metal_plate": 45,
        "sharp": 60,
        "metal_tube": 55,
        "wires_and_battery": 30,
        "screws": 25,
    }
    for kind, longest_mm in least.items():
        found = next(
            f
            for f in (conceal(laptop, "taped_outside", kind, rng) for _ in range(40))
            if f is not None
        )
        extent = np.ptp(np.array(found.anomaly.bounds), axis=0)
        assert extent.max() >= longest_mm
        if kind == "organic_block":
            assert np.prod(extent) >= 25_000
    small = block((10, 8, 2))
    assert not is_large_enough(small, "organic_block")
    assert is_large_enough(small, "organic_block", SIZES["specks"])


def test_small_devices_hold_less():
    phone, toaster = (
        build_device(Family(name, layout, 1), np.random.default_rng(0))[0]
        for name, layout in (("phone", "slab"), ("toaster", "two_slots"))
    )
    assert size_factor(phone) == 0.2
    assert size_factor(toaster) == 1.0
    sizes = [
        np.prod(draw_place_size("powder", np.random.default_rng(k), scale=0.2)) for k in range(50)
    ]
    assert max(sizes) <= 0.2 * 600e3 * 1.0001


def test_speck_sizes_spread_over_decades():
    rng = np.random.default_rng(0)
    volumes = [np.prod(draw_place_size("organic_block", rng, SIZES["specks"])) for _ in range(400)]
    assert np.quantile(volumes, 0.9) > 100 * np.quantile(volumes, 0.1)


def test_plans_are_balanced_and_repeat():
    plans = [plan(RECIPE, k) for k in range(600)]
    assert plans[:20] == [plan(RECIPE, k) for k in range(20)]
    shares = {part: np.mean([p.part == part for p in plans]) for part in ("train", "val", "test")}
    assert shares == pytest.approx({"train": 0.6, "val": 0.1, "test": 0.3}, abs=0.02)
    for part in shares:
        assert {p.family.device for p in plans if p.part == part} == set(PAPER_A)
    for start in range(0, 600, 6):
        assert {p.family.device for p in plans[start : start + 6]} == set(PAPER_A)


def test_recipes_that_make_no_sense_are_refused():
    for wrong, match in (
        ({"parts": {"train": 0}}, "not all 0"),
        ({"parts": {"foo": 1}}, "unknown 'foo'"),
        ({"bags": {"sack": 1}}, "unknown 'sack'"),
        ({"items": (9, 3)}, "items"),
        ({"devices": ()}, "must not be empty"),
        ({"kinds": ("sharq",)}, "did you mean 'sharp'"),
        ({"look_alikes": 1.5}, "0 to 1"),
        ({"groups": {"strangers": 1}}, "unknown 'strangers'"),
        ({"sizes": "specs"}, "did you mean 'specks'"),
        ({"seed": -1}, "seed.*-1"),
        ({"pieces": 0}, "pieces.*0"),
    ):
        with pytest.raises(ValueError, match=match):
            dataclasses.replace(RECIPE, **wrong)


@pytest.fixture(scope="module")
def scenes():
    return [build_scene(RECIPE, plan(RECIPE, k), TUNNEL) for k in (0, 1, 5)]


def test_scenes_nest_and_stay_in_the_tunnel(scenes):
    for scene in scenes:
        for solids in (scene.benign, scene.anomalous):
            assert audit(solids, (2, 2, 1.5)).overlap_share < 0.005
            low, high = solids.bounds
            assert low[0] > 0
            assert high[0] < TUNNEL[0]
            assert high[2] < TUNNEL[1]
        assert sum(len(t.components) for t in scene.things) == len(scene.benign.components)
        assert len(scene.anomalous.components) == len(scene.benign.components) + 1


def test_items_lie_in_their_bag(scenes):
    for scene in scenes:
        of_bag = np.isin(scene.benign.component, scene.things[0].components)
        bag, rest = scene.benign.alone(of_bag), scene.benign.alone(~of_bag)
        if scene.things[0].name != "tray":
            assert (rest.bounds[0] >= bag.bounds[0]).all()
            assert (rest.bounds[1] <= bag.bounds[1]).all()


def test_what_is_inside_a_device_does_not_move_what_lies_around():
    """Two items hidden inside leave bag and contents equal; taped ones are packed as well."""
    inside = tuple(way for way in WAYS if way != "taped_outside")
    one, two = (
        dataclasses.replace(RECIPE, ways=inside, kinds=(kind,))
        for kind in ("metal_plate", "organic_block")
    )
    scenes = [build_scene(recipe, plan(recipe, 3), TUNNEL) for recipe in (one, two)]
    assert scenes[0].concealed.kind != scenes[1].concealed.kind
    assert np.array_equal(scenes[0].benign.vertices, scenes[1].benign.vertices)


def test_what_is_taped_outside_overlaps_nothing_around():
    recipe = dataclasses.replace(RECIPE, ways=("taped_outside",), items=(6, 9))
    for k in range(3):
        scene = build_scene(recipe, plan(recipe, k), TUNNEL)
        assert scene.concealed.way == "taped_outside"
        assert audit(scene.anomalous, (2, 2, 1.5)).overlap_share < 0.005


@pytest.fixture(scope="module")
def sharp():
    profile = load_profile("g640_coarse")
    return dataclasses.replace(
        profile,
        scatter=Scatter(0),
        blur_px=(0.0, 0.0),
        faults=Faults(),
        noise=dataclasses.replace(profile.noise, spread_px=0.0),
    )


@pytest.fixture(scope="module")
def pair(scenes, sharp):
    return render(scenes[0], sharp, seed=9, both=True)


def test_pairs_are_equal_to_the_bit_outside_the_changed_footprint(scenes, sharp, pair):
    scene = scenes[0]
    for benign, anomalous in zip(pair["benign"], pair["anomalous"], strict=True):
        changed = (benign.counts != anomalous.counts).any(0)
        assert changed.any()
        # Changed pixels lie in the outline of an added or removed part, with one pixel of slack.
        fan = benign.view.fan(line_positions(scene.y_mm, sharp.line_pitch_mm, 2), 2)
        outline = (
            Rasteriser(scene.changed.solids([]), fan)
            .silhouettes(np.zeros(len(scene.changed), np.int64), 1)[0]
            .coarser(2)
        )
        assert not (changed & ~ndimage.binary_dilation(outline.full(changed.shape))).any()
        assert not changed[: outline.top].any()


def test_masks_cover_what_is_seen(scenes, pair):
    view = pair["anomalous"][0]
    things = scenes[0].things
    entries = view_annotations(view, things, 7)
    roles = {e["role"] for e in entries}
    assert {"bag", "device", "component", ANOMALY} <= roles
    by_id = {e["id"]: e for e in entries}
    device = next(e for e in entries if e["role"] == "device")
    assert all(
        by_id[e["parent_id"]]["role"] == "device"
        for e in entries
        if e["role"] in ("component", ANOMALY)
    )
    union = np.zeros(view.counts.shape[1:], bool)
    for silhouette in view.components:
        union |= silhouette.full(union.shape)
    dark = view.counts[0] < 0.9 * 60000
    assert union[dark].mean() > 0.99
    assert device["area"] > 100
    assert isinstance(ambiguous(view, things), list)


def test_run_lengths_are_those_of_pycocotools(pair):
    from bagscan.formats.coco import encode_mask
    from bagscan.formats.truth import decode_mask

    shape = pair["benign"][0].counts.shape[1:]
    for silhouette in pair["benign"][0].components[:12]:
        if silhouette.mask.any():
            assert np.array_equal(
                decode_mask(encode(silhouette, shape), *shape), silhouette.full(shape)
            )
            assert (
                encode(silhouette, shape)["counts"] == encode_mask(silhouette.full(shape))["counts"]
            )


def test_detectability_grows_with_contrast_and_is_nothing_without(sharp):
    view = sharp.views[0]
    clean = np.full((2, 40, view.n_channels), 0.5, np.float32)
    edited = clean.copy()
    assert detectability(clean, clean, sharp, view).area_cnr == 0
    found = []
    for depth in (0.01, 0.02):
        edited[:, 10:20, 50:60] = 0.5 - depth
        found.append(detectability(clean, edited, sharp, view).area_cnr)
    assert found[1] == pytest.approx(2 * found[0], rel=0.05)
    air = (
        np.array([sharp.response.low_photons, sharp.response.high_photons])[:, None]
        * (sharp.detector.distance_mm / view.fan(np.zeros(1)).distance_mm[50:60]) ** 2
    )
    by_hand = np.sqrt(10 * (0.01**2 / (0.495 / air + (8 / air) ** 2)).sum())
    assert found[0] == pytest.approx(by_hand, rel=0.02)
    assert [stratum(v) for v in (1, 5, 49, 50, 499, 500)] == [
        "below 5",
        "5-50",
        "5-50",
        "50-500",
        "50-500",
        "above 500",
    ]
