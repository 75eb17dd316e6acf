"""The network of the detector."""

import numpy as np
import pytest
import torch

from bagscan.detector.model import Detector
from bagscan.detector.network import DetectorNetwork, NetworkConfig


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return DetectorNetwork(
        NetworkConfig("test_efficientnet", pretrained=False, width=16, categories=tuple("abcdef"))
    ).eval()


def test_maps_have_a_cell_of_eight_pixels(network):
    with torch.no_grad():
        maps = network(torch.zeros(2, 4, 128, 192))
    assert maps.categories.shape == (2, 6, 16, 24)
    assert maps.anomaly.shape == maps.contact.shape == (2, 1, 16, 24)
    assert maps.coarse.shape[-2:] == (2, 3)


def test_a_verdict_sees_its_device_and_what_is_near_alone(network):
    torch.manual_seed(1)
    anomaly, fine, coarse = (
        torch.randn(1, 1, 16, 24),
        torch.randn(1, 16, 16, 24),
        torch.zeros(1, 64, 2, 3),
    )
    device = torch.zeros(2, 1, 16, 24)
    device[0, :, 2:6, 2:6] = device[1, :, 8:14, 12:20] = 1
    with torch.no_grad():
        both = network.verdict(anomaly, fine, coarse, device)
        alone = network.verdict(anomaly, fine, coarse, device[1:])
        anomaly[..., :4, :8] += 5
        after = network.verdict(anomaly, fine, coarse, device)
    assert both.shape == (2,)
    assert both[1] == pytest.approx(float(alone[0]), abs=1e-5)
    assert after[1] == pytest.approx(float(both[1]), abs=1e-5)
    assert after[0] > both[0] + 1


def test_the_fold_loses_no_pixel(network):
    """One bright pixel changes the output at every position in its block of two by two."""
    still = torch.zeros(1, 4, 64, 64)
    with torch.no_grad():
        base = network(still).fine
        for y, x in ((20, 20), (20, 21), (21, 20), (21, 21)):
            lit = still.clone()
            lit[0, 0, y, x] = 50
            assert not np.allclose(network(lit).fine, base)


def test_a_stored_detector_sees_what_the_trained_one_saw_however_large_its_variances(tmp_path):
    torch.manual_seed(0)
    detector = Detector.new(
        NetworkConfig("test_efficientnet", pretrained=False, width=16),
        ("kind", "phone", "chip"),
        1,
        1,
    )
    detector.network.mix[0][1].running_var.fill_(2.5e5)  # more than 16 bits can hold
    detector.network.eval()
    features = torch.rand(1, 4, 128, 128)
    with torch.no_grad():
        before = detector.network(features)
        detector.save(tmp_path / "model")
        after = Detector.load(tmp_path / "model").network(features)
    assert torch.allclose(before.anomaly, after.anomaly, atol=0.02)
    assert torch.allclose(before.fine, after.fine, atol=0.02)
