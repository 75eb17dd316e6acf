"""Figures of real scans: known answers on views made by hand."""

import json

import numpy as np
import pytest

from bagscan.evaluation.within_bag import ScoredView
from bagscan.model_folder import SHIPPED, verified_id
from bagscan.simulate.prohibited import NAMES as PROHIBITED
from experiments.engine import read_table
from experiments.real_scans import SAME, count_found, groups_of, measure

MODEL = SHIPPED / "prohibited"


def view(scores, on, attenuation=None, label="Gun", group="a", apart=100.0):
    """A view with one object on the regions ``on``, in a row with centres so many pixels apart."""
    overlap = np.array(on, float)[:, None]
    n = len(scores)
    return ScoredView(
        np.array(scores, float),
        np.array(attenuation if attenuation is not None else np.zeros(n)),
        overlap,
        overlap[:, 0],
        np.full(n, 100),
        np.ones(n, bool),
        (label,),
        group,
        centres=np.stack([np.arange(n) * apart, np.zeros(n)], 1),
    )


def found_at(views, rate):
    return count_found(views, [rate])[rate]


def test_objects_are_counted_at_a_number_of_false_marks_per_scan():
    views = [view([3, 5, 1, 0], [1, 0, 0, 0]), view([4, 2, 1, 0], [1, 0, 0, 0])]
    assert found_at(views, 0.0) == 0.0, "the highest benign region has 5"
    assert found_at(views, 0.5) == 1.0, "one false region in two scans"
    beside = [view([3, 2, 2, 2, 2], [1, 0, 0, 0, 0], apart=20), view([1, 0], [1, 0])]
    assert found_at(beside, 0.5) == 1.0, "one mark is too far from the object"
    assert found_at(beside, 0.0) == 0.5
    higher = [view([1, 3, 0, 0], [1, 0, 0, 0], apart=20), view([0], [1])]
    assert found_at(higher, 4) == 0.5, "the first object has no mark of its own"
    darker = [view([0, 1], [1, 0]), view([2, 1], [1, 0])]
    assert found_at(darker, 0.0) == 0.5


def test_figures_stand_beside_those_of_attenuation_and_their_intervals():
    views = [
        view([3, 1, 0], [1, 0, 0], attenuation=[0.1, 0.9, 0.5]),
        view([0, 1, 2], [1, 0, 0], attenuation=[0.9, 0.1, 0.2]),
    ]
    result = measure(views)
    assert result["auroc"] == result["attenuation_auroc"] == 0.5
    assert (result["auroc_low"], result["auroc_high"]) == (0.0, 1.0)
    assert result["found_at_1"] == 0.5 == result["attenuation_found_at_1"]
    assert result["objects"] == 2


def test_a_region_has_the_odds_of_all_classes_that_the_annotations_name():
    """Knives have three simulated classes, guns two; a wrench map counts in no view without one."""
    names = ("pistol", "revolver", "kitchen_knife", "folding_knife", "craft_knife", "wrench")
    items = np.full((2, len(names)), -20.0)
    items[0, :2] = 1.0  # half pistol, half revolver
    items[1, 5] = 9.0
    scans = [(view([0, 0], [1, 0], label="Gun"), items)]
    groups = groups_of(scans, names)
    assert groups["all"][0].scores == pytest.approx([1 + np.log(2), -20 + np.log(2)], abs=1e-6)
    assert set(groups) == {"all", "scanner a", "Gun"}
    knife = (view([0, 0], [0, 1], label="Knife"), items)
    both = groups_of([*scans, knife], names)
    assert both["all"][0].scores[0] == pytest.approx(1 + np.log(2), abs=1e-6)
    assert both["Knife"][0].scores.max() < -10, "a class counts by its own maps alone"


def test_what_looks_like_an_unlabelled_firearm_is_left_out_for_both():
    """Annotated regions stay, and regions that are unlikely to be a firearm."""
    names = ("pistol", "revolver", "lighter")
    items = np.full((4, 3), -20.0)
    items[0, 2] = 1.0  # the lighter
    items[1, 0] = 5.0  # a pistol
    items[2, 1] = -6.0  # nothing
    items[3, 0] = 5.0  # annotated as a lighter
    scan = (view([0] * 4, [1, 0, 0, 1], attenuation=[0.1, 0.9, 0.2, 0.3], label="lighter"), items)
    groups = groups_of([scan], names)
    assert groups["without likely firearms"][0].foreground.tolist() == [True, False, True, True]
    assert groups["all"][0].foreground.all()
    assert measure(groups["without likely firearms"])["attenuation_hit_at_1"] == 1
    guns = [(view([0] * 4, [1, 0, 0, 1], label="Gun"), items)]
    assert "without likely firearms" not in groups_of(guns, names)


def test_annotated_classes_are_simulated_ones():
    assert {name for names in SAME.values() for name in names} <= set(PROHIBITED)


def test_records_are_those_of_the_model():
    ids = {(r["config"]["model"], r["data"]["hash"]) for r in read_table("real_scans")}
    assert ids == {("prohibited", verified_id(MODEL))}
    assert json.loads((MODEL / "model.json").read_text())["model"]["prohibited"] == len(PROHIBITED)


def test_the_default_model_is_ahead_of_darkness_on_every_scanner():
    """A model that is not must not be the default for scans in pseudo-colour."""
    scanners = {
        r["config"]["group"]: r["results"]
        for r in read_table("real_scans")
        if r["config"]["group"].startswith("scanner ")
    }
    assert len(scanners) == 6
    for name, figures in scanners.items():
        assert figures["auroc"] > figures["attenuation_auroc"], name
