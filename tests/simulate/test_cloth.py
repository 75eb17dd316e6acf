"""Cloth and film: where they are thick, and that a sheet is closed."""

import numpy as np
import pytest

from bagscan.simulate.cloth import SEAM_MM, build_sheet, draw_folds, draw_pockets, draw_smooth_noise

GRID = (90, 120)


def neighbours(noise, axis):
    """Return the correlation of neighbours along an axis."""
    a, b = np.moveaxis(noise, axis, 0)[:-1].ravel(), np.moveaxis(noise, axis, 0)[1:].ravel()
    return float(np.corrcoef(a, b)[0, 1])


def test_noise_is_smooth_along_its_direction():
    along_rows = draw_smooth_noise(GRID, (12, 1), 0.0, np.random.default_rng(0))
    along_columns = draw_smooth_noise(GRID, (12, 1), np.pi / 2, np.random.default_rng(0))
    assert along_rows.mean() == pytest.approx(0, abs=1e-9)
    assert along_rows.std() == pytest.approx(1)
    assert neighbours(along_rows, 0) > 0.95 > neighbours(along_rows, 1)
    assert neighbours(along_columns, 1) > 0.95 > neighbours(along_columns, 0)


def test_folds_are_narrow_lines_of_several_layers():
    folds = draw_folds(GRID, 2.0, np.random.default_rng(1))
    assert folds.min() >= 0
    assert folds.max() > 2
    assert np.median(folds) < 0.5 * folds.max()
    assert np.array_equal(folds, draw_folds(GRID, 2.0, np.random.default_rng(1)))
    assert not np.array_equal(folds, draw_folds(GRID, 2.0, np.random.default_rng(2)))


def test_a_pocket_is_one_layer_within_a_seam():
    x, y = np.arange(-100, 101.0), np.arange(-80, 81.0)
    pocket = draw_pockets(x, y, 1, np.random.default_rng(0))
    assert set(np.unique(pocket)) == {0, 1, 3}
    inside = np.argwhere(pocket >= 1)
    area = (pocket >= 1).sum()
    sides = np.ptp(inside, axis=0) + 1
    assert area == sides.prod()  # a rectangle
    seam = (pocket == 3).sum()
    assert seam == pytest.approx(2 * sides.sum() * 2 * SEAM_MM, rel=0.1)
    assert draw_pockets(x, y, 0, np.random.default_rng(0)).max() == 0


def test_a_sheet_is_closed_and_has_its_thickness():
    x, y = np.arange(0, 41, 2.0), np.arange(0, 31, 2.0)
    lower = np.random.default_rng(0).uniform(0, 3, (len(x), len(y)))
    use = np.ones(lower.shape, bool)
    use[5:9, 4:8] = False  # a hole
    mesh = build_sheet(x, y, lower, lower + 1.5, use)
    squares = use[:-1, :-1] & use[1:, :-1] & use[:-1, 1:] & use[1:, 1:]
    assert mesh.volume_mm3 == pytest.approx(squares.sum() * 4 * 1.5)
    assert mesh.watertight
