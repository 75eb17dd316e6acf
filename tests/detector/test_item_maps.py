"""Smoothed maps of prohibited items."""

import numpy as np
import pytest

from bagscan.detector.inference import smooth_items
from tests.detector.test_mirrored import bag, detector, run  # noqa: F401 (fixture)


def test_an_even_map_stays_as_it_is_and_a_lone_cell_sinks():
    maps = np.full((2, 30, 30), -4.0)
    maps[1, 15, 15] = 40.0
    smooth = smooth_items(maps, 2.0)
    assert smooth[0] == pytest.approx(maps[0])
    assert smooth[1, 15, 15] == pytest.approx(-4 + 12 / (2 * np.pi * 2.0**2), abs=0.01)
    assert smooth[1].sum() == pytest.approx(maps[1].sum() - 32.0)


def test_without_smoothing_nothing_changes():
    maps = np.random.default_rng(0).normal(0, 20, (2, 9, 9))
    assert smooth_items(maps, 0.0) is maps


def test_a_detector_smooths_items_and_nothing_else(detector):  # noqa: F811
    from bagscan.detector.inference import Options, run_detector
    from bagscan.detector.torch_engine import TorchEngine

    plain = run(detector, bag(), mirrored=False)
    smooth = run_detector(
        bag(), TorchEngine(detector), detector.numbers, False, Options(False, 3.0)
    )
    for one, other in zip(plain.views, smooth.views, strict=True):
        assert np.array_equal(one.region_logits, other.region_logits)
        assert other.prohibited.std() < 0.7 * one.prohibited.std()
