"""Figures of made-up results with known answers."""

from dataclasses import replace

import numpy as np
import pytest

from bagscan.core import Regions
from bagscan.core.errors import DataError
from bagscan.detector.calibration import calibrate_thresholds, choose_alarms
from bagscan.detector.deciding import decide_regions
from bagscan.detector.devices import FoundDevice
from bagscan.detector.inference import BagResult, ViewResult
from bagscan.detector.measures import bag_scores, measure
from bagscan.detector.scored_bags import ScoredBag, ScoredView, TrueDevice, TrueItem
from bagscan.detector.thresholds import MAX_LOG_ODDS, Pairing, Thresholds
from experiments.detector import add_second_point, card, figures

AT = Thresholds(slope=1.0, offset=0.0, device=1.0, outside=9.0)


def view(logit, region_logits, on, host=True, found=True, visible=True):
    mask = np.zeros((20, 20), bool)
    mask[4:12, 4:12] = True
    n = len(region_logits)
    devices = (FoundDevice(0, mask, 0.9),) if found else ()
    seen = ViewResult(
        np.zeros((20, 20), np.float32),
        devices,
        np.array([logit] if found else [], np.float32),
        Regions(np.zeros((1, 1), np.int32), n, "superpixel"),
        np.array(region_logits, np.float32),
        np.full(n, 0 if found else -1),
        np.zeros((n, 0), np.float32),
    )
    on = np.array(on, float)
    true = TrueDevice("phone", host, 0 if found else None)
    return ScoredView(
        seen,
        np.full(n, 100),
        on,
        on,
        np.arange(n, dtype=float),
        (true,),
        visible,
        {"standing_out": 1.0},
    )


def bag(name, anomalous, *views, group="new_stagings"):
    about = {
        "part": "test",
        "group": group,
        "device": "phone",
        "family": "phone/slab/01",
        "kind": "screws",
        "way": "taped_outside",
    }
    return ScoredBag(name, name, anomalous, about, tuple(views))


def hit(logit=3.0, **changes):
    return view(logit, [2.0, -1.0, -2.0], [1.0, 0.0, 0.0], **changes)


def clean(logit=-3.0):
    return view(logit, [-1.0, -2.0, -3.0], [0.0, 0.0, 0.0], host=False, visible=False)


def test_a_detector_that_is_right_has_full_marks():
    result = measure([bag("a", True, hit(), hit()), bag("b", False, clean(), clean())], AT)
    for name in (
        "view_auroc",
        "device_auroc",
        "within_auroc",
        "hit_at_1",
        "segment_auroc",
        "bag_tp",
        "on_the_anomaly",
        "device_recall",
    ):
        assert result[name] == 1.0, name
    assert result["bag_fp"] == result["device_fpr_at_95"] == 0.0
    assert result["segments"] == 12


def test_a_device_that_was_not_found_is_missed():
    lost = [bag(f"l{k}", True, hit(found=False), hit(found=False)) for k in range(2)]
    benign = [bag(f"b{k}", False, clean(), clean()) for k in range(2)]
    result = measure([*lost, *benign], AT)
    assert result["device_recall"] == 0.5
    assert result["view_auroc"] == result["device_auroc"] == 0.0
    assert result["bag_tp"] == 0.0


def test_what_no_view_shows_is_reported_apart():
    result = measure(
        [
            bag("a", True, hit(visible=False), hit(visible=False)),
            bag("c", True, hit(), hit()),
            bag("b", False, clean(), clean()),
        ],
        AT,
    )
    assert (result["anomalous"], result["visible"]) == (2, 1)
    assert result["device_auroc"] == 1.0
    half = measure(
        [bag("a", True, hit(), hit(-5.0, visible=False)), bag("b", False, clean(), clean())], AT
    )
    assert half["view_auroc"] == 1.0, "the view that shows nothing does not count"


def test_an_alarm_at_the_wrong_place_is_found_but_not_on_the_anomaly():
    wrong = view(3.0, [2.0, -1.0, -2.0], [0.0, 1.0, 0.0])
    result = measure([bag("a", True, wrong, wrong), bag("b", False, clean(), clean())], AT)
    assert (result["bag_tp"], result["on_the_anomaly"], result["hit_at_1"]) == (1.0, 0.0, 0.0)
    many_false = view(3.0, [2.0, 1.9, 1.9, 1.9], [1.0, 0.0, 0.0, 0.0])
    assert (
        measure([bag("a", True, many_false), bag("b", False, clean())], AT)["on_the_anomaly"] == 0.0
    ), "more than two false regions"


def test_thresholds_keep_to_the_share_of_false_alarms():
    rng = np.random.default_rng(0)
    benign = [
        bag(f"b{k}", False, clean(float(rng.normal(-1, 1))), clean(float(rng.normal(-1, 1))))
        for k in range(60)
    ]
    hidden = [
        bag(f"a{k}", True, hit(float(rng.normal(1, 1))), hit(float(rng.normal(1, 1))))
        for k in range(60)
    ]
    for share in (0.05, 0.1, 0.3):
        thresholds, point = calibrate_thresholds([*benign, *hidden], share)
        assert thresholds.slope > 0
        result = measure([*benign, *hidden], thresholds)
        assert result["bag_fp"] == pytest.approx(point.expected_fpr)
        assert 0.5 * share <= result["bag_fp"] <= share
    assert result["bag_tp"] > 0.8


