"""What the report shows must be what was decided."""

import re

import numpy as np
import pytest

from bagscan.core import View
from bagscan.reporting.html import _free_spot, _histogram, displayable


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


def test_raw_scans_are_shown_in_the_colours_that_operators_know():
    low, high, zeff = (np.full((60, 60), value, np.float32) for value in (1.0, 1.0, 0.0))
    for rows, values in ((np.s_[:20], (0.4, 0.5, 7.0)), (np.s_[40:], (0.1, 0.3, 26.0))):
        for plane, value in zip((low, high, zeff), values, strict=True):
            plane[rows] = value
    picture = displayable(View(np.stack([low, high, zeff]), ("low", "high", "zeff"), "dual_energy", bit_depth=16)).astype(int)
    plastic, air, metal = picture[10, 30], picture[30, 30], picture[50, 30]
    assert plastic[0] > plastic[1] > plastic[2], "orange"
    assert air.min() > 250
    assert metal[2] > metal[0] + 50, "blue"


def test_channels_without_effective_z_are_grey():
    view = View(np.linspace(0, 1, 200, dtype=np.float32).reshape(2, 10, 10), ("low", "high"), "dual_energy", bit_depth=16)
    assert np.ptp(displayable(view), -1).max() == 0


def test_a_logarithm_is_drawn_as_what_passes():
    passes = np.linspace(0.01, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    plain, of_logarithm = (displayable(View(pixels, ("low",), quantity)).astype(int) for pixels, quantity in ((passes, "transmission"), (-np.log(passes), "log_attenuation")))
    assert np.abs(plain - of_logarithm).max() <= 1


def test_numbers_of_rings_on_one_spot_stand_apart_and_within_the_picture():
    for centre in ((100.0, 80.0), (2.0, 2.0), (198.0, 158.0)):
        taken: list[tuple[float, float]] = []
        for _ in range(4):
            taken.append(_free_spot(centre, 20.0, (160, 200), 6.0, taken))
        assert all(6 <= x <= 194 and 6 <= y <= 154 for x, y in taken)
        assert min(np.hypot(a[0] - b[0], a[1] - b[1]) for i, a in enumerate(taken) for b in taken[:i]) >= 6
    assert _free_spot((100.0, 80.0), 20.0, (160, 200), 6.0, [(0.0, 0.0)]) == pytest.approx((100 + 20 / 2**0.5, 80 - 20 / 2**0.5)), "upper right where it is free"
