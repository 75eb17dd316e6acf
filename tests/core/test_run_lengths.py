"""Masks as run lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagscan.core import Annotation, RunLengths


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_pixels_come_back(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    runs = RunLengths.of(mask)
    assert np.array_equal(runs.pixels(), mask)
    assert runs.area == mask.sum()
    assert runs.shape == mask.shape
    assert runs == RunLengths.of(mask.copy())


def test_the_first_run_is_off_and_goes_down_the_columns():
    mask = np.zeros((3, 2), bool)
    mask[1:, 0] = True
    assert RunLengths.of(mask).runs.tolist() == [1, 2, 3]
    mask[0, 0] = True
    assert RunLengths.of(mask).runs.tolist() == [0, 3, 3]


def test_a_large_mask_of_one_thing_is_small():
    mask = np.zeros((2000, 2000), bool)
    mask[500:1500, 500:1500] = True
    assert len(RunLengths.of(mask).packed) < 10_000


def test_runs_must_make_up_the_picture():
    with pytest.raises(ValueError, match="9 pixels"):
        RunLengths.of_runs([4, 5], 2, 5)


def test_an_annotation_of_a_mask_lies_in_the_box_around_it():
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3] = True
    marked = Annotation.of_mask("knife", mask)
    assert marked.box_xyxy == (3, 2, 4, 5)
    assert np.array_equal(marked.region(8, 9), mask)
