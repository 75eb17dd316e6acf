"""What the report shows must be what was decided."""

import re

import numpy as np
import pytest

from bagscan.reporting.html import _histogram


def bars(scores, threshold, colour):
    """(x, width) of the bars of a colour, in scores."""
    found = re.findall(rf'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="[\d.]+" fill="{colour}"', _histogram(np.array(scores), threshold))
    return [(float(x) / 300, float(wide) / 300) for x, wide in found]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.981, 1.0, 1.2])
def test_red_bars_are_parts_that_are_flagged(threshold):
    scores = [0.1, 0.3, 0.976, 0.979, 0.985, 0.999]
    red, green = (bars(scores, threshold, colour) for colour in ("#ff5050", "#2fbf5f"))
    assert bool(red) == any(s >= threshold for s in scores)
    assert bool(green) == any(s < threshold for s in scores)
    assert all(x + wide >= threshold for x, wide in red)
    assert all(x <= threshold for x, _ in green)


def test_a_score_at_the_threshold_is_red_and_one_below_it_green_in_the_same_bin():
    assert not bars([0.98], 0.981, "#ff5050")
    assert not bars([0.981], 0.981, "#2fbf5f")
    assert [len(bars([0.98, 0.981], 0.981, colour)) for colour in ("#ff5050", "#2fbf5f")] == [1, 1]
