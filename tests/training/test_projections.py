"""Projected anomalies lie on the device in both views, or in one; nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bagscan.datasets.packed import IGNORED, read_packed
from bagscan.simulate.anomalies import KINDS
from bagscan.training.pixel_batches import build_pixel_batch
from bagscan.training.projections import ADDING, can_be_projected, pair_windows
from bagscan.training.whole_bags import WholeBagsConfig
from bagscan.training.window_sampler import WindowSampler
from bagscan.training.windows import select_window, whole_box
from tests.training.packed_sets import simulate_packed

HOST = 2  # first plane of the truth that is a device


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets") / "set"
    simulate_packed(root, count=32, seed=6, parts={"train": 1}, ways=ADDING)
    return list(read_packed(root, ("train",)))


@pytest.fixture(scope="module")
def pairs(scenes):
    """Windows of benign scans with a loose and with a hidden object, and the donors' windows."""
    donors = [scene for scene in scenes if can_be_projected(scene)]
    rng, found = np.random.default_rng(0), []
    for scene in scenes:
        if scene.views[0].host < 0 or scene.views[1].host < 0:
            continue
        flips = tuple(bool(value) for value in rng.random(3) < 0.5)
        window = select_window(scene, whole_box(scene), flips, np.ones((2, 2)))
        pair = pair_windows(window, scene.views[0].host, donors, rng)
        if pair:
            found.append((window, *pair))
    assert len(found) >= 6
    return found


def batch_of(*windows):
    return build_pixel_batch(windows, len(KINDS), "raw", 0.0, np.random.default_rng(0))


def distances(batch, k, n):
    """Return for each view the cells between the object and the device; 0 if they overlap."""
    result = []
    for v in range(2):
        touched = np.argwhere(batch.views[v].counts[k, IGNORED].numpy() == 16)
        device = np.argwhere(batch.bags.truth[v * n + k, HOST].numpy() > 0)
        if len(touched):
            result.append(np.abs(touched[:, None] - device[None]).max(2).min())
    return result


def test_only_the_hidden_object_is_an_anomaly(pairs):
    for window, loose, hidden in pairs:
        batch = batch_of(replace(window, anomalous=False), loose, hidden)
        device = loose.projected.device
        labels = {int(k): float(h) for k, h in zip(batch.bags.bag, batch.bags.hidden, strict=True)}
        assert labels == {0: 0.0, 1: 0.0, 2: 1.0}
        assert device == window.scene.views[0].host
        for v in range(2):
            truth = batch.bags.truth[v * 3 : v * 3 + 3, 0]
            assert not truth[:2].any()
            assert torch.equal(batch.bags.truth[v * 3, 1], batch.bags.truth[v * 3 + 2, 1]), (
                "the map over both views is not ignored there"
            )
        assert any(batch.bags.truth[v * 3 + 2, 0].any() for v in range(2))
        assert (batch.views[0].device == torch.tensor([window.scene.views[0].host, -1, -1])).all()


def test_a_loose_object_lies_on_the_device_in_one_view_only(pairs):
    complete = 0
    for _, loose, hidden in pairs:
        batch = batch_of(loose, hidden)
        beside, on = distances(batch, 0, 2), distances(batch, 1, 2)
        assert max(on) <= 1
        if len(beside) == 2:
            complete += 1
            assert min(beside) <= 1 < max(beside)
    assert complete >= len(pairs) / 2


def test_both_show_the_same_object_in_the_same_rows(pairs):
    for _, loose, hidden in pairs:
        same = [
            np.array_equal(a.matrix, b.matrix)
            for a, b in zip(loose.projected.poses, hidden.projected.poses, strict=True)
        ]
        assert sorted(same) == [False, True]
        for a, b in zip(loose.projected.poses, hidden.projected.poses, strict=True):
            assert np.array_equal(a.matrix[0], b.matrix[0]), "the rows of the belt"
        rows = [pose.matrix[0] for pose in hidden.projected.poses]
        assert np.array_equal(*rows), "the same in both views"


