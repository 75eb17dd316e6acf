"""Crops that look the same get chance, crops that differ 1, and folds keep to scans."""

import numpy as np

from bagscan.evaluation.metrics import auroc
from experiments.realism import (
    CROP_PX,
    CROPS_PER_SCAN,
    Crops,
    classify,
    draw_crops,
    measure_distance,
    remove_colours,
)

RNG = np.random.default_rng(0)
SCANS = np.repeat(np.arange(30), 3)
NO_PIXELS = np.zeros((0,))


def auroc_of(simulated, real):
    crops = Crops(NO_PIXELS, SCANS)
    scores = classify(crops, simulated, crops, real)
    return auroc(np.arange(len(scores)) < len(simulated), scores)


def test_same_looks_score_half_and_different_ones_one():
    a, b = RNG.normal(0, 1, (2, 90, 20))
    assert 0.3 < auroc_of(a, b) < 0.7
    assert auroc_of(a, b + 3) > 0.99


def test_a_scan_that_looks_like_itself_does_not_help():
    """Crops of one scan are near copies; if they were in both folds, all would be recognised."""
    a, b = (np.repeat(RNG.normal(0, 1, (30, 40)), 3, 0) for _ in range(2))
    assert 0.2 < auroc_of(a, b) < 0.8


def test_crops_show_contents_not_air():
    view = np.full((400, 600, 3), 255, np.uint8)
    view[:, 300:] = (200, 120, 60)
    air, small = np.full((400, 600, 3), 255, np.uint8), np.zeros((CROP_PX - 1, 600, 3), np.uint8)
    crops = draw_crops(iter([air, small, view]))
    assert crops.scans.tolist() == [2] * CROPS_PER_SCAN
    assert crops.pixels.shape == (CROPS_PER_SCAN, CROP_PX, CROP_PX, 3)
    assert ((crops.pixels < 235).any(3).mean((1, 2)) > 0.45).all()


def test_distance_is_in_standard_deviations():
    a, b = RNG.normal(0, 2, 4000), RNG.normal(10, 2, 4000)
    assert abs(measure_distance(a, b) - 5) < 0.2
    assert measure_distance(a, b) == measure_distance(b, a)


def test_grey_crops_keep_brightness_alone():
    crops = RNG.integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    grey = remove_colours(crops)
    assert (grey == grey[..., :1]).all()
    assert np.abs(grey[..., 0] - crops.mean(3)).max() < 1