def test_calibration_learns_that_an_anomaly_lies_on_the_same_lines_of_the_belt_in_both_views():
    """Verdicts without information, and a spot per view: on one line only with an anomaly."""
    rng = np.random.default_rng(0)

    def spotted(scored, row):
        anomaly = np.full((20, 20), -8.0, np.float32)
        anomaly[row, 8] = rng.normal(2, 1)
        return replace(scored, seen=replace(scored.seen, anomaly=anomaly))

    bags = []
    for k in range(80):
        first, other = rng.permutation(np.arange(5, 11))[:2]
        make = (hit, clean)[k % 2]
        lines = (first, first) if k % 2 == 0 else (first, other)
        bags.append(
            bag(f"{k}", k % 2 == 0, *(spotted(make(float(rng.normal())), line) for line in lines))
        )
    thresholds, _ = calibrate_thresholds(bags, 0.1)
    assert thresholds.pairing.place > 0.2
    apart = replace(thresholds, pairing=Pairing())
    assert (
        measure(bags, thresholds)["device_auroc"]
        > 0.95
        > measure(bags, apart)["device_auroc"] + 0.2
    )


def with_item(scored, logits, on, number=1):
    """The view with a prohibited item, and a detector that knows two classes."""
    prohibited = np.array([[-9.0, logit] for logit in logits], np.float32)
    items = (TrueItem("pistol", number, np.array(on, float)),) if any(on) else ()
    return replace(scored, seen=replace(scored.seen, prohibited=prohibited), items=items)


def test_with_items_only_nothing_else_alarms():
    """Also not a device or a place outside, however anomalous."""
    rng = np.random.default_rng(0)
    benign = [
        with_item(clean(float(rng.normal(-1, 1))), rng.normal(-3, 1, 3), [0, 0, 0]).seen
        for _ in range(40)
    ]
    bags = [BagResult((seen,), None) for seen in benign]
    chosen, point = choose_alarms(bags, AT, 0.2, "val", items_only=True)
    assert chosen.device == chosen.outside == MAX_LOG_ODDS
    highest = bag_scores(bags, chosen)["prohibited"]
    assert point.expected_fpr == np.mean(highest >= chosen.prohibited[0]) == 0.2
    both, _ = choose_alarms(bags, AT, 0.2, "val")
    assert both.prohibited[0] > chosen.prohibited[0], "a part of the false alarms is for anomalies"
    with pytest.raises(DataError):
        choose_alarms([BagResult((clean().seen,), None)], AT, 0.2, "val", items_only=True)


def test_a_prohibited_item_is_found_named_and_no_false_alarm():
    at = replace(AT, prohibited=(4.0, 4.0))
    armed = bag("p", False, with_item(clean(), [6.0, 0.0, 0.0], [0.9, 0, 0]), clean())
    missed = bag("m", False, with_item(clean(), [0.0, 6.0, 0.0], [0.9, 0, 0]), clean())
    misnamed = bag("n", False, with_item(clean(), [6.0, 0.0, 0.0], [0.9, 0, 0], number=0), clean())
    empty = bag("e", False, with_item(clean(), [0.0, 0.0, 0.0], [0, 0, 0]), clean())
    result = measure([armed, missed, misnamed, empty], at)
    assert (result["items"], result["item_found"], result["item_named"]) == (
        3,
        pytest.approx(2 / 3),
        0.5,
    )
    assert result["bag_fp"] == 0
    assert measure([empty], replace(at, prohibited=(4.0, -1.0)))["bag_fp"] == 1
    assert "items" not in measure([bag("a", True, hit(), hit())], AT)


def test_items_have_a_share_of_the_false_alarms_and_bags_with_items_cause_none():
    rng = np.random.default_rng(1)
    nothing = ([-9.0] * 3, [0] * 3)
    benign = [
        bag(f"b{k}", False, *(with_item(clean(-4.0 + 0.01 * k), rng.normal(size=3), [0] * 3),) * 2)
        for k in range(100)
    ]
    hidden = [
        bag(f"a{k}", True, *(with_item(hit(2.0 + 0.01 * k), *nothing),) * 2) for k in range(20)
    ]
    armed = [
        bag(
            f"p{k}",
            False,
            with_item(clean(-4.0), [8.0, 0, 0], [1, 0, 0]),
            with_item(clean(), *nothing),
        )
        for k in range(20)
    ]
    thresholds, point = calibrate_thresholds([*benign, *hidden, *armed], 0.1)
    numbers = [decide_regions(b.seen, thresholds)[0][1] for b in benign]
    scores = [decide_regions(b.seen, thresholds)[0][0] for b in benign]
    by_item = [((n >= 0) & (s >= 0.5)).any() for n, s in zip(numbers, scores, strict=True)]
    assert sum(by_item) == 4, "40 % of 0.1 of 100 bags"
    assert len(set(thresholds.prohibited)) == 1
    assert point.expected_fpr <= 0.1
    assert measure(armed, thresholds)["item_found"] == 1.0


