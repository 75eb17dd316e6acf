"""Further bags on the belt: apart from the bag, shown in part, annotated."""

import dataclasses

import numpy as np
import pytest

from bagscan.simulate.bag_contents import SceneObject
from bagscan.simulate.belt import GAP_MM, MARGIN_MM, SHOWN, add_neighbours, renumber
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.scene import build_scene, plan

TUNNEL = (640.0, 430.0)
ALONE = Recipe(devices=("bottle",), items=(1, 2), prohibited=(1, 1), seed=5)
BETWEEN = dataclasses.replace(ALONE, neighbours=1.0)


def test_bags_lie_apart_along_the_belt_and_reach_into_the_image():
    length_mm = 300.0
    beside = add_neighbours(BETWEEN, "train", length_mm, TUNNEL[0], np.random.default_rng(3))
    assert len(beside.bags) == 2
    in_front, behind = (bag.bounds for bag in beside.bags)
    assert GAP_MM[0] <= behind[0][1] - (MARGIN_MM + length_mm) <= GAP_MM[1]
    assert GAP_MM[0] <= MARGIN_MM - in_front[1][1] <= GAP_MM[1]
    first, last = beside.y_mm
    for shown_mm, (low, high) in (
        (last - behind[0][1], behind),
        (in_front[1][1] - first, in_front),
    ):
        assert SHOWN[0] <= shown_mm / (high[1] - low[1]) <= SHOWN[1] + 1e-9
        assert low[0] > 0
        assert high[0] < TUNNEL[0]


def test_neighbours_change_nothing_of_the_bag_itself():
    chosen = plan(ALONE, 0)
    alone, between = (build_scene(recipe, chosen, TUNNEL) for recipe in (ALONE, BETWEEN))
    n_solids, n_things = len(alone.benign), len(alone.things)
    assert np.array_equal(
        between.benign.vertices[: len(alone.benign.vertices)], alone.benign.vertices
    )
    assert between.things[:n_things] == alone.things
    bags = [thing for thing in between.things if thing.role == "bag"]
    assert len(bags) == 3
    assert sum(thing.role == "device" for thing in between.things[n_things:]) == 0
    assert any(thing.role == "prohibited" for thing in between.things[n_things:])
    assert len(between.benign) > n_solids
    assert between.y_mm[0] < alone.y_mm[0] < alone.y_mm[1] < between.y_mm[1]


def test_every_component_belongs_to_one_thing_and_the_anomaly_comes_last():
    scene = build_scene(BETWEEN, plan(BETWEEN, 0), TUNNEL)
    numbers = [k for thing in scene.things for k in thing.components]
    assert numbers == list(range(len(scene.benign.components)))
    names = [component.name for component in scene.benign.components]
    assert names == [name for thing in scene.things for name in thing.component_names]
    assert scene.anomalous is not None
    assert len(scene.anomalous.components) == len(scene.benign.components) + 1


def test_components_are_numbered_from_the_first_number():
    things = [
        SceneObject("bag", "bag", (0, 1), ("bag", "zip")),
        SceneObject("tin", "item", (2,), ("tin",)),
    ]
    assert [thing.components for thing in renumber(things, 7)] == [(7, 8), (9,)]


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_probability_beyond_0_and_1_is_refused(share):
    with pytest.raises(ValueError, match="neighbours"):
        dataclasses.replace(ALONE, neighbours=share)
