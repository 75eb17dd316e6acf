"""Colour mappings: air, order of depth, classes of material, and the standard one as it was."""

import numpy as np
import pytest

from bagscan.physics.palettes import (
    DEPTH,
    MAX_ATTENUATION,
    MAX_Z,
    MIN_Z,
    N_ATTENUATION,
    N_Z,
    PALETTES,
    Palette,
    draw_palette,
)
from bagscan.physics.pseudo_colour import TABLE


def row_of(z):
    return round((z - MIN_Z) / (MAX_Z - MIN_Z) * (N_Z - 1))


@pytest.mark.parametrize("palette", [*PALETTES.values(), draw_palette(np.random.default_rng(5))])
def test_air_is_lightest_and_depth_darkens(palette):
    table = palette.table()
    assert table.dtype == np.uint8
    assert (table[:, 0] == np.rint(np.array(palette.air) * 255)).all()
    assert (np.diff(table.astype(int), axis=1) <= 0).all()
    assert table[:, -1].max() < (40 if palette in PALETTES.values() else 130)


def test_the_standard_mapping_is_the_one_of_the_images():
    assert np.array_equal(Palette().table(), TABLE)
    organic, metal = TABLE[row_of(7), 110].astype(int), TABLE[row_of(26), 110].astype(int)
    assert organic[0] > organic[2]
    assert metal[2] > metal[0]


def test_classes_have_one_hue_each():
    table = PALETTES["two_classes"].table()
    hues = {tuple(row) for row in table[:, 120].tolist()}
    assert len(hues) == 2
    assert np.array_equal(table[row_of(7), 120], table[row_of(12), 120])
    assert not np.array_equal(table[row_of(7), 120], table[row_of(20), 120])


def test_compression_shows_thin_things_darker_and_thick_ones_lighter():
    plain, compressed = (
        Palette(black=(90.0, 99.0), compression=power).table().astype(int) for power in (1.0, 0.7)
    )
    at_depth = round(DEPTH / MAX_ATTENUATION * (N_ATTENUATION - 1))
    assert np.abs(plain[:, at_depth] - compressed[:, at_depth]).max() <= 1
    assert (compressed[:, 20] < plain[:, 20]).all()
    assert (compressed[:, 200] >= plain[:, 200]).all()
    assert compressed[:, 200].sum() > plain[:, 200].sum()


class Wild(np.random.Generator):
    """Random numbers with six times the spread, so that rare draws are common."""

    def normal(self, loc=0.0, scale=1.0, size=None):
        return super().normal(loc, 6 * scale, size)


def test_rare_draws_give_a_table_too():
    rng = Wild(np.random.PCG64(0))
    for _ in range(100):
        palette = draw_palette(rng)
        assert list(palette.classes) == sorted(palette.classes)
        assert palette.table().shape == (N_Z, N_ATTENUATION, 3)


def test_mappings_differ_and_drawn_ones_vary():
    tables = [palette.table()[:, 120].astype(float) for palette in PALETTES.values()]
    for k, table in enumerate(tables):
        assert min(np.abs(table - other).mean() for other in tables[:k] + tables[k + 1 :]) > 2
    rng = np.random.default_rng(0)
    first, second = draw_palette(rng), draw_palette(rng)
    assert not np.array_equal(first.table(), second.table())
    assert np.array_equal(draw_palette(np.random.default_rng(0)).table(), first.table())
