"""Visibility of hidden anomalies: known answers, and stagings that obey the rule."""

import numpy as np
import pytest

from bagscan.imaging.scanner import load_profile
from bagscan.simulate.assembly import OUTSIDE, Builder
from bagscan.simulate.concealment import Concealed
from bagscan.simulate.raster import Silhouette
from bagscan.simulate.staging import (
    NOT_SHOWN,
    Shown,
    can_be_seen,
    compute_visibility,
    pixel_mm,
    stage,
    usual_poses,
)


def box(material, size, at=(0, 0, 0)):
    b = Builder(np.random.default_rng(0))
    with b.part("box"):
        b.box(material, size, at)
    return b.build()


def test_a_change_is_the_median_over_the_silhouette():
    clean, edited = np.full((2, 40, 60), 0.5, np.float32), np.full((2, 40, 60), 0.5, np.float32)
    edited[0, 10:20, 20:40] = 0.25
    found = compute_visibility(
        clean, edited, Silhouette(10, 20, np.ones((10, 20), bool)), (1.0, 2.0)
    )
    assert found.area_mm2 == 400
    assert found.change == pytest.approx(np.log(2), rel=1e-4)
    assert found.spread == pytest.approx(0, abs=1e-6)
    assert found.visible
    assert (
        compute_visibility(clean, edited, Silhouette(0, 0, np.zeros((0, 0), bool)), (1, 1))
        is NOT_SHOWN
    )


@pytest.mark.parametrize(
    ("area", "change", "visible"), [(150, 0.08, True), (149, 1.0, False), (1e4, 0.079, False)]
)
def test_visible_is_large_enough_and_changes_enough(area, change, visible):
    assert Shown(area, change, 0.1).visible == visible


def test_standing_out_is_change_over_spread():
    assert Shown(200, 0.4, 0.2).standing_out == pytest.approx(2)


def test_a_pixel_is_smaller_nearer_to_the_source():
    profile = load_profile("g640")
    view = profile.views[0]
    low, high = (pixel_mm(view, 1.0, np.array([320.0, 0, z])) for z in (10, 300))
    assert low[0] == high[0] == 1.0
    assert 0.6 < low[1] < high[1] < 1.575


def hidden(device, anomaly):
    return Concealed(device, anomaly, OUTSIDE, "metal_plate", "taped_outside")


def test_a_steel_plate_is_seen_and_a_film_is_not():
    device = box("abs", (150, 100, 40))
    poses = usual_poses("phone")
    assert can_be_seen(
        device, hidden(device, box("stainless_steel", (60, 40, 1), (0, 0, 21))), poses
    )
    assert not can_be_seen(
        device, hidden(device, box("polyethylene", (60, 40, 0.1), (0, 0, 21))), poses
    )
    assert not can_be_seen(
        device, hidden(device, box("stainless_steel", (5, 5, 5), (0, 0, 23))), poses
    ), "too small"


def test_devices_have_two_poses_and_some_lie_on_their_side():
    for name in ("phone", "toaster"):
        first, second = usual_poses(name)
        assert np.array_equal(first, np.eye(3))
        assert not np.allclose(second, first)
    assert np.allclose(usual_poses("phone")[1][2], [0, 0, 1])
    assert not np.allclose(usual_poses("toaster")[1][2], [0, 0, 1])


def test_taping_outside_is_the_last_resort():
    """A solid block has no space inside: an item can only be taped to it, and is still found."""
    device = box("abs", (200, 150, 60))
    ways = ("cavity_insert", "between_layers", "taped_outside")
    found = [
        stage(device, usual_poses("phone"), ("metal_plate",), ways, np.random.default_rng(seed))
        for seed in range(3)
    ]
    assert {f.way for f in found if f} == {"taped_outside"}
    assert (
        stage(device, usual_poses("phone"), ("metal_plate",), ways[:2], np.random.default_rng(0))
        is None
    )