def test_an_object_adds_attenuation_where_it_lies_and_nowhere_else(pairs):
    for window, loose, _ in pairs:
        plain, changed = batch_of(window), batch_of(loose)
        for v in range(2):
            before, after = plain.views[v].features[0], changed.views[v].features[0]
            added = (after - before)[:2]
            assert (added > -1e-5).all()
            touched = changed.views[v].counts[0, IGNORED].numpy() == 16
            near = np.pad(touched, 1)
            near = (
                sum(
                    near[i : i + touched.shape[0], j : j + touched.shape[1]]
                    for i in range(3)
                    for j in range(3)
                )
                .repeat(8, 0)
                .repeat(8, 1)
                > 0
            )
            assert torch.equal(after[:, ~near], before[:, ~near])
            assert torch.isfinite(after).all()


def test_an_anomaly_put_back_in_its_place_gives_the_anomalous_scan(scenes):
    from bagscan.training.projections import Projection, project

    scene = next(scene for scene in scenes if can_be_projected(scene))
    window = select_window(scene, whole_box(scene), (False,) * 3, np.ones((2, 2)))
    projection = Projection(scene, window.poses, scene.views[0].host, hidden=True)
    plain, truth = batch_of(window), batch_of(replace(window, anomalous=True))
    for v in range(2):
        features, counts = plain.views[v].features[0].numpy(), plain.views[v].counts[0].numpy()
        cells = project(features, counts, projection, v, len(KINDS))
        expected = truth.views[v].features[0].numpy()
        pixels = cells.repeat(8, 0).repeat(8, 1)
        clear = pixels & (expected[0] < 2.5)  # not at the limit of the detector
        assert features[0][clear] == pytest.approx(expected[0][clear], abs=0.03)
        assert np.median(np.abs(features[3][clear] - expected[3][clear])) < 0.05
        assert np.array_equal(counts[: len(KINDS)], truth.views[v].counts[0, : len(KINDS)].numpy())


def test_a_window_without_room_or_with_one_view_stays_as_it_is(scenes, pairs):
    donors = [scene for scene in scenes if can_be_projected(scene)]
    window, *_ = pairs[0]
    device, rng = window.scene.views[0].host, np.random.default_rng(0)
    assert pair_windows(replace(window, only_view=0), device, donors, rng) is None
    assert pair_windows(replace(window, devices=()), device, donors, rng) is None
    assert pair_windows(window, device, [], rng) is None
    narrow = replace(window.box, columns=tuple((first, 8) for first, _ in window.box.columns))
    assert pair_windows(replace(window, box=narrow), device, donors, rng) is None


def sampler_of(scenes, **settings):
    hosts = [scene for scene in scenes if all(view.host >= 0 for view in scene.views[:2])]
    return WindowSampler(WholeBagsConfig(bags=2, noise=0.0, **settings), hosts, len(KINDS), "raw")


def test_a_batch_shows_each_window_without_and_with_an_anomaly(scenes):
    sampler = sampler_of(scenes, overlay=0.5, projected=0.5, one_view_share=0.0)
    found = set()
    for seed in range(12):
        batch = sampler.draw(np.random.default_rng(seed))
        again = sampler.draw(np.random.default_rng(seed))
        assert torch.equal(batch.bags.truth, again.bags.truth), "a step draws the same batch"
        n = len(batch.bags.truth) // 2
        assert n == 4
        for v, view in enumerate(batch.views):
            assert all(side % 64 == 0 for side in view.features.shape[2:])
            assert not batch.bags.truth[v * n : (v + 1) * n : 2, 0].any(), "the first has none"
            found.add(bool((view.device < 0).any()))
        assert set(batch.bags.hidden[batch.bags.bag % 2 == 0].tolist()) <= {0.0}
    assert found == {False, True}, "some windows are projected, others are not"


def test_one_view_or_no_donor_leaves_bags_with_their_own_anomaly(scenes):
    for sampler in (sampler_of(scenes, projected=1.0, one_view_share=1.0), no_donors(scenes)):
        batch = sampler.draw(np.random.default_rng(0))
        assert all((view.device >= 0).all() for view in batch.views)


def no_donors(scenes):
    sampler = sampler_of(scenes, projected=1.0, one_view_share=0.0)
    sampler.projectable = []
    return sampler
