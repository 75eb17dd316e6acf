"""Small packed sets of simulated scenes, on a coarse scanner."""

from bagscan.simulate.dataset import simulate
from bagscan.simulate.recipe import Recipe
from bagscan.training.detector_experiment import packed_scenes


def simulate_packed(root, **settings):
    """Simulate and pack scenes of two devices; settings are those of a recipe."""
    recipe = Recipe(
        ("phone", "bottle"), profile="g640_coarse", items=(1, 2), more_devices=0.0, **settings
    )
    simulate(recipe, root)
    packed_scenes((str(root),), 1)
    return root
