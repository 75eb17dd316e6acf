import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from bagscan.backbones import create_backbone
from bagscan.detector.depthwise import use_fast_depthwise


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "stride", "size"), [(3, 1, 12), (3, 2, 12), (5, 1, 9), (5, 2, 10), (5, 2, 11)]
)
def test_fast_depthwise_gradients_are_those_of_torch(kernel, stride, size, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8)
    quick = use_fast_depthwise(nn.Sequential(copy.deepcopy(plain)))
    x = torch.randn(3, 8, size, size + 2)
    grads = []
    for net in (plain, quick):
        own = x.clone().requires_grad_()
        out = net(own)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        grads.append((out, own.grad, *(p.grad for p in net.parameters())))
    for one, other in zip(*grads, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)


def test_a_backbone_learns_the_same_with_them():
    torch.manual_seed(0)
    plain, _, _ = create_backbone("test_efficientnet", 4)
    quick = use_fast_depthwise(copy.deepcopy(plain))
    x = torch.randn(2, 4, 64, 64)
    for net in (plain, quick):
        sum(m.square().mean() for m in net(x)).backward()
    for (name, one), other in zip(plain.named_parameters(), quick.parameters(), strict=True):
        if one.grad.norm() > 1e-4:
            assert torch.allclose(one.grad, other.grad, rtol=2e-3, atol=1e-5), name


NO_LAYER = """
import numba, openvino, torch
from bagscan.backbones import create_backbone
from bagscan.detector.depthwise import use_fast_depthwise
openvino.Core()
torch.set_num_threads(2)
conv = use_fast_depthwise(torch.nn.Conv2d(4, 4, 5, padding=2, groups=4))
conv(torch.randn(2, 4, 8, 8)).sum().backward()
try:
    print(numba.threading_layer())
except ValueError:
    print("none")
"""


@pytest.mark.slow
def test_training_starts_no_threads_of_numba_which_would_be_those_of_openvino():
    pytest.importorskip("openvino")
    done = subprocess.run(
        [sys.executable, "-c", NO_LAYER], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["none"]
