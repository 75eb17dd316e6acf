"""COCO average precision of answers with known precision."""

import numpy as np
import pytest

from bagscan.core import Annotation
from bagscan.evaluation.detection import coco_scores

SHAPE = (120, 160)


def square(top: int, left: int, side: int = 40) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def true(mask: np.ndarray) -> Annotation:
    return Annotation.of_mask("item", mask)


def found(mask: np.ndarray, score: float) -> dict:
    return {"label": "item", "score": score, "box_xyxy": true(mask).box_xyxy, "mask": mask}


def test_perfect_detections_have_ap_1_in_boxes_and_masks():
    truth = [[true(square(10, 10)), true(square(60, 90))], [true(square(30, 40))]]
    answers = [[found(a.mask.pixels(), 0.9) for a in view] for view in truth]
    scores = coco_scores(truth, answers, [SHAPE, SHAPE])
    assert scores["box"]["ap"] == pytest.approx(1)
    assert scores["mask"]["ap"] == pytest.approx(1)
    assert np.isnan(scores["box"]["ap_small"])  # there are no small ones


def test_half_missed_is_half_and_a_box_round_another_shape_is_no_mask():
    truth = [[true(square(10, 10)), true(square(60, 90))]]
    scores = coco_scores(truth, [[found(square(10, 10), 0.9)]], [SHAPE])
    assert scores["box"]["ap_50"] == pytest.approx(0.5, abs=0.01)
    triangle = square(10, 10) & (np.add.outer(np.arange(120), np.arange(160)) < 59)
    boxed = {"label": "item", "score": 0.9, "box_xyxy": (10.0, 10.0, 50.0, 50.0), "mask": triangle}
    scores = coco_scores([[true(square(10, 10))]], [[boxed]], [SHAPE])
    assert scores["box"]["ap"] == pytest.approx(1)
    assert scores["mask"]["ap_75"] == pytest.approx(0)


def test_nothing_found_is_0_and_nothing_to_find_is_undefined():
    assert coco_scores([[true(square(10, 10))]], [[]], [SHAPE])["box"]["ap"] == 0
    assert np.isnan(coco_scores([[]], [[]], [SHAPE])["box"]["ap"])


def test_boxes_without_masks_are_judged_by_boxes_alone():
    truth = [[Annotation("item", (10.0, 10.0, 50.0, 50.0))]]
    scores = coco_scores(truth, [[found(square(10, 10), 0.9)]], [SHAPE])
    assert set(scores) == {"box"}
    assert scores["box"]["ap"] == pytest.approx(1)


def test_how_large_a_thing_is_goes_by_its_mask():
    """COCO's "small" is a mask below 32 x 32 pixels: a thin item across a large box is small."""
    thin = np.zeros(SHAPE, bool)
    for i in range(80):
        thin[20 + i, 20 + i : 25 + i] = True
    assert thin.sum() < 32**2 < 80 * 80
    scores = coco_scores([[true(thin)]], [[found(thin, 0.9)]], [SHAPE])
    assert scores["mask"]["ap_small"] == pytest.approx(1)
    assert np.isnan(scores["mask"]["ap_large"])
