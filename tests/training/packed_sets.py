"""Small packed sets of simulated scenes, on a coarse scanner."""

from bagscan.datasets.packing import pack
from bagscan.simulate.anomalies import KINDS
from bagscan.simulate.dataset import simulate
from bagscan.simulate.recipe import Recipe


def simulate_packed(root, **settings):
    """Simulate and pack scenes of two devices; settings are those of a recipe."""
    recipe = Recipe(
        ("phone", "bottle"), profile="g640_coarse", items=(1, 2), more_devices=0.0, **settings
    )
    simulate(recipe, root)
    pack(root, KINDS, 1)
    return root
