"""From maps to devices, bags and scores: known answers on made-up views."""

from dataclasses import replace

import numpy as np
import pytest

from bagscan.core import Regions
from bagscan.detector.deciding import any_item, decide_regions, devices_of, region_scores
from bagscan.detector.devices import FoundDevice, find_devices, match_views
from bagscan.detector.exported import _merge_background
from bagscan.detector.inference import BagResult, ViewResult
from bagscan.detector.thresholds import Pairing, Thresholds
from bagscan.examining import ANOMALY, Examined


def square(top, left, side=6, shape=(24, 30)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def chances(*masks):
    return np.stack([np.where(mask, 0.9, 0.02) for mask in masks])


def test_devices_are_the_connected_cells_of_their_class():
    found = find_devices(chances(square(2, 2) | square(14, 20), square(2, 20)), np.zeros((24, 30)))
    assert sorted((d.category, int(d.mask.sum())) for d in found) == [(0, 36), (0, 36), (1, 36)]
    assert all(d.confidence == pytest.approx(0.9) for d in found)


def test_two_that_touch_come_apart_where_the_contact_says_so():
    both = square(2, 2, 8) | square(2, 10, 8)
    contact = np.zeros((24, 30))
    assert len(find_devices(chances(both), contact)) == 1
    contact[2:10, 9:11] = 0.9
    found = find_devices(chances(both), contact)
    assert sorted(int(d.mask.sum()) for d in found) == [64, 64], (
        "the contact's cells go back to the nearer device"
    )


def test_specks_are_no_devices_and_one_place_is_one_device():
    assert find_devices(chances(square(2, 2, 2)), np.zeros((24, 30))) == []
    twice = np.stack([np.where(square(2, 2), 0.6, 0.0), np.where(square(2, 2), 0.9, 0.0)])
    assert [d.category for d in find_devices(twice, np.zeros((24, 30)))] == [1]


def test_an_empty_view_holds_no_devices():
    assert find_devices(np.zeros((6, 24, 30)), np.zeros((24, 30))) == []
    assert match_views([], []) == []


def test_devices_are_matched_by_where_they_lie_along_the_belt():
    first = [FoundDevice(0, square(2, 2), 0.9), FoundDevice(1, square(15, 4), 0.9)]
    second = [FoundDevice(1, square(15, 20), 0.9), FoundDevice(0, square(3, 11), 0.9)]
    assert sorted(match_views(first, second)) == [(0, 1), (1, 0)]
    assert sorted(match_views(first, second[:1]), key=str) == [(0, None), (1, 0)]
    assert match_views(first[:1], second[:1]) == [(0, None), (None, 0)]


def seen(logits, region_logits, device_of, devices=None):
    devices = devices if devices is not None else [FoundDevice(0, square(2, 2), 0.9)] * len(logits)
    n = len(region_logits)
    return ViewResult(
        np.zeros((24, 30), np.float32),
        tuple(devices),
        np.array(logits, np.float32),
        Regions(np.zeros((1, 1), np.int32), n, "superpixel"),
        np.array(region_logits, np.float32),
        np.array(device_of),
        np.zeros((n, 0), np.float32),
    )


def bag_of(*views, together=None):
    return BagResult(tuple(views), together)


AT = Thresholds(slope=1.0, offset=0.0, device=2.0, outside=3.0, margin=0.5, lesser=2.0)


def test_both_views_of_a_device_are_added():
    bag = [seen([1.5], [0.0], [0]), seen([1.0], [0.0], [0])]
    assert [d.log_odds for d in devices_of(bag_of(*bag), AT)] == [pytest.approx(2.5)]
    assert [d.log_odds for d in devices_of(bag_of(bag[0]), AT)] == [pytest.approx(1.5)]


def test_a_device_that_a_single_view_shows_counts_for_less_if_views_are_judged_together():
    at = replace(AT, slope=0.5, offset=0.25, pairing=Pairing(lone=-1.0))
    views = [seen([0.0], [0.0], [0]), seen([0.0], [0.0], [0])]

    def log_odds(*numbers):
        return devices_of(bag_of(*views, together=((numbers, 4.0),)), at)[0].log_odds

    assert log_odds(0, 0) == pytest.approx(2.25)
    assert log_odds(0, None) == log_odds(None, 0) == pytest.approx(1.25)


def spot(view, row, height, outside=False):
    """The view with a spot of the map at one line of the belt, on its device or away from it."""
    anomaly = np.full((24, 30), -8.0, np.float32)
    anomaly[row, 25 if outside else 4] = height
    return replace(view, anomaly=anomaly)


def test_what_both_views_show_at_one_place_of_the_belt_counts_for_more():
    at = replace(AT, pairing=Pairing(views=0.5, place=0.25, lone=-1.0, offset=0.5))
    one, other = seen([2.0], [0.0], [0]), seen([1.0], [0.0], [0])

    def log_odds(*views):
        return devices_of(bag_of(*views), at)[0].log_odds

    same = log_odds(spot(one, 4, 3.0), spot(other, 4, 2.0))
    assert same == pytest.approx(0.5 * 3.0 + 0.25 * (3.0 + 2.0) + 0.5)
    apart = log_odds(spot(one, 4, 3.0), spot(other, 6, 2.0))
    assert apart == pytest.approx(0.5 * 3.0 + 0.25 * (3.0 - 6.0) + 0.5), (
        "what is below -6 counts as -6"
    )
    beside = log_odds(spot(one, 4, 3.0), spot(other, 4, 2.0, outside=True))
    assert beside == pytest.approx(apart)
    assert log_odds(spot(one, 4, 3.0)) == pytest.approx(0.5 * 2.0 + 0.25 * 6.0 - 1.0 + 0.5)


def test_an_alarming_device_points_at_its_best_places_alone():
    one = region_scores(bag_of(seen([3.0], [1.0, 0.8, -2.0, 5.0], [0, 0, 0, -1])), AT)[0]
    assert (one >= 0.5).tolist() == [True, True, False, True], (
        "within the margin; far behind; off any device above its own threshold"
    )
    quiet = region_scores(bag_of(seen([1.0], [1.0, 0.8, -2.0, 2.0], [0, 0, 0, -1])), AT)[0]
    assert not (quiet >= 0.5).any()
    assert quiet[0] == quiet[1] > quiet[2]


def test_a_view_pair_alarms_together_and_the_weaker_view_stays_quiet():
    strong, weak = region_scores(bag_of(seen([4.0], [1.0], [0]), seen([-1.0], [1.0], [0])), AT)
    assert strong[0] >= 0.5
    assert weak[0] < 0.5
    both = region_scores(bag_of(seen([1.5], [1.0], [0]), seen([1.0], [1.0], [0])), AT)
    assert all(scores[0] >= 0.5 for scores in both), "neither alone, but together"


def test_a_verdict_over_both_views_stands_in_place_of_their_sum():
    views = (seen([-9.0], [1.0], [0]), seen([9.0], [-4.0], [0]))
    bag = bag_of(*views, together=(((0, 0), 1.5),))
    (device,) = devices_of(bag, replace(AT, slope=2.0, offset=0.5))
    assert device.log_odds == pytest.approx(2 * 1.5 + 0.5)
    strong, weak = region_scores(bag, replace(AT, device=1.0))
    assert strong[0] >= 0.5, "the view whose map is higher is pointed at"
    assert weak[0] < 0.5


def test_a_bag_without_devices_is_judged_all_the_same():
    scores = region_scores(bag_of(seen([], [4.0, 1.0], [-1, -1])), AT)[0]
    assert (scores >= 0.5).tolist() == [True, False]
    assert np.isfinite(scores).all()


def test_the_rest_of_a_bag_is_one_region_of_its_highest_score():
    labels = np.array([[0, 1, 2], [3, 4, 4]], np.int32)
    scores = np.array([0.2, 0.1, 0.7, 0.6, 0.3])
    device_of = np.array([0, -1, -1, 0, -1])
    merged = _merge_background(Examined(labels, scores), device_of)
    assert merged.labels.tolist() == [[0, 3, 1], [2, 3, 3]]
    assert merged.scores.tolist() == [0.2, 0.7, 0.6, 0.3]
    assert merged.names == ()
    named = _merge_background(Examined(labels, scores, tuple("abcde")), device_of)
    assert named.names == ("a", "c", "d", ANOMALY)


def test_prohibited_items_alarm_by_class_on_devices_and_beside_them():
    logits = np.array([[5.0, 1.0], [-3.0, 4.5], [0.0, 0.0]], np.float32)
    view = replace(seen([0.0], [-2.0, -2.0, -2.0], [0, -1, -1]), prohibited=logits)
    ((scores, numbers),) = decide_regions(bag_of(view), replace(AT, prohibited=(4.0, 4.0)))
    assert (scores >= 0.5).tolist() == [True, True, False]
    assert numbers[:2].tolist() == [0, 1]
    odds = np.exp(1.0) + np.exp(-3.0)
    assert scores[0] == pytest.approx(odds / (1 + odds))
    assert decide_regions(bag_of(view), AT)[0][0] == pytest.approx(scores), "before calibration"
    ((_, numbers),) = decide_regions(bag_of(view), replace(AT, prohibited=(4.0, -1.0)))
    assert numbers[0] == 1, "the class that is further above its own threshold"
    ((scores, numbers),) = decide_regions(
        bag_of(view), replace(AT, prohibited=(9.0, 9.0), device=-3.0)
    )
    assert (scores[0] >= 0.5, numbers[0]) == (True, -1), "the anomaly of the device is higher"


def test_classes_that_share_an_item_alarm_together():
    logits = np.array([[3.5, 3.5, -9.0], [3.5, -9.0, -9.0], [3.9, -9.0, -9.0]], np.float32)
    view = replace(seen([0.0], [-2.0, -2.0, -2.0], [0, -1, -1]), prohibited=logits)
    ((scores, _),) = decide_regions(bag_of(view), replace(AT, prohibited=(4.0, 4.0, 4.0)))
    assert (scores >= 0.5).tolist() == [True, False, False]
    assert any_item(np.zeros((2, 3))) == pytest.approx(np.log([3.0, 3.0]))
    assert any_item(np.full((1, 2), 800.0)) == pytest.approx([800 + np.log(2)]), "no overflow"
