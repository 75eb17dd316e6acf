"""Displays: what a screen or a file changes in the colours of a view, and what it leaves."""

import numpy as np
import pytest

from bagscan.imaging.display import Display, draw_display
from bagscan.physics.pseudo_colour import TABLE, colour_stored


@pytest.fixture
def view():
    """(low, high, zeff) with a block of plastic and a bar of iron."""
    low, high, zeff = np.ones((3, 48, 64), np.float32)
    zeff[:] = 0
    low[8:40, 8:40], high[8:40, 8:40], zeff[8:40, 8:40] = 0.6, 0.7, 7.0
    low[16:24, 30:60], high[16:24, 30:60], zeff[16:24, 30:60] = 0.1, 0.3, 26.0
    return low, high, zeff


def test_the_plain_display_shows_pseudo_colour(view):
    assert np.array_equal(Display(TABLE).show(*view), colour_stored(*view))


def test_gamma_and_white_move_the_tones(view):
    plain = Display(TABLE).show(*view).astype(int)
    assert Display(TABLE, gamma=1.5).show(*view).mean() < plain.mean()
    assert Display(TABLE, white=0.8).show(*view).mean() > plain.mean()
    assert (Display(TABLE, gamma=1.5).show(*view)[:, 0, 0] == 255).all()


@pytest.mark.parametrize("change", [{"resample": 0.5}, {"jpeg_quality": 40}])
def test_files_lose_detail_but_no_objects(view, change):
    plain, stored = Display(TABLE).show(*view), Display(TABLE, **change).show(*view)
    assert stored.shape == plain.shape
    assert stored.dtype == np.uint8
    difference = np.abs(stored.astype(int) - plain).mean(0)
    assert 0 < difference.mean() < 12
    assert difference[20:36, 14:26].mean() < 6  # the middle of the block


def test_drawn_displays_vary_and_repeat(view):
    images = [draw_display(np.random.default_rng(k)).show(*view) for k in (0, 1, 0)]
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])
    assert all(image.shape == (3, 48, 64) for image in images)


def test_a_frame_hides_one_side_and_a_cursor_little(view):
    plain = Display(TABLE).show(*view).astype(int)
    for seed in range(4):
        framed, pointed = (
            np.abs(Display(TABLE, seed=seed, **mark).show(*view) - plain).max(0) > 0
            for mark in ({"frame": True}, {"cursor": True})
        )
        assert framed.any()
        assert not framed[12:36, 14:50].any()  # at most 0.08 of a side, and the line
        assert pointed.sum() < 200


def test_noise_repeats_and_leaves_air(view):
    plain, noisy = (Display(TABLE, noise=level, seed=3).show(*view) for level in (0, 0.02))
    assert np.array_equal(noisy, Display(TABLE, noise=0.02, seed=3).show(*view))
    assert not np.array_equal(noisy, Display(TABLE, noise=0.02, seed=4).show(*view))
    change = np.abs(noisy.astype(int) - plain).max(0)
    assert change[:4, :4].max() == 0  # air far from objects
    assert change[20:36, 14:26].mean() > 2  # the block


def test_noise_changes_the_hue_most_where_little_is_absorbed():
    low, high, zeff = np.full((3, 64, 64), 7.0, np.float32)
    low[:], high[:] = 0.5, 0.6
    low[:, :32], high[:, :32] = 0.95, 0.96
    noisy = Display(TABLE, sharpen=0, noise=0.01).show(low, high, zeff).astype(float)
    assert len(np.unique(hue(noisy[:, :, 4:28]))) > 3 * len(np.unique(hue(noisy[:, :, 36:60])))


def hue(colours):
    """Return the rounded share of red in each pixel's absorption."""
    absorbed = 255 - colours
    return np.rint(50 * absorbed[0] / absorbed.sum(0).clip(1))


@pytest.mark.parametrize("z", [10.0, 13.0, 18.0])
def test_noise_leaves_the_mean_hue(z):
    """Hues scatter to both sides. Beyond the ends of the scale, they no longer differ."""
    view = [np.full((80, 80), value, np.float32) for value in (0.93, 0.95, z)]
    plain, noisy = (
        Display(TABLE, sharpen=0, noise=noise, seed=1).show(*view).astype(float)
        for noise in (0.0, 0.01)
    )
    assert np.abs(noisy - plain).mean() > 1
    assert np.abs(noisy.mean((1, 2)) - plain.mean((1, 2))).max() < 3
