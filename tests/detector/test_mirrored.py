"""A detector that averages over mirrored views has the same maps whichever way a bag lies."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bagscan.core import View
from bagscan.detector.colours import Colours
from bagscan.detector.exported import UsableDetector
from bagscan.detector.inference import (
    ORIENTATIONS,
    Options,
    _run_view,
    compute_maps,
    run_detector,
)
from bagscan.detector.model import Detector
from bagscan.detector.network import NetworkConfig
from bagscan.detector.together import evaluate_jointly
from bagscan.detector.torch_engine import TorchEngine
from bagscan.detector.two_views import TwoViewsConfig
from bagscan.formats.quantities import CHANNEL_NAMES
from bagscan.model_folder import read_description

SHAPE = (128, 192)  # whole multiples of 64, so that no air is added on one side only


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    two_views = TwoViewsConfig(width=8, hidden=16)
    config = NetworkConfig("test_efficientnet", pretrained=False, width=16, two_views=two_views)
    detector = Detector.new(config, tuple("abcdef"), kinds=2, devices=2, prohibited=1)
    for name, parameter in detector.network.named_parameters():
        if name.startswith(("two_views", "categories", "anomaly")):
            parameter.data.normal_(0, 0.3)  # last layers start at zero, and would find nothing
    detector.network.eval()
    return detector


def bag():
    rng = np.random.default_rng(0)
    views = []
    for name in ("below", "side"):
        pixels = np.ones((len(CHANNEL_NAMES), *SHAPE), np.float32)
        for _ in range(30):
            y, x = rng.integers(0, SHAPE[0] - 30), rng.integers(0, SHAPE[1] - 30)
            pixels[:, y : y + 30, x : x + 20] *= rng.uniform(0.3, 0.9, (len(CHANNEL_NAMES), 1, 1))
        pixels[CHANNEL_NAMES.index("zeff")] = 8 * (pixels[0] < 1)
        views.append(View(pixels, CHANNEL_NAMES, "dual_energy", view_id=name))
    return views


def turned(views, axes):
    return [replace(view, pixels=np.flip(view.pixels, axes).copy()) for view in views]


def run(detector, views, mirrored, together=False):
    return run_detector(views, TorchEngine(detector), detector.numbers, together, Options(mirrored))


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)])
def test_a_bag_that_lies_the_other_way_has_the_same_maps(detector, axes):
    straight, other = (
        run(detector, views, mirrored=True) for views in (bag(), turned(bag(), axes))
    )
    for view, turned_view in zip(straight.views, other.views, strict=True):
        assert np.allclose(view.anomaly, np.flip(turned_view.anomaly, axes), atol=1e-4)


def test_verdicts_over_both_views_are_means_over_orientations(detector):
    engine = TorchEngine(detector)
    results = [_run_view(view, engine, detector.numbers, Options(mirrored=True)) for view in bag()]
    evaluated = [
        evaluate_jointly([result.maps[k] for result in results], engine)
        for k in range(len(ORIENTATIONS))
    ]
    averaged = run(detector, bag(), mirrored=True, together=True)
    logits = np.array([[logit for _, logit in devices] for _, devices in evaluated])
    assert [logit for _, logit in averaged.together] == pytest.approx(logits.mean(0).tolist())
    assert np.ptp(logits, axis=0).min() > 1e-3, "orientations differ, or the test shows nothing"


def test_a_single_evaluation_depends_on_the_way_the_bag_lies(detector):
    straight, other = (
        run(detector, views, mirrored=False) for views in (bag(), turned(bag(), (-1,)))
    )
    assert not np.allclose(straight.views[0].anomaly, other.views[0].anomaly[:, ::-1], atol=1e-2)


def test_maps_are_mirrored_back(detector):
    engine = TorchEngine(detector)
    view = bag()[0]
    mirrored = compute_maps(turned([view], (-1,))[0], engine, Colours(), (-1,))
    for name, value in compute_maps(view, engine, Colours()).items():
        assert np.allclose(value[..., ::-1], mirrored[name], atol=1e-4), name


def test_a_model_folder_says_how_views_are_evaluated(detector, tmp_path):
    options = Options(mirrored=True, item_smoothing=1.5)
    replace(detector, options=options).save(tmp_path)
    assert Detector.load(tmp_path).options == options
    description = read_description(tmp_path)
    assert UsableDetector(description, "id", TorchEngine(detector)).options == options
    del description["model"]["item_smoothing"]  # a folder of an earlier version
    found = UsableDetector(description, "id", TorchEngine(detector)).options
    assert found == replace(options, item_smoothing=0.0)
