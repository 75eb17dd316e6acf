"""Superpixel features: equal for arrays and tensors, and equal to those of libraries."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch.nn import functional as F

from bagscan.regions import instances
from bagscan.regions.pixel_features import COLOUR_SCALE, average_pool, colour_features, rgb_to_lab


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(12, 24), (13, 25), (7, 5)])
def test_average_pool_is_that_of_torch_and_cut_windows_average_what_is_there(stride, size):
    pixels = np.random.default_rng(0).random((2, 3, *size), np.float32)
    expected = F.avg_pool2d(
        torch.from_numpy(pixels), stride, ceil_mode=True, count_include_pad=False
    ).numpy()
    np.testing.assert_allclose(average_pool(pixels, stride), expected, atol=1e-6)
    np.testing.assert_allclose(
        average_pool(torch.from_numpy(pixels), stride).numpy(), expected, atol=1e-6
    )
    np.testing.assert_array_equal(
        pixels, np.random.default_rng(0).random((2, 3, *size), np.float32)
    )


def test_lab_is_that_of_scikit_image():
    rgb = np.random.default_rng(0).random((1, 3, 20, 30), np.float32)
    np.testing.assert_allclose(
        rgb_to_lab(rgb)[0].transpose(1, 2, 0), rgb2lab(rgb[0].transpose(1, 2, 0)), atol=0.05
    )


@pytest.mark.parametrize(
    ("quantity", "channels"),
    [
        ("pseudo_colour", ("red", "green", "blue")),
        ("dual_energy", ("low", "high", "zeff")),
        ("transmission", ("high",)),
    ],
)
def test_arrays_and_tensors_have_the_same_features(quantity, channels):
    pixels = np.random.default_rng(1).random((2, len(channels), 41, 37), np.float32) * (
        20 if "zeff" in channels else 1
    )
    by_array = colour_features(pixels, quantity, channels)
    assert by_array.dtype == np.float32
    np.testing.assert_allclose(
        by_array, colour_features(torch.from_numpy(pixels), quantity, channels).numpy(), atol=2e-4
    )
    assert by_array.min() >= -50
    assert by_array.max() <= 130 * COLOUR_SCALE


def test_percentiles_are_those_of_numpy():
    pixels = np.random.default_rng(2).random((1, 1, 30, 40), np.float32) * 20
    low, high = np.quantile(pixels, [0.01, 0.99])
    expected = np.clip((pixels - low) / (high - low), 0, 1) * 100 * COLOUR_SCALE
    np.testing.assert_allclose(
        colour_features(pixels, "dual_energy", ("zeff",)), expected, atol=1e-3
    )


def test_detector_sees_arrays_and_tensors_alike():
    pixels = np.random.default_rng(3).random((1, 3, 21, 34), np.float32)
    by_array = instances.prepare(pixels, ("low", "high", "zeff"), 4)
    assert by_array.shape == (1, 3, 6, 9)
    np.testing.assert_allclose(
        by_array,
        instances.prepare(torch.from_numpy(pixels), ("low", "high", "zeff"), 4).numpy(),
        atol=1e-5,
    )


def test_masks_grow_by_so_many_steps_and_stay_in_the_view():
    from scipy.ndimage import binary_dilation

    mask = np.zeros((30, 40), bool)
    mask[0:3, 5:9], mask[20:22, 37:40] = True, True
    found = [{"mask": mask, "score": 0.9}, {"mask": mask, "score": 0.1}]
    regions = instances.item_regions(found, instances.Config(widen_px=4), 30, 40)
    assert regions.n == 1
    np.testing.assert_array_equal(regions.labels[0], binary_dilation(mask, iterations=4))
    assert instances.item_regions([], instances.Config(), 30, 40).labels.shape == (0, 30, 40)
