"""Flagged regions that touch form one place, and none is lost."""

import numpy as np

from bagscan.core import Decision, Finding, Reason, ReasonCode, Report
from bagscan.reporting.places import places_of


def finding(view_id, rows, columns, score):
    mask = np.zeros((60, 80), bool)
    mask[slice(*rows), slice(*columns)] = True
    box = (float(columns[0]), float(rows[0]), float(columns[1]), float(rows[1]))
    return Finding(view_id, mask, np.zeros((4, 2)), box, "anomaly", score, None, "superpixel")


def report(*findings):
    found = tuple(sorted(findings, key=lambda one: -one.score))
    return Report("bag", Decision.ALARM, found, "model", 0.5)


def test_regions_side_by_side_are_one_place_with_the_highest_score():
    left, right, apart = (
        finding("below", (10, 20), (10, 20), 0.6),
        finding("below", (10, 20), (20, 40), 0.9),
        finding("below", (40, 50), (60, 70), 0.7),
    )
    first, second = places_of(report(left, right, apart))
    assert (first.score, first.regions, first.box_xyxy) == (0.9, 2, (10.0, 10.0, 40.0, 20.0))
    assert np.array_equal(first.mask, left.mask | right.mask)
    assert (second.score, second.regions) == (0.7, 1)


def test_what_lies_in_another_view_is_another_place():
    found = places_of(
        report(finding("below", (10, 20), (10, 20), 0.6), finding("side", (10, 20), (10, 20), 0.8))
    )
    assert [(place.view_id, place.score) for place in found] == [("side", 0.8), ("below", 0.6)]


def test_every_flagged_pixel_belongs_to_one_place():
    rng = np.random.default_rng(0)
    findings = [
        finding("below", (r, r + 5), (c, c + 6), float(s))
        for r, c, s in zip(
            rng.integers(0, 55, 12), rng.integers(0, 74, 12), rng.random(12), strict=True
        )
    ]
    found = places_of(report(*findings))
    assert np.array_equal(
        np.sum([place.mask for place in found], 0),
        np.logical_or.reduce([one.mask for one in findings]),
    )
    assert sum(place.regions for place in found) == len(findings)


def test_nothing_flagged_is_no_place():
    assert (
        places_of(
            Report(
                "bag", Decision.REVIEW, (), "model", reasons=(Reason(ReasonCode.BLANK, "blank"),)
            )
        )
        == []
    )
