"""Scanners that clip air at full scale get the verdicts of those that keep the noise above it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from bagscan.core import Scan, View
from bagscan.formats.scans import VIEWS, find_scans, group_views, read_views
from bagscan.model_folder import SHIPPED
from bagscan.screening import Screener
from bagscan.simulate.dataset import simulate
from bagscan.simulate.recipe import Recipe

BAGS = 100


def clipped(view: View) -> View:
    """A view with transmissions clipped at that of air."""
    pixels = np.array(view.pixels)
    light = [i for i, name in enumerate(view.channels) if name != "zeff"]
    pixels[light] = np.minimum(pixels[light], 1.0)
    return replace(view, pixels=pixels)


@pytest.mark.weekly
def test_clipping_air_changes_no_verdict(tmp_path):
    recipe = Recipe(
        devices=("laptop", "phone", "radio"),
        count=BAGS,
        seed=11,
        profile="g640_coarse",
        items=(1, 6),
    )
    simulate(recipe, tmp_path / "set")
    screener, differ, above, apart = Screener.load(SHIPPED / "raw"), [], 0, 0.0
    bags = group_views(find_scans([tmp_path / "set" / "raw"]), VIEWS)
    assert len(bags) == BAGS
    decisions = Counter()
    for files in bags:
        scan, _ = read_views(files)
        above += sum(int((view.pixels[:2] > 1).sum()) for view in scan.views)
        views = tuple(map(clipped, scan.views))
        whole = screener.screen(scan)
        cut = screener.screen(Scan(scan.id, views, scan.scanner, scan.provenance))
        decisions[whole.decision.value] += 1
        tops = [max(v.max(initial=0.0) for v in one.scores.values()) for one in (whole, cut)]
        apart = max(apart, abs(float(tops[0] - tops[1])))
        codes = [[reason.code for reason in one.reasons] for one in (whole, cut)]
        if (whole.decision, codes[0]) != (cut.decision, codes[1]):
            differ.append((scan.id, whole.decision, cut.decision, codes))
    assert above > 1000 * BAGS, "there is noise above air to be clipped"
    assert len(decisions) > 1, "there are verdicts to be changed"
    print(f"highest scores differ by up to {apart:.4f}; verdicts: {dict(decisions)}")
    assert differ == []
