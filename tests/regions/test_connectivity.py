"""Merging by similarity: connected regions of bounded size and of the requested number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from bagscan.regions.connectivity import enforce_connectivity


def every_region_is_connected(labels):
    return all(label(labels == k, connectivity=1).max() == 1 for k in range(labels.max() + 1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40), st.sampled_from([(1, 3600), (20, 400), (40, 90)]))
def test_any_labels_become_connected_regions_within_the_limits(seed, n_regions, limits):
    rng = np.random.default_rng(seed)
    ragged = (rng.random((60, 60)) > 0.7).astype(int) + 2 * (np.arange(60) // 20)[:, None]
    labels = enforce_connectivity(ragged, rng.random((2, 60, 60)), n_regions, *limits)
    sizes = np.bincount(labels.ravel())
    assert sizes.min() >= limits[0]
    assert np.array_equal(np.unique(labels), np.arange(len(sizes)))
    assert every_region_is_connected(labels)
    if limits[1] == 3600:  # nothing prevents the requested count
        assert len(sizes) == min(n_regions, label(ragged, connectivity=1, background=-1).max())


def test_one_flat_piece_is_split_below_the_limit():
    labels = enforce_connectivity(np.zeros((40, 40), int), np.zeros((1, 40, 40)), 100, 10, 500)
    assert np.bincount(labels.ravel()).max() <= 500


def test_like_joins_like_and_not_the_longest_border():
    """A sliver like the left half lies inside the right half and touches both halves."""
    kind = np.zeros((20, 20))
    kind[:, 10:] = 1
    kind[8:12, 10:12] = 0  # borders the right half on three sides, the left half on one
    labels = (np.arange(20) >= 10).astype(int)[None].repeat(20, 0)
    labels[8:12, 10:12] = 2
    joined = enforce_connectivity(labels, kind[None], 2, 20, 400)
    assert np.array_equal(joined == joined[0, 0], kind == 0)


def test_the_cheapest_union_comes_first():
    """Four strips of 0, 1, 5, 5.5: three regions join the last two, two also join the first two."""
    labels = np.repeat(np.arange(4), 10)[None].repeat(10, 0)
    values = np.array([0.0, 1.0, 5.0, 5.5])[labels]
    three = enforce_connectivity(labels, values[None], 3, 1, 400)
    assert [three[0, c] for c in (0, 10, 20, 30)] == [0, 1, 2, 2]
    two = enforce_connectivity(labels, values[None], 2, 1, 400)
    assert [two[0, c] for c in (0, 10, 20, 30)] == [0, 0, 1, 1]


def test_the_limit_of_size_is_kept_above_the_count():
    labels = np.repeat(np.arange(4), 10)[None].repeat(10, 0)
    assert enforce_connectivity(labels, np.zeros((1, 10, 40)), 1, 1, 250).max() + 1 == 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (5, 3)])
def test_images_of_a_few_pixels(shape):
    labels = enforce_connectivity(np.zeros(shape, int), np.zeros((1, *shape)), 4, 1, 100)
    assert labels.shape == shape
    assert labels.max() == 0