def test_nothing_to_calibrate_on_is_an_error():
    with pytest.raises(DataError):
        calibrate_thresholds([bag("b", False, clean(), clean())], 0.1)


def test_the_card_tells_every_group_and_what_is_found_worst():
    bags = [
        bag("a", True, hit()),
        bag("b", False, clean()),
        bag("c", True, hit(found=False), group="unseen_families"),
        bag("d", False, clean(), group="unseen_families"),
    ]
    record = figures(bags, AT)
    assert set(record["groups"]) == {"new_stagings", "unseen_families"}
    assert record["by"]["kind"]["screws"]["bag_tp"] == 0.5
    assert record["by"]["standing_out"]["0.5 to 2"]["bags"] == 2
    assert record["by"]["visible_in"]["1 view"]["bags"] == 2
    assert record["all"]["host_recall"] == 0.5
    add_second_point(record, bags, replace(AT, device=-50.0))
    assert record["groups"]["new_stagings"]["second_bag_fp"] == 1.0
    assert record["all"]["second_bag_tp"] >= record["all"]["bag_tp"] == 0.5
    result = card(record, 4800, ["deei", "operational"])
    assert "4,800 crops" in result["trained on"]
    assert "deei, operational" in result["trained on"]
    assert "finds 100%" in result["new stagings (preset demo, 2 bags)"]
    assert "finds 0%" in result["unseen families (preset demo, 2 bags)"]


def test_something_loose_over_a_device_is_reported_apart_with_its_false_alarms():
    loose = replace(clean(4.0), about={"ambiguous": ["spanner"]})
    bags = [bag("a", True, hit()), bag("b", False, clean()), bag("c", False, loose, loose)]
    over = figures(bags, AT)["by"]["over_a_device"]
    assert (over["nothing"]["bag_fp"], over["nothing"]["bag_tp"]) == (0.0, 1.0)
    assert (over["something loose"]["bags"], over["something loose"]["bag_fp"]) == (1, 1.0)


def scored_together(logits):
    """Two anomalous bags and two benign ones, with these verdicts over both views."""
    made = [
        bag("a", True, hit(), hit()),
        bag("b", True, hit(), hit()),
        bag("c", False, clean(), clean()),
        bag("d", False, clean(), clean()),
    ]
    return [
        replace(one, together=(((0, 0), logit),)) for one, logit in zip(made, logits, strict=True)
    ]


def test_a_verdict_over_both_views_is_what_devices_are_ranked_by():
    result = measure(scored_together([4.0, 3.0, 1.0, -1.0]), AT)
    assert result["device_auroc"] == 1.0
    result = measure(scored_together([4.0, 0.0, 1.0, -1.0]), AT)
    assert result["device_auroc"] == 0.75
    assert result["view_auroc"] == 1.0, "figures of single views do not change"


def test_verdicts_over_both_views_are_calibrated_or_refused():
    thresholds, point = calibrate_thresholds(scored_together([4.0, 3.0, -1.0, -2.0]), 0.5)
    assert thresholds.slope > 0
    assert thresholds.pairing == Pairing()
    assert point.expected_fpr <= 0.5
    with pytest.raises(DataError):
        calibrate_thresholds(scored_together([-4.0, -3.0, 1.0, 2.0]), 0.5)


def test_calibration_learns_that_a_logit_means_less_where_a_single_view_shows_the_device():
    """Most devices without an anomaly are shown once, most others twice."""
    rng = np.random.default_rng(0)
    bags = []
    for k in range(120):
        is_anomalous, is_shown_once = k % 2 == 0, rng.random() < (0.2, 0.8)[k % 2]
        made = bag(f"{k}", is_anomalous, *[(hit if is_anomalous else clean)()] * 2)
        numbers = (0, None if is_shown_once else 0)
        bags.append(replace(made, together=((numbers, float(rng.normal(is_anomalous))),)))
    thresholds, _ = calibrate_thresholds(bags, 0.1)
    assert thresholds.pairing.lone < -1
    without = replace(thresholds, pairing=Pairing())
    assert measure(bags, thresholds)["device_auroc"] > measure(bags, without)["device_auroc"] + 0.03


def test_regions_are_pointed_at_so_that_most_places_are_right():
    """Three false regions score just below the true one; a narrow margin leaves all of them out."""
    crowded = view(3.0, [2.0, 1.7, 1.7, 1.7], [1.0, 0.0, 0.0, 0.0])
    bags = [
        bag("a", True, crowded, crowded),
        bag("b", True, crowded, crowded),
        bag("c", False, clean(), clean()),
        bag("d", False, clean(), clean()),
    ]
    thresholds, _ = calibrate_thresholds(bags, 0.5)
    assert thresholds.margin < 0.3
    assert measure(bags, thresholds)["on_the_anomaly"] == 1.0
