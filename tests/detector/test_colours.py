"""Colours of another display get the distribution of those in training; air stays air."""

import dataclasses
import json

import numpy as np
import pytest

from bagscan.detector.colours import N_QUANTILES, SOLID, Colours, quantiles_of
from bagscan.detector.inference import Options


def bag(seed, channels=3):
    """(3, 80, 100) features: air, and a bag with absorbed shares of any size."""
    rng = np.random.default_rng(seed)
    features = np.zeros((channels, 80, 100), np.float32)
    features[:, 10:70, 10:90] = rng.uniform(0.2, 1.3, (channels, 60, 80))
    return features


def other_display(features):
    """Darker in the first colour, with less contrast in the second, mixed up in the third."""
    first, second, third = features / 1.5
    return 1.5 * np.stack([first**0.5, 0.2 * (second > 0) + 0.6 * second, third**2])


def test_quantiles_are_those_of_what_is_not_air():
    known = quantiles_of([bag(k) for k in range(4)])
    assert np.shape(known) == (3, N_QUANTILES)
    for channel in known:
        assert channel == pytest.approx(np.linspace(0.2, 1.3, N_QUANTILES), abs=0.03)
    assert quantiles_of([bag(0), np.zeros((3, 9, 9), np.float32)]) == quantiles_of([bag(0)])


def test_the_same_bags_look_as_in_training_again():
    bags = [bag(k) for k in range(6)]
    shown = [other_display(b) for b in bags]
    colours = Colours(quantiles_of(bags[:3]), quantiles_of(shown[3:]))
    for original, seen in zip(bags, shown, strict=True):
        mapped = colours.mapped(seen)
        assert mapped.dtype == np.float32
        inside = (slice(None), slice(10, 70), slice(10, 90))
        assert np.abs(mapped - original)[inside].mean() < 0.02
        assert np.abs(seen - original)[inside].mean() > 0.1
        assert (mapped[original == 0] == 0).all()


def test_thin_things_are_mapped_in_part():
    colours = Colours(((0.0, 1.5),) * 3, ((0.0, 0.75),) * 3)  # twice as much
    for mean in (SOLID / 4, SOLID, 3 * SOLID):
        features = np.full((3, 2, 2), mean, np.float32)
        expected = mean * (1 + min(mean / SOLID, 1))
        assert colours.mapped(features) == pytest.approx(expected, rel=1e-5)


def test_colours_stay_without_those_of_a_scanner():
    features = bag(0)
    assert Colours(quantiles_of([features])).mapped(features) is features
    assert Colours().mapped(features) is features


def test_colours_are_stored_with_the_other_options():
    options = Options(True, 2.0, Colours(((0.0, 0.5), (0.1, 1.0)), ((0.2, 0.3), (0.4, 0.5))))
    assert Options.of(json.loads(json.dumps(dataclasses.asdict(options)))) == options
    assert Options.of({"thresholds": {}}) == Options()
