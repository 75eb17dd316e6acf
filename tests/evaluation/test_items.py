"""Items, scans and strata against answers worked out by hand; calibration guarantees."""

import numpy as np
import pytest

from bagscan.core.about import About
from bagscan.core.calibrated import log_odds, platt
from bagscan.core.errors import DataError
from bagscan.evaluation.calibration import conformal_point, fit_platt, reliability
from bagscan.evaluation.items import evaluate_items, fuse_views
from bagscan.evaluation.within_bag import ScoredView, segment_arrays, view_arrays


def item(name: str, scan: str, view: str, anomalous: bool, score: float, **about) -> ScoredView:
    """Three segments, the last of them left out."""
    scores, overlap = (
        np.array([score, score / 2, 0.99]),
        np.array([[1.0], [0], [0]])[:, : int(anomalous)],
    )
    return ScoredView(
        scores,
        scores,
        overlap,
        overlap.max(1, initial=0),
        np.full(3, 9),
        np.array([True, True, False]),
        ("gun",) * anomalous,
        name,
        scan,
        view,
        About(**about),
    )


ITEMS = [
    item(
        "a1",
        "a",
        "below",
        True,
        0.9,
        stratum="above 500",
        layout="x/1",
        ambiguous=False,
        look_alike=False,
    ),
    item(
        "a2", "a", "side", True, 0.2, stratum="5-50", layout="x/1", ambiguous=True, look_alike=False
    ),
    item("a3", "a", "below", False, 0.1, layout="x/2", ambiguous=False, look_alike=False),
    item("b1", "b", "below", False, 0.3, layout="x/2", ambiguous=False, look_alike=True),
    item("b2", "b", "side", False, 0.6, layout="x/2", ambiguous=True, look_alike=True),
]


def test_items_segments_and_scans_by_hand():
    truth, _scores, scans = view_arrays(ITEMS)
    assert truth.tolist() == [1, 1, 0, 0, 0]
    assert scans.tolist() == [0, 0, 0, 1, 1]
    segments, _, number = segment_arrays(ITEMS)
    assert segments.sum() == 2
    assert len(segments) == len(number) == 10  # the third of every item is left out
    assert [v.tolist() for v in fuse_views(ITEMS)] == [[1, 0], [0.9, 0.6]]
    assert fuse_views(ITEMS, "mean")[1].tolist() == pytest.approx([0.55, 0.45])
    assert fuse_views(ITEMS, views=["side"])[1].tolist() == [0.2, 0.6]


def test_tables_show_every_stratum_and_group():
    found = evaluate_items(ITEMS, 0.5)
    assert found["per_item"]["tp_percent"] == 50
    assert found["per_item"]["fp_percent"] == pytest.approx(100 / 3)
    assert found["strata"]["above 500"]["tp"]["percent"] == 100
    assert found["strata"]["5-50"]["tp"]["percent"] == 0
    assert found["strata"]["below 5"]["tp"]["n"] == 0
    assert found["groups"]["bags with look-alikes"]["fp"]["percent"] == 50
    assert found["views"] == {
        "below alone": 1.0,
        "side alone": 0.0,
        "both, maximum": 1.0,
        "both, mean": 1.0,
    }
    low, high = found["strata"]["above 500"]["tp"]["interval"]
    assert (low, high) == pytest.approx((2.5, 100), abs=0.1)  # 1 of 1: Clopper-Pearson


def test_a_scan_is_anomalous_where_its_bag_is_whether_or_not_an_item_shows_it():
    items = [
        item("a", "a", "below", True, 0.9, holds=True),
        item("b", "b", "below", False, 0.3, holds=True),
        item("d", "d", "below", False, 0.4, holds=False),
    ]
    assert [v.tolist() for v in fuse_views(items)] == [[1, 1, 0], [0.9, 0.3, 0.4]]


def test_platt_brings_overconfident_scores_back_and_keeps_their_order():
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 1.5, 4000)
    truth = (rng.random(4000) < 1 / (1 + np.exp(-logit))).astype(int)
    scores = 1 / (1 + np.exp(-(3 * logit + 1)))  # logits three times too large, and shifted
    parameters = fit_platt(truth, scores)
    assert parameters[0] == pytest.approx(1 / 3, abs=0.05)
    before, after = (
        reliability(truth, scores)["ece"],
        reliability(truth, platt(scores, parameters))["ece"],
    )
    assert after < 0.03 < before
    assert (np.argsort(platt(scores, parameters)) == np.argsort(log_odds(scores))).all()
    assert fit_platt(np.zeros(5, int), np.ones(5)) == (1, 0)
    assert fit_platt(1 - truth, scores) == (1, 0), "calibration must not turn an order round"


@pytest.mark.parametrize(("n", "rate"), [(19, 0.1), (60, 0.05), (200, 0.2)])
def test_conformal_threshold_holds_its_rate_for_new_scans(n, rate):
    rng = np.random.default_rng(1)
    false, expected = [], 0.0
    for _ in range(3000):
        point = conformal_point(rng.gamma(2, 1, n), rate, "val", "scan")
        false.append(rng.gamma(2, 1) >= point.threshold)
        expected = point.expected_fpr
        assert point.interval[0] <= expected <= point.interval[1]
    assert expected <= rate
    # 3,000 draws have a standard deviation of at most half a per cent.
    assert np.mean(false) == pytest.approx(expected, abs=0.02)


def test_conformal_refuses_what_so_few_scans_cannot_promise():
    with pytest.raises(DataError, match="at least 99"):
        conformal_point(np.arange(50.0), 0.01, "val", "scan")
    with pytest.raises(DataError, match="between 0 and 1"):
        conformal_point(np.arange(50.0), 0.0, "val", "scan")
