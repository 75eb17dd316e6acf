"""Items cut from one bag and put into another: known answers on pictures made by hand."""

import numpy as np
import pytest

from bagscan.core import Annotation
from experiments.items_and_bags import PUT_IN, Bag, cut_items, put_in

BOX = (20.0, 10.0, 60.0, 50.0)


def bag(around=0.9, item=0.45, label="Gun"):
    """A bag of one colour with a square item in the middle of its box."""
    colours = np.full((3, 80, 90), around, np.float32)
    colours[:, 15:45, 25:55] = item
    return Bag(colours, (Annotation(label, BOX),))


def test_an_item_is_cut_relative_to_what_is_around_it():
    (item,) = cut_items(bag())
    assert item.shape == (3, 40, 40)
    assert item[:, 0, 0] == pytest.approx([1, 1, 1])
    assert item[:, 20, 20] == pytest.approx([0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    "other",
    [
        bag(around=0.6, item=0.3),
        bag(item=0.88),
        Bag(bag().colours, (Annotation("Gun", (0, 0, 5, 5)),)),
    ],
    ids=["in a dark place", "hardly darkens its box", "tiny"],
)
def test_items_that_do_not_stand_apart_are_not_cut(other):
    assert not list(cut_items(other))


def test_an_item_multiplies_what_it_lies_on_and_keeps_clear_of_what_is_annotated():
    (item,) = cut_items(bag())
    host = Bag(np.full((3, 100, 200), 0.5, np.float32), (Annotation("Knife", (0, 0, 100, 100)),))
    for seed in range(5):
        composed = put_in(host, item, np.random.default_rng(seed))
        knife, own = composed.objects
        left, top, right, bottom = map(int, own.box_xyxy)
        assert (knife.label, own.label, left >= 100) == ("Knife", PUT_IN, True)
        placed = composed.colours[:, top:bottom, left:right]
        assert placed == pytest.approx(0.5 * item)
        assert composed.colours.sum() == pytest.approx(host.colours.sum() - (0.5 - placed).sum())


def test_there_is_no_place_in_air_or_in_a_smaller_bag():
    (item,) = cut_items(bag())
    rng = np.random.default_rng(0)
    assert put_in(Bag(np.ones((3, 100, 200), np.float32), ()), item, rng) is None
    assert put_in(Bag(np.full((3, 30, 200), 0.5, np.float32), ()), item, rng) is None
