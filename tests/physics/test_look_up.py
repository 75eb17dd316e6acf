"""The compiled loops of imaging against SciPy's general ones."""

import numpy as np
import pytest
from scipy import ndimage

from bagscan.imaging.scanner import load_profile
from bagscan.physics.effective_z import table_from_response
from bagscan.physics.look_up import median_3x3


def test_median_is_scipys():
    image = np.random.default_rng(0).random((37, 53)).astype(np.float32)
    assert np.array_equal(median_3x3(image), ndimage.median_filter(image, 3, mode="reflect"))


def test_the_table_is_read_bilinearly():
    table = table_from_response(load_profile("g640").response)
    rng = np.random.default_rng(1)
    log_h = rng.uniform(0.01, 6, 500)
    log_low = log_h * rng.uniform(1.05, 1.5, 500)
    row = np.interp(log_h, table.log_h, np.arange(len(table.log_h)))
    column = (log_low / log_h - table.ratio[0]) / (table.ratio[1] - table.ratio[0])
    truth = ndimage.map_coordinates(table.z, [row, column], order=1, mode="nearest")
    assert table(log_low, log_h) == pytest.approx(truth, abs=1e-3)


def test_the_slope_is_that_of_z_over_the_ratio():
    table = table_from_response(load_profile("g640").response)
    step = table.ratio[1] - table.ratio[0]
    log_h = np.full(50, 0.8)
    ratio = np.linspace(1.25, 1.5, 50)
    around = (table(log_h * (ratio + step), log_h) - table(log_h * (ratio - step), log_h)) / (
        2 * step
    )
    assert table.read(log_h * ratio, log_h)[1] == pytest.approx(around, rel=1e-3, abs=0.05)


def test_under_the_tables_first_attenuation_there_is_no_z():
    table = table_from_response(load_profile("g640").response)
    z, slope = table.read(np.array([[0.001, 1.0]]), np.array([[0.001, 0.8]]))
    assert z.shape == slope.shape == (1, 2)
    assert z[0, 0] == slope[0, 0] == 0
    assert z[0, 1] > 5
