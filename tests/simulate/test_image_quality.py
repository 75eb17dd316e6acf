"""Wires, steel and sharpness on noisy images, as in ASTM F792, with a matched filter.

The observer knows the shape and the noise correlation of neighbouring channels, and removes the
latter. It correlates the image with the noise-free difference, weighted by variance. Its
signal-to-noise ratio over many noisy images is the contrast-to-noise ratio.
"""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from bagscan.imaging.scanner import Faults, Noise, Scatter, load_profile
from bagscan.simulate.assembly import Builder
from bagscan.simulate.forward import transmission
from bagscan.simulate.noise import measure, spread, unspread
from bagscan.simulate.render import detectability

AWG_40_MM, AWG_36_MM = 0.0799, 0.127
REPEATS = 40
Y_MM = (0.0, 60.0)


@pytest.fixture(scope="module")
def profile():
    return load_profile("g640")


def scene(build):
    b = Builder(np.random.default_rng(0))
    build(b)
    return b.build()


def wire(diameter_mm, under_mm=0.0):
    def build(b):
        if under_mm:
            b.box("aluminium", (120, 60, under_mm), (330, 30, 60))
        b.wire(
            "copper",
            np.column_stack([np.linspace(310, 340, 12), np.full(12, 30.0), np.full(12, 90.0)]),
            diameter_mm / 2,
        )

    return build


def plate(steel_mm, strip):
    def build(b):
        b.box("iron", (150, 60, steel_mm), (330, 30, 60))
        if strip:
            b.box("lead", (10, 30, 3), (330, 30, 100))

    return build


def matched_filter_cnr(profile, without, with_it):
    """Signal-to-noise of a matched filter over noisy images with and without the object."""
    view = profile.views[0]
    low, high = np.array([250, 0, 40.0]), np.array([420, 60, 120.0])
    view = view.cropped(low, high)
    clean, changed = (
        transmission(scene(b), profile, view, Y_MM, per_pixel=6) for b in (without, with_it)
    )
    quiet = [np.maximum(measure(t, profile, view, 0, noise=False), 1.0) for t in (clean, changed)]
    difference = quiet[1] / quiet[0] - 1
    noisy = np.array(
        [
            [measure(t, profile, view, seed) / quiet[0] - 1 for seed in range(k, k + REPEATS)]
            for t, k in ((clean, 1), (changed, 1001))
        ]
    )
    # Flicker affects whole lines, gain whole channels: both are estimated beside the object.
    empty = np.abs(difference) < 0.02 * np.abs(difference).max()
    for axis in (-1, -2):
        noisy = noisy - (noisy * empty).sum(axis, keepdims=True) / np.maximum(
            empty.sum(axis, keepdims=True), 1
        )
    deviation = np.sqrt(np.maximum(ndimage.uniform_filter(noisy[0].var(0), (0, 9, 9)), 1e-12))
    expected, given = (
        unspread(t / deviation, profile.noise.spread_px) for t in (difference, noisy)
    )
    scores = (given * expected).sum((-3, -2, -1))
    return (scores[1].mean() - scores[0].mean()) / np.sqrt((scores[0].var() + scores[1].var()) / 2)


def test_noise_of_neighbouring_channels_is_correlated_as_measured(profile):
    """Blanks of a panel system measured lag-1 correlations along a line of .44 to .51."""
    blank = measure(
        np.ones((2, 300, 600), np.float32),
        profile,
        dataclasses.replace(profile.views[0], channels=(100, 700)),
        5,
    ).astype(float)
    for channel in blank:
        noise = channel - channel.mean(1, keepdims=True)
        along, across = (
            (a * b).mean() / noise.var()
            for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1]))
        )
        assert 0.36 < along < 0.52
        assert abs(across) < 0.25  # gain alone


def test_spread_noise_keeps_its_variance_and_comes_off_again():
    white = np.random.default_rng(0).standard_normal((50, 400))
    found = spread(white, 0.55)
    assert found.var() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(unspread(found, 0.55), white, atol=1e-9)


def test_a_hair_of_copper_is_seen_in_air(profile):
    assert (
        matched_filter_cnr(
            profile, lambda b: b.box("air", (1, 1, 1), (330, 30, 90)), wire(AWG_40_MM)
        )
        >= 5
    )


