"""Scatter is added and removed again."""

import numpy as np
import pytest

from bagscan.physics.scatter import add_scatter, remove_scatter


def test_air_stays_and_shadows_lift():
    image = np.ones((80, 80))
    image[30:50, 30:50] = 0.001
    seen = add_scatter(image, 0.03, 10)
    assert seen[0, 0] == pytest.approx(1, abs=1e-3)
    assert seen[40, 40] > 0.01


def test_removal_gives_back_what_was_there():
    image = np.random.default_rng(0).random((60, 90)) ** 4
    assert remove_scatter(add_scatter(image, 0.03, 12), 0.03, 12) == pytest.approx(image, abs=1e-5)


def test_nothing_goes_below_nothing():
    assert remove_scatter(np.zeros((20, 20)), 0.03, 5).min() == 0
