"""The network of both views is invariant to changes that must not matter."""

import pytest
import torch

from bagscan.detector.two_views import TwoViews, TwoViewsConfig

H, W = 12, 20


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = TwoViews(TwoViewsConfig(width=8, hidden=16), 5).eval()
    for (
        parameter
    ) in made.parameters():  # the last layer starts with zeros, which would hide all differences
        parameter.data.normal_(0, 0.3)
    return made


def bag(width=W, there=(1, 1)):
    generator = torch.Generator().manual_seed(1)
    merged, anomaly = (
        torch.randn(2, 5, H, W, generator=generator),
        torch.randn(2, 1, H, W, generator=generator),
    )
    shown = torch.tensor(there, dtype=torch.float32)[:, None, None, None].expand(2, 1, H, W).clone()
    if width > W:
        merged, anomaly, shown = (
            torch.nn.functional.pad(each, (0, width - W), value=value)
            for each, value in ((merged, 7.0), (anomaly, 5.0), (shown, 0.0))
        )
    device = torch.zeros(2, 2, H, width)
    device[0, :, 2:7, 3:9] = 1
    device[1, :, 6:11, 10:16] = 1
    device[:, [k for k in range(2) if not there[k]]] = 0
    return merged, anomaly, shown, device, torch.tensor([[0.5, -1.0], [2.0, 0.0]])


def swapped(inputs):
    merged, anomaly, shown, device, of_view = inputs
    return merged.flip(0), anomaly.flip(0), shown.flip(0), device.flip(1), of_view.flip(1)


@torch.inference_mode()
def test_which_view_comes_first_does_not_matter(network):
    anomaly, logits = network.together(*bag())
    other, same = network.together(*swapped(bag()))
    assert torch.allclose(anomaly, other.flip(0), atol=1e-5)
    assert torch.allclose(logits, same, atol=1e-5)


@torch.inference_mode()
def test_what_is_filled_up_does_not_matter(network):
    anomaly, logits = network.together(*bag())
    wider, same = network.together(*bag(width=W + 9))
    assert torch.allclose(anomaly, wider[..., :W], atol=1e-5)
    assert torch.allclose(logits, same, atol=1e-5)


@torch.inference_mode()
def test_a_view_that_is_missing_tells_nothing(network):
    merged, anomaly, there, device, of_view = bag(there=(1, 0))
    found, logits = network.together(merged, anomaly, there, device, of_view)
    merged[1], anomaly[1], of_view[:, 1] = 3.0, 9.0, 9.0
    again, same = network.together(merged, anomaly, there, device, of_view)
    assert torch.allclose(found[0], again[0], atol=1e-5)
    assert torch.allclose(logits, same, atol=1e-5)


@torch.inference_mode()
def test_the_other_view_matters_on_the_same_line_alone(network):
    """Except for a neighbourhood: two convolutions of three cells per block, and one before."""
    merged, anomaly, *rest = bag()
    found, _ = network(merged, anomaly, rest[0])
    merged[1, :, 0] += 3.0
    changed, _ = network(merged, anomaly, rest[0])
    differs = (found[0, 0] - changed[0, 0]).abs().amax(1) > 1e-6
    assert differs[0]
    assert not differs[5:].any()


@torch.inference_mode()
def test_a_verdict_is_of_its_own_device(network):
    merged, anomaly, there, device, of_view = bag()
    _, both = network.together(merged, anomaly, there, device, of_view)
    _, first = network.together(merged, anomaly, there, device[:1], of_view[:1])
    assert torch.allclose(both[:1], first, atol=1e-5)
    assert not torch.allclose(both[0], both[1])
