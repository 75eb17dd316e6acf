"""Network inputs: features of known values, and crops that agree with their view."""

import numpy as np
import pytest

from bagscan.datasets.packed import EMPTY, PackedView
from bagscan.detector.features import (
    COLOUR_SCALE,
    HIGH_SCALE,
    LOW_SCALE,
    RATIO_OF_AIR,
    RATIO_SCALE,
    Z_SCALE,
    features,
    features_of,
    recolour,
)
from bagscan.detector.sampling import AIR_COUNTS, Pose, cut, draw_pose, whole_view
from bagscan.formats import read_scan


def test_air_is_nothing_and_known_depths_are_themselves():
    full = np.full((4, 5), 1.0, np.float32)
    assert np.allclose(features(full, full, 0 * full), 0)
    found = features(np.float32(np.exp(-1.0)) * full, np.float32(np.exp(-0.5)) * full, 12 * full)[
        :, 0, 0
    ]
    assert found == pytest.approx(
        [LOW_SCALE, 0.5 * HIGH_SCALE, (2.0 - RATIO_OF_AIR) * RATIO_SCALE, 12 * Z_SCALE],
        rel=1e-5,
    )


def test_a_scanner_that_clips_air_shows_the_same():
    rng = np.random.default_rng(0)
    low, high = (1 + rng.normal(0, 0.01, (20, 30)).astype(np.float32) for _ in range(2))
    zeff = np.zeros_like(low)
    assert np.array_equal(
        features(low, high, zeff), features(low.clip(max=1), high.clip(max=1), zeff)
    )


@pytest.fixture
def view():
    """A plastic block; the anomalous scan has a plate (category 1) on device 0 (category 0)."""
    pixels = np.full((3, 128, 192), AIR_COUNTS, np.uint16)
    pixels[2] = 0
    pixels[:2, 30:100, 40:150] = (np.array([0.5, 0.6]) * AIR_COUNTS)[:, None, None]
    patch = pixels[:, 40:80, 60:110].copy()
    patch[:2, 10:30, 10:40] = (np.array([0.1, 0.2]) * AIR_COUNTS)[:, None, None]
    patch[2, 10:30, 10:40] = 26000
    labels = np.zeros((2, 64, 96), np.uint16)
    labels[:, 15:50, 20:75] = 1
    labels[1, 25:35, 35:50] = 2
    sets = np.full((3, 24), EMPTY, np.uint8)
    sets[1, :2] = (0, 112)
    sets[2, :3] = (0, 1, 112)
    points = np.argwhere(labels[1] == 2).astype(np.uint16)
    return PackedView(
        "below",
        pixels,
        patch,
        (40, 60),
        labels,
        sets,
        points,
        (np.argwhere(labels[0] == 1).astype(np.uint16),),
        ("phone",),
        0,
        {},
    )


def test_a_whole_view_is_the_view(view):
    found, counts = whole_view(view, anomalous=False)
    assert found.shape == (4, 128, 192)
    expected = features(
        *(view.pixels[:2] / np.float32(AIR_COUNTS)).astype(np.float32),
        np.zeros(view.pixels.shape[1:], np.float32),
    )
    assert np.abs(found[:, 1:-1, 1:-1] - expected[:, 1:-1, 1:-1]).max() < 2e-3
    assert counts.shape == (128, 16, 24)
    assert counts[0].sum() == pytest.approx((view.labels[0] == 1).sum(), rel=0.02)
    assert counts[1].sum() == 0


def test_twins_agree_outside_of_the_patch_and_show_the_anomaly_inside(view):
    (without, _), (with_it, counts) = (whole_view(view, anomalous) for anomalous in (False, True))
    differs = (without != with_it).any(0)
    assert differs[50:70, 70:100].all()
    differs[40:80, 60:110] = False
    assert not differs.any()
    assert with_it[3, 60, 85] == pytest.approx(26 * Z_SCALE, rel=1e-3)
    rows, columns = np.nonzero(counts[1])
    assert (rows.min() * 8, (rows.max() + 1) * 8) == (48, 72)
    assert (columns.min() * 8, (columns.max() + 1) * 8) == (64, 104)


def test_a_turned_crop_carries_its_labels_along(view):
    rng = np.random.default_rng(3)
    out, counts = np.empty((4, 128, 128), np.float32), np.empty((128, 16, 16), np.uint8)
    for _ in range(20):
        pose = draw_pose(
            view.anomaly_points[int(rng.integers(len(view.anomaly_points)))] * 2.0,
            128,
            rng,
            0.1,
            0.2,
        )
        cut(view, True, pose, out, counts)
        dark = out[0].reshape(16, 8, 16, 8).mean((1, 3)) > LOW_SCALE * 1.4
        marked = counts[1] >= 12
        assert marked.any()
        assert (dark & marked).sum() >= 0.9 * marked.sum()
        assert not (counts[1] > counts[0]).any()


def test_what_lies_beside_the_view_is_air(view):
    out, counts = np.ones((4, 64, 64), np.float32), np.ones((128, 8, 8), np.uint8)
    cut(view, True, Pose(np.array([[1.0, 0, 500], [0, 1.0, 500]]), (1.0, 1.0)), out, counts)
    assert not out.any()
    assert not counts.any()


def test_colours_made_of_a_raw_picture_are_those_of_its_scan(simulated_root):
    """A colour detector trains on crops coloured by bagscan, and is used on scanner colours."""
    path = sorted((simulated_root / "raw").glob("*_below.tif"))[0]
    raw = features_of(read_scan(path).views[0])
    seen = features_of(read_scan(simulated_root / "colour" / f"{path.stem}.png").views[0])
    made = recolour(raw)
    assert made.shape == seen.shape
    assert made.min() >= 0
    assert made.max() <= COLOUR_SCALE
    dark = seen.max(0) > 0.2
    assert np.abs(made - seen)[:, dark].mean() < 0.08
    assert np.abs(made - seen)[:, ~dark].mean() < 0.05
