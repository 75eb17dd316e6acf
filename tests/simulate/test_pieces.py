"""A laboratory's collection: the same pieces and stagings in many sets, and unseen families."""

import dataclasses

import numpy as np
import pytest

from bagscan.datasets import simulated
from bagscan.simulate.dataset import load_recipe, simulate
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.scene import known_staging, plan

LAB = Recipe(
    ("bottle", "phone"),
    pieces=3,
    profile="g640_coarse",
    groups={"known_stagings": 1, "new_stagings": 1, "other_families": 1},
)


def test_groups_come_in_their_shares_and_say_what_they_are():
    plans = [plan(LAB, k) for k in range(1200)]
    for group in LAB.groups:
        assert abs(np.mean([p.group == group for p in plans]) - 1 / 3) < 0.05
    for made in plans:
        assert (made.family.piece is None) == (made.group == "other_families")
        assert (made.staging is None) == (made.group != "known_stagings")
        unseen = made.group == "other_families" and made.part != "train"
        assert (made.reported_group == "unseen_families") == unseen


def test_pieces_are_in_every_part_and_families_in_one():
    plans = [plan(LAB, k) for k in range(1200)]
    for part in ("train", "val", "test"):
        for device in LAB.devices:
            own = [p.family for p in plans if p.part == part and p.family.device == device]
            assert {f.piece for f in own} == {0, 1, 2, None}
            assert all(f.part == part for f in own if f.piece is None)
    pieces = {p.family.name for p in plans if p.family.piece is not None}
    assert not pieces & {
        p.family.name for p in plans if p.group == "other_families" and p.part != "train"
    }


def test_a_piece_is_the_same_in_sets_of_any_seed_and_another_collection_has_others():
    family = next(
        p.family
        for p in (plan(LAB, k) for k in range(80))
        if p.family.device == "phone" and p.family.piece is not None
    )
    one, two = (
        recipe.build(family, np.random.default_rng(k))[0].vertices
        for k, recipe in enumerate((LAB, dataclasses.replace(LAB, seed=9)))
    )
    assert np.array_equal(one, two)
    other = (
        dataclasses.replace(LAB, collection=1).build(family, np.random.default_rng(0))[0].vertices
    )
    assert one.shape != other.shape or not np.allclose(one, other)
    new = dataclasses.replace(family, piece=None)
    three, four = (LAB.build(new, np.random.default_rng(k))[0].vertices for k in range(2))
    assert three.shape != four.shape or not np.allclose(three, four)


def test_a_staging_is_fixed_and_stagings_of_a_piece_differ():
    family = next(
        p.family
        for p in (plan(LAB, k) for k in range(80))
        if p.family.device == "phone" and p.family.piece is not None
    )
    what = LAB.kinds, LAB.ways, LAB.sizes
    known_staging.cache_clear()
    one = known_staging(LAB.collection, family, 0, *what)
    known_staging.cache_clear()
    again, other = (known_staging(LAB.collection, family, k, *what) for k in (0, 1))
    assert np.array_equal(one.anomaly.vertices, again.anomaly.vertices)
    assert one.anomaly.vertices.shape != other.anomaly.vertices.shape or not np.allclose(
        one.anomaly.vertices, other.anomaly.vertices
    )


@pytest.mark.slow
def test_records_tell_the_group(tmp_path):
    recipe = dataclasses.replace(
        load_recipe("demo", count=24),
        profile="g640_coarse",
        profile_sha256=None,
        parts={"train": 1, "test": 1},
        devices=("phone",),
        items=(0, 1),
    )
    simulate(recipe, tmp_path / "lab")
    records = simulated.load(tmp_path / "lab", items=True).records
    by_part = {
        part: {r.about.piece for r in records if r.part == part} for part in ("train", "test")
    }
    assert by_part == {"train": {"known", "new"}, "test": {"known", "new"}}
