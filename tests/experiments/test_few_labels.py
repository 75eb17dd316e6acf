"""Labelled crops: boxes move with their pixels, and classes come in turn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bagscan.core import Annotation
from bagscan.datasets.record import Record
from bagscan.detector.network import Maps
from experiments.few_labels import SIDE_PX, LabelledScans, LabelledView, choose, draw_crop, read_all

ITEMS = ("wrench", "kitchen_knife", "craft_knife", "pistol")  # in the order of a network
KNIFE = (1, 2)


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
    crop, shares = draw_crop(view, len(ITEMS), np.random.default_rng(seed))
    assert crop.shape == (3, SIDE_PX, SIDE_PX)
    bright = (crop.mean(0) > 0.7).reshape(32, 8, 32, 8).mean((1, 3))
    for number in range(len(ITEMS)):
        expected = bright if number in KNIFE else 0 * bright
        assert shares[number] == pytest.approx(expected)


def test_air_within_a_box_is_no_item_and_beyond_the_view_is_air():
    absorbed = np.zeros((3, 60, 60), np.float32)
    absorbed[:, 20:40, 20:40] = 1
    view = LabelledView(absorbed, np.array([[0.0, 0, 60, 60]]), (KNIFE,))
    crop, shares = draw_crop(view, len(ITEMS), np.random.default_rng(0))
    item = shares[KNIFE[0]].sum() * 64  # pixels
    assert item == ((crop.mean(0) > 0.5).sum())
    assert 0 < item < 800


def test_boxes_train_the_maps_of_their_classes(tmp_path):
    """The network has its own order of classes, and need not know all of them."""
    path = tmp_path / "scan.png"
    Image.new("RGB", (300, 300), (40, 60, 160)).save(path)
    known = Record("1", path, (Annotation("Knife", (0, 0, 300, 300)),))
    views = read_all([known], ITEMS)
    assert views[0].classes == (KNIFE,)
    network = Constant()
    task = LabelledScans(network, views, slice(5, 5 + len(ITEMS)))
    loss, _ = task.loss(task.batch(np.random.default_rng(0)))
    loss.backward()
    raised = np.flatnonzero(network.logits.grad.numpy() < 0)
    assert raised.tolist() == [5 + k for k in KNIFE]


class Constant(nn.Module):
    """A network with the same logit of a category in all cells."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(12))

    def forward(self, features):
        n, cells = len(features), SIDE_PX // 8
        maps = self.logits[None, :, None, None].expand(n, -1, cells, cells)
        empty = torch.zeros(0)
        return Maps(maps, empty, empty, empty, empty, empty)
