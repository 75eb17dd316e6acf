"""A laboratory's collection: the same pieces in scan after scan, and makes that it has none of."""

import dataclasses

import numpy as np

from bagscan.datasets import simulated
from bagscan.simulate.dataset import load_recipe, simulate
from bagscan.simulate.devices import device_module
from bagscan.simulate.scene import Recipe, plan

LAB = Recipe(("bottle", "phone"), pieces=3, profile="g640_coarse")


def test_pieces_are_in_every_part_and_half_of_the_test_part_is_of_a_layout_never_owned():
    plans = [plan(LAB, k) for k in range(1200)]
    for part in ("train", "val"):
        for device in LAB.devices:
            assert {p.family.piece for p in plans if p.part == part and p.family.device == device} == {0, 1, 2}
    test = [p.family for p in plans if p.part == "test"]
    unseen = [f.piece is None for f in test]
    assert np.mean(unseen) == np.clip(np.mean(unseen), 0.42, 0.58)
    for family in test:
        assert (family.layout == device_module(family.device).LAYOUTS[-1]) == (family.piece is None)


def test_a_piece_is_the_same_whatever_is_drawn_and_another_recipe_has_others():
    family = next(p.family for p in (plan(LAB, k) for k in range(50)) if p.family.device == "phone" and p.part == "train")
    one, two = (LAB.build(family, np.random.default_rng(k))[0].vertices for k in range(2))
    assert np.array_equal(one, two)
    other = dataclasses.replace(LAB, seed=1).build(family, np.random.default_rng(0))[0].vertices
    assert one.shape != other.shape or not np.allclose(one, other)
    new = dataclasses.replace(family, piece=None)
    three, four = (LAB.build(new, np.random.default_rng(k))[0].vertices for k in range(2))
    assert three.shape != four.shape or not np.allclose(three, four)


def test_records_tell_known_pieces_from_new_ones(tmp_path):
    recipe = dataclasses.replace(load_recipe("lab", count=20), profile="g640_coarse", profile_sha256=None, parts={"train": 1, "test": 1}, devices=("phone",), items=(0, 1))
    simulate(recipe, tmp_path / "lab", report=lambda _: None)
    records = simulated.load(tmp_path / "lab", items=True).records
    assert {r.about["piece"] for r in records if r.part == "train"} == {"known"}
    assert {r.about["piece"] for r in records if r.part == "test"} == {"known", "new"}
