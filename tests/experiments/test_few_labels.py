"""Labelled crops: boxes move with their pixels, and classes come in turn."""

from pathlib import Path

import numpy as np
import pytest

from bagscan.core import Annotation
from bagscan.datasets.record import Record
from bagscan.simulate.prohibited import NAMES
from experiments.few_labels import SIDE_PX, LabelledView, choose, draw_crop
from experiments.real_scans import SAME

KNIFE = tuple(NAMES.index(name) for name in SAME["Knife"])


def record(k, *labels):
    annotations = tuple(Annotation(label, (0, 0, 9, 9)) for label in labels)
    return Record(str(k), Path(f"{k}.png"), annotations)


def test_rare_classes_are_chosen_as_often_as_common_ones():
    pool = [record(k, "Gun") for k in range(20)] + [record(k, "Knife") for k in range(20, 24)]
    chosen = choose(pool, 6, np.random.default_rng(0))
    assert sum(r.annotations[0].label == "Knife" for r in chosen) == 3
    assert len({r.id for r in chosen}) == 6
    more = choose(pool, 10, np.random.default_rng(0))
    assert more[:6] == chosen  # more labels of a seed contain the fewer ones
    assert len(choose(pool, 99, np.random.default_rng(0))) == 24


@pytest.mark.parametrize("seed", range(6))
def test_shares_lie_where_the_object_lies(seed):
    absorbed = np.full((3, 400, 500), 0.2, np.float32)
    absorbed[:, 100:180, 200:320] = 1.2  # the object, which fills its box
    view = LabelledView(absorbed, np.array([[200.0, 100, 320, 180]]), (KNIFE,))
    crop, shares = draw_crop(view, np.random.default_rng(seed))
    assert crop.shape == (3, SIDE_PX, SIDE_PX)
    bright = (crop.mean(0) > 0.7).reshape(32, 8, 32, 8).mean((1, 3))
    for number in range(len(NAMES)):
        expected = bright if number in KNIFE else 0 * bright
        assert shares[number] == pytest.approx(expected)


def test_air_within_a_box_is_no_item_and_beyond_the_view_is_air():
    absorbed = np.zeros((3, 60, 60), np.float32)
    absorbed[:, 20:40, 20:40] = 1
    view = LabelledView(absorbed, np.array([[0.0, 0, 60, 60]]), (KNIFE,))
    crop, shares = draw_crop(view, np.random.default_rng(0))
    item = shares[KNIFE[0]].sum() * 64  # pixels
    assert item == ((crop.mean(0) > 0.5).sum())
    assert 0 < item < 800
