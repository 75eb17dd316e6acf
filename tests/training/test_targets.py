"""Naming of segments and the ranking loss: known answers."""

import math

import pytest
import torch

from bagscan.association import Grid, to_cells
from bagscan.regions.ssn import soft_slic
from bagscan.training.targets import (
    ABSENT,
    Batch,
    SegmentTruth,
    balance_weights,
    hard_shares,
    ranking_loss,
    segment_truth,
    soft_shares,
    verdict_loss,
)

RULE = {"positive_from": 0.5, "negative_to": 0.1}


def test_segments_are_named_by_the_rule():
    share = torch.tensor([[[0.6], [0.3], [0.05], [0.0], [0.0]]])
    dark = torch.tensor([[0.5, 0.5, 0.5, 0.0, -1.0]])
    truth = segment_truth(share, dark, torch.tensor([[2]]), **RULE)
    assert truth.target.tolist() == [[2, 0, 0, 0, 0]]
    assert truth.weight.tolist() == [[1, 0, 1, pytest.approx(0.1), 0]]
    assert truth.benign.tolist() == [[False, False, True, False, False]]


def test_the_best_segment_of_every_object_stands_for_it():
    share = torch.tensor([[[0.3, 0.0], [0.2, 0.0], [0.0, 0.2]]])
    truth = segment_truth(share, torch.full((1, 3), 0.5), torch.tensor([[1, 2]]), **RULE)
    assert truth.target.tolist() == [[1, 0, 2]]
    assert truth.weight.tolist() == [[1, 0, 1]]


def test_large_objects_weigh_more_but_not_by_their_count():
    share = torch.eye(2)[torch.tensor([0, 0, 0, 0, 1])][None]
    weight = segment_truth(share, torch.full((1, 5), 0.5), torch.tensor([[1, 1]]), **RULE).weight
    assert weight[0, :4].sum() == pytest.approx(2)
    assert weight[0, 4] == 1


def test_what_is_no_object_owns_nothing():
    share = torch.zeros(1, 3, 2)
    truth = segment_truth(share, torch.full((1, 3), 0.5), torch.tensor([[0, 0]]), **RULE)
    assert not truth.owned.any()
    assert truth.benign.all()


def test_shares_of_soft_and_hard_regions_agree_where_soft_is_hard():
    objects = torch.zeros(1, 8, 8, dtype=torch.long)
    objects[:, :4, :4] = 1
    objects[:, 4:, 4:6] = 2
    dark = torch.rand(1, 8, 8)
    labels = (torch.arange(8) // 4)[:, None] * 2 + (torch.arange(8) // 4)[None]
    grid = Grid(8, 8, 4, 4)
    batch = Batch(torch.zeros(1, 1, 8, 8), objects, torch.tensor([[1, 1]]), dark, labels[None])
    hard, hard_dark = hard_shares(batch)
    assert hard[0].tolist() == [[1, 0], [0, 0], [0, 0], [0, 0.5]]
    features = 1e3 * torch.stack([labels % 2, labels // 2]).float()[None]
    soft, soft_dark = soft_shares(batch, soft_slic(features, grid, 1), grid)
    assert torch.allclose(soft, hard, atol=1e-5)
    assert torch.allclose(soft_dark, hard_dark, atol=1e-5)
    assert to_cells(features, grid).shape[1:3] == (2, 2)


def test_balanced_weights_give_each_side_half():
    found = balance_weights(torch.tensor([1, 0, 0, 0]), torch.ones(4))
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(0.5)


def ranking_truth():
    owned = torch.tensor([[[True], [True], [False], [False]]])
    return SegmentTruth(
        torch.zeros(1, 4, dtype=torch.long),
        torch.ones(1, 4),
        owned,
        torch.tensor([[False, False, True, True]]),
    )


def test_ranking_loss_of_known_scores():
    found = ranking_loss(torch.tensor([[0.0, ABSENT, 0.0, 0.0]]), ranking_truth())
    assert found == pytest.approx(math.log(1 + 2), abs=1e-5)


def test_ranking_loss_pulls_the_best_segment_and_pushes_the_worst_clutter():
    margin = torch.tensor([[3.0, -3.0, 2.0, -2.0]], requires_grad=True)
    ranking_loss(margin, ranking_truth()).backward()
    assert margin.grad[0, 0] < 10 * margin.grad[0, 1] < 0
    assert margin.grad[0, 2] > 10 * margin.grad[0, 3] > 0


def test_ranking_loss_without_objects_or_clutter_is_nothing_and_finite():
    margin = torch.zeros(1, 4, requires_grad=True)
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    for truth in (
        SegmentTruth(torch.zeros(1, 4), torch.ones(1, 4), nothing[..., None], ~nothing),
        SegmentTruth(torch.zeros(1, 4), torch.ones(1, 4), ~nothing[..., None], nothing),
    ):
        loss = ranking_loss(margin, truth)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
        assert torch.isfinite(margin.grad).all()


def test_verdict_compares_crops_by_their_worst_segments():
    share = torch.tensor([[[0.9], [0.0]], [[0.0], [0.0]]])
    truth = segment_truth(share, torch.full((2, 2), 0.5), torch.tensor([[1], [0]]), **RULE)
    apart = torch.tensor([[6.0, -9.0], [-9.0, -2.0]])
    assert verdict_loss(apart, truth) == pytest.approx(math.log1p(math.exp(-8)), rel=1e-3)
    # Their level is free: only the difference counts.
    assert verdict_loss(apart - 20, truth) == pytest.approx(
        float(verdict_loss(apart, truth)), rel=1e-3
    )
    assert verdict_loss(-apart, truth) == pytest.approx(
        math.log(2), abs=0.01
    )  # the worst of both is 9
    # Without both kinds in a batch there is nothing to compare.
    alone = segment_truth(share[1:], torch.full((1, 2), 0.5), torch.tensor([[0]]), **RULE)
    assert verdict_loss(apart[1:], alone) == 0


def test_only_regions_on_the_item_are_judged():
    share, presence = torch.tensor([[[0.0], [0.0], [0.7]]]), torch.tensor([[0.9, 0.3, 0.8]])
    truth = segment_truth(share, presence, torch.tensor([[1]]), **RULE, present_from=0.5)
    assert truth.benign.tolist() == [[True, False, False]]
    assert truth.target.tolist() == [[0, 0, 1]]
    assert truth.weight.tolist() == [[1, pytest.approx(0.1), 1]]


def test_labels_outside_every_region_are_in_none():
    objects = torch.zeros(1, 4, 4, dtype=torch.long)
    objects[:, 0, 0] = 1
    labels = torch.full((1, 4, 4), -1)
    labels[:, :2, :2] = 0
    share, presence = hard_shares(
        Batch(torch.zeros(1, 1, 4, 4), objects, torch.tensor([[1]]), torch.ones(1, 4, 4), labels)
    )
    assert share.tolist() == [[[0.25]]]
    assert presence.tolist() == [[1.0]]
