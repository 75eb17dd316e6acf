"""Recipes of the experiments are changes of presets."""

from pathlib import Path

import pytest

from bagscan.simulate.dataset import load_recipe

RECIPES = Path("experiments/recipes")
CHANGES = {
    "plain_bags": ("prohibited", {"count", "seed", "bags", "crumpled", "neighbours"}),
    "one_machine": ("prohibited", {"count", "seed", "vary_machine"}),
    "bare_devices": (
        RECIPES / "new_stagings.yaml",
        {"items", "look_alikes", "more_devices"},
    ),
    "new_stagings": ("demo", {"count", "seed", "groups"}),
    "other_collection": ("demo", {"count", "seed", "groups", "collection"}),
}


def test_every_recipe_is_checked():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == set(CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_a_recipe_differs_from_its_preset_in_what_it_says(name):
    preset, changed = CHANGES[name]
    original, recipe = vars(load_recipe(preset)), vars(load_recipe(RECIPES / f"{name}.yaml"))
    assert {key for key in original if original[key] != recipe[key]} == changed
