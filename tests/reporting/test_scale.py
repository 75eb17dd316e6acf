"""Scores on a scale with the operating point in the middle."""

import re

import numpy as np
import pytest

from bagscan.reporting.scale import GREEN, RED, chart, meter, steps_above


def bars(scores, threshold, colour):
    """(x, width) of the bars of a colour; the operating point is at 150."""
    return [
        (float(x), float(wide))
        for x, wide in re.findall(
            rf'<rect x="([-\d.]+)" y="[\d.]+" width="([\d.]+)" height="[\d.]+" fill="{colour}"',
            chart(np.array(scores), threshold),
        )
    ]


def test_a_step_is_three_times_the_odds():
    assert steps_above(np.array([0.5, 0.75, 0.9, 0.25]), 0.5) == pytest.approx([0, 1, 2, -1])
    assert steps_above(np.array([0.0, 1.0]), 0.5).tolist() == [-4, 4], "clipped"
    assert steps_above(np.array([0.9]), 0.9) == pytest.approx([0])


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.981, 1.0, 1.2])
def test_red_bars_are_parts_that_are_flagged(threshold):
    scores = [0.1, 0.3, 0.976, 0.979, 0.985, 0.999]
    red, green = bars(scores, threshold, RED), bars(scores, threshold, GREEN)
    assert bool(red) == any(s >= threshold for s in scores)
    assert bool(green) == any(s < threshold for s in scores)


def test_bars_lie_on_their_side_of_the_middle():
    scores = [0.1, 0.4, 0.6, 0.999]
    assert all(x + wide <= 150 for x, wide in bars(scores, 0.5, GREEN))
    assert all(x >= 150 for x, _ in bars(scores, 0.5, RED))


def test_a_meter_goes_from_the_middle_to_the_score():
    left, wide = (
        float(v)
        for v in re.search(r'<rect x="([\d.]+)" y="4" width="([\d.]+)"', meter(0.9, 0.5)).groups()
    )
    assert (left, left + wide) == pytest.approx((75, 75 + 75 * 2 / 4), abs=0.1)
    assert RED in meter(0.5, 0.5)
    assert GREEN in meter(0.49, 0.5)
