"""Sentences agree with the figures beside them."""

import re

import pytest

from bagscan.evaluation.meaning import (
    MIN_EXAMPLES,
    describe_operating_point,
    of_detector,
    summarise_levels,
    summarise_screening,
    warn_few_examples,
    warn_no_better,
)


def test_few_examples_are_warned_of_by_class():
    assert (
        warn_few_examples({"benign scans": MIN_EXAMPLES, "anomalous scans": MIN_EXAMPLES - 1}) != []
    )
    assert (
        "anomalous scans"
        in warn_few_examples({"benign scans": MIN_EXAMPLES, "anomalous scans": MIN_EXAMPLES - 1})[0]
    )
    assert warn_few_examples({"benign scans": MIN_EXAMPLES, "anomalous scans": MIN_EXAMPLES}) == []


@pytest.mark.parametrize(
    ("model", "control", "warned"),
    [
        (0.9, 0.6, False),
        (0.6, 0.6, True),
        (0.44, None, True),
        (0.55, None, False),
        (0.45, 0.3, True),
        (0.55, 0.3, False),
        (None, 0.6, False),
        (float("nan"), 0.6, False),
    ],
)
def test_a_model_no_better_than_its_control_or_chance_is_warned_of(model, control, warned):
    """A control below chance does not lower the bar: chance is the floor then."""
    assert bool(warn_no_better("scans", model, control, "image statistics")) is warned


def test_an_operating_point_is_told_in_per_cent():
    text = describe_operating_point(
        {
            "threshold": 0.525,
            "expected_fpr": 0.05,
            "interval": (0.01, 0.2),
            "chosen_on_split": "val",
        },
        "scan",
    )
    assert {"0.5250", "5", "1", "20"} <= set(re.findall(r"[\d.]*\d", text))


def _levels(auroc, baseline):
    confusion = {"tp": 20, "fn": 40, "fp": 5, "tn": 45}
    return {
        "per_scan": {
            "confusion": confusion,
            "auroc": auroc,
            "trivial_baseline": {"auroc": baseline},
        },
        "within_bag": {"all": {"model": {"auroc": 0.8}, "darkness": {"auroc": 0.7}}},
    }


def test_results_by_scan_are_counted_and_compared_with_their_controls():
    sentence, warnings = summarise_levels(_levels(0.8, 0.6))
    assert re.findall(r"\d+", sentence) == ["20", "60", "5", "50"]
    assert warnings == []
    assert len(summarise_levels(_levels(0.58, 0.6))[1]) == 1


def test_a_detector_of_few_bags_and_chance_is_warned_of():
    figures = {
        "bags": 50,
        "anomalous": 20,
        "bag_tp": 0.5,
        "bag_fp": 0.1,
        "on_the_anomaly": 0.25,
        "device_auroc": 0.5,
        "segment_auroc": 0.8,
        "segment_darkness": 0.6,
    }
    sentence, warnings = of_detector(figures)
    assert re.findall(r"\d+", sentence) == ["50", "20", "25", "10", "30"]
    assert len(warnings) == 2


def test_what_came_of_bags_is_counted():
    result = summarise_screening({"ALARM": 2, "REVIEW": 1, "CLEAR": 9})
    assert "2 of 12" in result
    assert "1 need" in result
    assert "1 of 1 bag raises" in summarise_screening({"ALARM": 1, "REVIEW": 0, "CLEAR": 0})
