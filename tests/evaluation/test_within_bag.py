"""The within-bag protocol on bags small enough to count by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bagscan.core import Annotation, Regions
from bagscan.evaluation.baseline import image_statistics, trivial_baseline
from bagscan.evaluation.levels import evaluate_levels, object_arrays
from bagscan.evaluation.results import check_record, make_record, write_record
from bagscan.evaluation.superpixels import (
    achievable_segmentation_accuracy,
    boundary_precision,
    boundary_recall,
    compactness,
    superpixel_scores,
)
from bagscan.evaluation.within_bag import (
    ScoredView,
    attenuation_map,
    hits,
    only_class,
    score_bag,
    segment_truth,
    summarise,
)


def bag(scores, overlap, foreground=None, labels=("gun",)):
    scores = np.asarray(scores, float)
    overlap = np.asarray(overlap, float).reshape(len(scores), -1)
    foreground = np.ones(len(scores), bool) if foreground is None else np.asarray(foreground, bool)
    areas = np.full(len(scores), 100)
    return ScoredView(
        scores, 1 - scores, overlap, overlap.max(1, initial=0), areas, foreground, labels, "s"
    )


def test_truth_positive_benign_border_background_and_best_overlap():
    overlap = np.array([[0.6], [0.3], [0.05], [0.0]])
    assert segment_truth(overlap, np.array([True, True, True, False])).tolist() == [1, -1, 0, -1]
    assert segment_truth(np.array([[0.3], [0.2], [0.0]]), np.ones(3, bool)).tolist() == [1, -1, 0]


def test_hit_leaves_at_most_n_benign_before_it():
    one = bag([0.7, 0.9, 0.8, 0.1], [1, 0, 0, 0])
    assert hits(one, one.scores, 1).tolist() == [False]
    assert hits(one, one.scores, 2).tolist() == [True]
    tied = bag([0.9, 0.9, 0.9], [1, 0, 0])
    assert hits(tied, tied.scores, 1).tolist() == [False]
    few = bag([0.1, 0.9], [1, 0])
    assert hits(few, few.scores, 1).tolist() == [True]


def test_object_on_air_is_a_miss():
    one = bag([0.9, 0.1], [1, 0], foreground=[False, True])
    assert hits(one, one.scores, 5).tolist() == [False]
    truth, scores, _ = object_arrays([one])
    assert scores[truth == 1].tolist() == [-1]


def test_summary_averages_over_bags_and_control_uses_darkness():
    good, bad = bag([0.9, 0.1, 0.2], [1, 0, 0]), bag([0.1, 0.9, 0.8], [1, 0, 0])
    assert summarise([good, bad])["auroc"] == 0.5
    assert summarise([good])["auroc"] == 1
    assert summarise([good], control=True)["auroc"] == 0
    assert np.isnan(summarise([])["auroc"])


def test_only_class_leaves_other_objects_out():
    one = bag([0.9, 0.8, 0.1], [[1, 0], [0, 1], [0, 0]], labels=("gun", "knife"))
    knife = only_class(one, "knife")
    assert knife.scores.tolist() == [0.8, 0.1]
    assert only_class(one, "wrench") is None


def test_darkness_is_relative_to_the_views_own_air():
    grey = np.full((3, 40, 40), 0.8)
    grey[:, :10, :10] = 0.4
    dark = attenuation_map(grey)
    assert dark[20, 20] == 0
    assert dark[0, 0] == pytest.approx(0.5)


def test_pixel_iou_is_that_of_the_painted_masks():
    rng = np.random.default_rng(0)
    labels = np.arange(16).reshape(4, 4).repeat(10, 0).repeat(10, 1)
    boxes = [(3.0, 5.0, 22.0, 31.0), (15.0, 12.0, 38.0, 25.0)]  # they overlap
    scores = rng.random(16)
    screened = score_bag(
        Regions.from_labels(labels, "superpixel"),
        scores,
        np.ones((40, 40)),
        [Annotation("gun", b) for b in boxes],
        "s",
    )
    truth = np.zeros((40, 40), bool)
    for x1, y1, x2, y2 in boxes:
        truth[int(y1) : int(y2), int(x1) : int(x2)] = True
    flagged = (scores >= 0.6)[labels]
    assert screened.pixel_iou(0.6) == pytest.approx(
        (flagged & truth).sum() / (flagged | truth).sum()
    )
    assert screened.pixel_iou(2.0) == 0
    nothing = score_bag(
        Regions.from_labels(labels, "superpixel"), scores, np.ones((40, 40)), [], "s"
    )
    assert np.isnan(nothing.pixel_iou(2.0))


def test_levels_of_a_perfect_model():
    bags = [
        bag([0.9, 0.1, 0.2, 0.1], [1, 0, 0, 0]),
        bag([0.1, 0.2, 0.3, 0.2], np.zeros((4, 0)), labels=()),
    ]
    table = evaluate_levels(bags, 0.5)
    for level in ("per_segment", "per_object", "per_scan"):
        assert (table[level]["tp_percent"], table[level]["fp_percent"]) == (100, 0)
    assert (table["per_pixel"]["iou"], table["per_pixel"]["n"]) == (1, 1)
    record = make_record(
        "x", table, data={"name": "made up", "hash": "0", "counts": {}}, config={}, seeds=[0]
    )
    check_record(record)


def test_record_with_a_hole_is_refused(tmp_path):
    from bagscan.core.errors import DataError

    record = make_record(
        "x", {"a": float("nan")}, data={"name": "a", "hash": "b", "counts": {}}, config={}, seeds=[]
    )
    assert record["results"]["a"] is None
    del record["data"]["hash"]
    with pytest.raises(DataError, match="hash"):
        write_record(tmp_path / "a.json", record)


def test_judge_bag_measures_overlap_with_boxes():
    labels = np.repeat(np.arange(4), 5)[None].repeat(20, 0)
    image = np.ones((20, 20))
    image[:, 5:] = 0.3
    screened = score_bag(
        Regions.from_labels(labels, "superpixel"),
        np.arange(4.0),
        1 - image,
        [Annotation("gun", (10, 0, 15, 20))],
        "s",
    )
    assert screened.overlap[:, 0].tolist() == [0, 0, 1, 0]
    assert screened.foreground.tolist() == [False, True, True, True]


def test_trivial_baseline_finds_a_difference_in_size():
    rng = np.random.default_rng(0)
    rows = np.stack([image_statistics(rng.random((3, 20 + 20 * (i % 2), 30))) for i in range(40)])
    truth = np.arange(40) % 2
    assert trivial_baseline(rows[:20], truth[:20], rows[20:], truth[20:])["auroc"] == 1


def test_superpixel_scores_by_hand():
    truth = np.zeros((8, 8), int)
    truth[:, 4:] = 1
    assert superpixel_scores(truth, [truth]) == pytest.approx(
        {
            "count": 2,
            "asa": 1,
            "boundary_recall": 1,
            "boundary_precision": 1,
            "compactness": 4 * np.pi * 32 / 24**2,
        }
    )
    shifted = np.zeros((8, 8), int)
    shifted[:, 3:] = 1
    assert achievable_segmentation_accuracy(shifted, truth) == 7 / 8
    assert boundary_recall(shifted, truth, 1) == 1
    assert boundary_recall(shifted, truth, 0) == 0
    stripes = np.repeat(np.arange(4), 2)[None].repeat(8, 0)
    assert boundary_precision(stripes, truth, 0) == pytest.approx(1 / 3)
    assert compactness(np.zeros((10, 10), int)) == pytest.approx(np.pi / 4)


def test_intervals_resample_scans_whose_views_go_together():
    rng = np.random.default_rng(0)
    one = [bag(rng.random(6), [1, 0, 0, 0, 0, 0]) for _ in range(30)] + [
        replace(bag(rng.random(6), np.zeros((6, 0))), labels=()) for _ in range(30)
    ]
    views = [
        replace(b, scan=str(i)) for i, b in enumerate(one) for _ in range(2)
    ]  # the same view twice
    apart = [replace(b, scan="") for b in views]
    once, copied, loose = (evaluate_levels(bags, 0.5) for bags in (one, views, apart))
    for level in ("per_segment", "per_object", "per_scan"):
        assert copied[level]["intervals"]["auroc"] == pytest.approx(
            once[level]["intervals"]["auroc"]
        ), level
        low, high = loose[level]["intervals"]["auroc"]
        assert high - low < 0.9 * (
            once[level]["intervals"]["auroc"][1] - once[level]["intervals"]["auroc"][0]
        ), level
    for value in ("auroc", "hit_at_1"):
        assert copied["within_bag"]["all"]["intervals"][value] == pytest.approx(
            once["within_bag"]["all"]["intervals"][value]
        )
