"""Cords that lie as they fell keep their length, bend as cords do and stay together."""

import numpy as np
import pytest

from bagscan.simulate.cords import winding_path


@pytest.mark.parametrize("spread_mm", [30, 90])
def test_a_loose_cord_bends_smoothly_and_stays_together(spread_mm):
    reach = []
    for seed in range(8):
        path = winding_path(np.random.default_rng(seed), 1200, spread_mm, step_mm=5)
        steps = np.diff(path[:, :2], axis=0)
        assert np.hypot(*steps.T) == pytest.approx(5)
        assert len(steps) == 240
        turn = np.angle(np.exp(1j * np.diff(np.arctan2(steps[:, 1], steps[:, 0]))))
        assert np.abs(turn).max() <= 0.5 + 1e-9  # a bend of 10 mm
        assert (np.diff(path[:, 2]) > 0).all()  # later parts lie above
        reach.append(np.hypot(*path[:, :2].T).max())
    assert max(reach) < 100 + 2 * spread_mm  # an eighth of its length, or a fourth
    assert len({round(r) for r in reach}) > 4  # no two cords are alike
