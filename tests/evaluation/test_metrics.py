"""Metrics at values known from elsewhere, and their behaviour at the edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from bagscan.core.errors import DataError
from bagscan.evaluation.metrics import (
    Confusion,
    Ranked,
    auroc,
    average_precision,
    bootstrap_groups,
    bootstrap_mean,
    fpr_at_tpr,
    score_table,
)
from bagscan.evaluation.operating_point import choose_operating_point


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=60))
def test_auroc_and_ap_match_scikit_learn_with_ties(rows):
    truth, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], float)
    if truth.all() or not truth.any():
        assert np.isnan(auroc(truth, scores))
        return
    assert auroc(truth, scores) == pytest.approx(reference.roc_auc_score(truth, scores))
    assert average_precision(truth, scores) == pytest.approx(
        reference.average_precision_score(truth, scores)
    )


def test_metrics_do_not_change_with_the_scale_of_scores():
    rng = np.random.default_rng(0)
    truth, scores = rng.random(200) > 0.6, rng.random(200)
    for metric in (auroc, average_precision, lambda t, s: fpr_at_tpr(t, s, 0.95)):
        assert metric(truth, scores) == pytest.approx(metric(truth, np.exp(5 * scores)))


def test_confusion_counts_a_score_at_the_threshold_as_called():
    c = Confusion.at(np.array([1, 1, 0, 0]), np.array([0.5, 0.4, 0.5, 0.1]), 0.5)
    assert (c.tp, c.fn, c.fp, c.tn) == (1, 1, 1, 1)
    assert (c.tp_percent, c.fp_percent, c.accuracy, c.f1) == (50, 50, 0.5, 0.5)


def test_fpr_at_tpr_by_hand():
    truth, scores = np.array([1, 0, 1, 0, 0]), np.array([5, 4, 3, 2, 1.0])
    assert fpr_at_tpr(truth, scores, 0.5) == 0
    assert fpr_at_tpr(truth, scores, 0.95) == pytest.approx(1 / 3)


def test_undefined_is_nan_never_a_number():
    assert np.isnan(Confusion(0, 0, 5, 0).precision)
    with pytest.raises(ValueError, match="NaN"):
        auroc(np.array([0, 1]), np.array([0, np.nan]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40),
    st.integers(0, 6),
)
def test_ranked_with_every_group_once_is_the_plain_metric(rows, threshold):
    truth, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], float)
    found = Ranked(truth, scores, np.arange(len(rows))).measure(np.ones(len(rows)), threshold)
    confusion = Confusion.at(truth, scores, threshold)
    expected = {
        "auroc": auroc(truth, scores),
        "average_precision": average_precision(truth, scores),
    }
    expected |= {"tp_percent": confusion.tp_percent, "fp_percent": confusion.fp_percent}
    expected |= {f"fpr_at_{int(100 * t)}_tpr": fpr_at_tpr(truth, scores, t) for t in (0.95, 0.99)}
    assert found == pytest.approx(expected, nan_ok=True)


def test_ranked_weights_are_repetitions():
    truth, scores, groups = (
        np.array([1, 0, 0, 1]),
        np.array([0.9, 0.8, 0.2, 0.1]),
        np.array([0, 0, 1, 1]),
    )
    twice = np.array([0, 1, 0, 1, 2, 3])
    found = Ranked(truth, scores, groups).measure(np.array([2, 1]), 0.5)
    assert found["auroc"] == pytest.approx(auroc(truth[twice], scores[twice]))
    assert found["average_precision"] == pytest.approx(
        average_precision(truth[twice], scores[twice])
    )


def test_intervals_cover_the_value_and_widen_when_rows_come_in_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 20)
    truth = rng.random(600) > 0.5
    scores = truth * rng.normal(1, 1, 30)[groups] + rng.normal(0, 0.5, 600)
    alone, grouped = (
        bootstrap_groups(Ranked(truth, scores, g), 0.5)["auroc"] for g in (np.arange(600), groups)
    )
    assert alone[0] < auroc(truth, scores) < alone[1]
    assert grouped[1] - grouped[0] > 1.5 * (alone[1] - alone[0])
    low, high = bootstrap_mean(np.append(scores, np.nan))
    assert low < scores.mean() < high


def test_operating_point_keeps_its_promise_even_with_ties():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 50, 1000) / 50
    truth = (rng.random(1000) > 0.9).astype(int)
    point = choose_operating_point(truth, scores, 0.05, "val")
    benign = scores[truth == 0]
    assert (benign >= point.threshold).mean() == pytest.approx(point.expected_fpr)
    assert point.expected_fpr <= 0.05
    assert point.interval[0] <= point.expected_fpr <= point.interval[1]
    assert (benign >= point.threshold - 1 / 50).mean() > 0.05  # one step lower would break it


def test_operating_point_refuses_too_few_scores():
    with pytest.raises(DataError, match="too few"):
        choose_operating_point(np.zeros(10), np.arange(10.0), 0.01, "val")
    with pytest.raises(DataError, match="no benign"):
        choose_operating_point(np.ones(10), np.arange(10.0), 0.5, "val")


def test_score_table_of_a_perfect_classifier():
    truth = np.array([0] * 50 + [1] * 50)
    table = score_table(truth, truth.astype(float), 0.5)
    assert (table["tp_percent"], table["fp_percent"], table["auroc"], table["fpr_at_99_tpr"]) == (
        100,
        0,
        1,
        0,
    )
    assert table["intervals"]["auroc"] == [1, 1]


def test_copies_of_a_scan_tell_nothing_new():
    """Two views of every scan with equal values: the interval is not narrower than of scans."""
    values = np.random.default_rng(0).random(40)
    one, both = (
        bootstrap_mean(values),
        bootstrap_mean(np.repeat(values, 2), np.repeat(np.arange(40), 2)),
    )
    assert both == pytest.approx(one)
    apart = bootstrap_mean(np.repeat(values, 2))
    assert apart[1] - apart[0] < 0.85 * (one[1] - one[0])