def test_a_thin_wire_is_seen_under_aluminium(profile):
    def bare(b):
        b.box("aluminium", (120, 60, 15.9), (330, 30, 60))

    assert matched_filter_cnr(profile, bare, wire(AWG_36_MM, 15.9)) >= 5


@pytest.mark.slow
def test_lead_is_seen_behind_thirty_millimetres_of_steel_and_not_behind_forty_five(profile):
    assert matched_filter_cnr(profile, plate(30, False), plate(30, True)) >= 5
    assert matched_filter_cnr(profile, plate(45, False), plate(45, True)) < 5


def test_area_cnr_is_what_a_matched_filter_reaches(profile):
    """The figure that defines strata, against noisy images."""
    plain = dataclasses.replace(profile, noise=Noise(gain=0.0, flicker=0.0), faults=Faults())
    view = plain.views[0].cropped(np.array([250, 0, 40.0]), np.array([420, 60, 120.0]))

    def bare(b):
        b.box("aluminium", (120, 60, 10), (330, 30, 60))

    def with_sheet(b):
        bare(b)
        b.box("marzipan", (8, 8, 1.0), (330, 30, 90))

    clean, changed = (
        transmission(scene(b), plain, view, Y_MM, per_pixel=2) for b in (bare, with_sheet)
    )
    result = detectability(clean, changed, plain, view).area_cnr
    assert matched_filter_cnr(plain, bare, with_sheet) == pytest.approx(result, rel=0.35)


@pytest.mark.parametrize("axis", [0, 1], ids=["belt", "channel"])
def test_mtf_of_a_steel_edge(profile, axis):
    """The modulation transfer of blur and pixel, against that of a Gaussian times a box."""
    view = profile.views[0].cropped(np.array([250, 0, 40.0]), np.array([420, 60, 120.0]))
    # Slightly slanted: its crossings of many lines sample the edge finely (ISO 12233).
    slant = np.tan(np.radians(4))
    corners = [
        (-40, -20),
        (40 if axis == 0 else 40 - 20 * slant, -20),
        (40 if axis == 0 else 40 + 20 * slant, 20),
        (-40, 20),
    ]
    if axis == 0:
        corners = [(-40, -20), (40, -20), (40, 20 + 40 * slant), (-40, 20 - 40 * slant)]
    quiet = dataclasses.replace(profile, scatter=Scatter(0.0), faults=Faults())
    edge = scene(lambda b: b.prism("iron", corners, 0.4, (330, 26, 60)))
    seen = transmission(edge, quiet, view, Y_MM, per_pixel=8)
    seen = np.mean([measure(seen, quiet, view, s)[0] for s in range(24)], 0)
    image = seen if axis == 1 else seen.T
    level = (image.max() + np.median(image[image < 0.97 * image.max()])) / 2
    positions, values = [], []
    for row in image:
        crossing = np.flatnonzero((row[:-1] < level) & (row[1:] >= level))
        if len(crossing) == 1 and 12 < crossing[0] < len(row) - 13:
            k = crossing[0]
            positions.append(k + (level - row[k]) / (row[k + 1] - row[k]))
            values.append((k, row))
    assert len(positions) > 12
    fit = np.polyval(np.polyfit(np.arange(len(positions)), positions, 1), np.arange(len(positions)))
    offsets = np.concatenate(
        [np.arange(k - 10, k + 11) - p for (k, _), p in zip(values, fit, strict=True)]
    )
    samples = np.concatenate([row[k - 10 : k + 11] for k, row in values])
    grid = np.arange(-8, 8.01, 0.25)
    spread = np.array(
        [
            samples[np.abs(offsets - g) < 0.2].mean()
            if (np.abs(offsets - g) < 0.2).any()
            else np.nan
            for g in grid
        ]
    )
    spread = np.interp(grid, grid[np.isfinite(spread)], spread[np.isfinite(spread)])
    line = np.diff(spread) * np.hanning(len(spread) - 1)
    mtf = np.abs(np.fft.rfft(line, 2048))
    mtf /= mtf[0]
    frequency = np.fft.rfftfreq(2048, 0.25)
    half = frequency[np.argmax(mtf < 0.5)]
    sigma = profile.blur_px[axis]
    analytic = np.exp(-2 * (np.pi * sigma * frequency) ** 2) * np.abs(np.sinc(frequency))
    assert half == pytest.approx(frequency[np.argmax(analytic < 0.5)], rel=0.25)
    assert 0.2 < half < 0.6
