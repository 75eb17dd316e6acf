"""Depthwise convolutions whose gradients are as fast as their forward pass on a processor.

oneDNN falls back to reference loops for the input's gradient of strided depthwise convolutions in 16 bits and for
the weights' gradient of 5 × 5 ones: on a processor with AMX they took 77 % of a training step of EfficientNet-Lite0.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def quicken(module: nn.Module) -> nn.Module:
    """Give all depthwise convolutions of a module the fast gradients; weights and results stay what they are."""
    for child in module.modules():
        if (
            isinstance(child, nn.Conv2d)
            and child.groups == child.in_channels == child.out_channels > 1
            and child.dilation == (1, 1)
        ):
            child.forward = _Quick(child)  # type: ignore[method-assign, assignment]
    return module


class _Quick:
    """In place of a convolution's ``forward``."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv, self.plain = conv, conv.forward
        self.same = (
            type(conv).__name__ == "Conv2dSame"
        )  # timm's, padded as TensorFlow does by what the input's size leaves over

    def __call__(self, x: Tensor) -> Tensor:
        conv = self.conv
        if not (conv.training and torch.is_grad_enabled() and x.device.type == "cpu"):
            return self.plain(x)
        if self.same:
            short = [
                max((-(-n // s) - 1) * s + k - n, 0)
                for n, s, k in zip(x.shape[-2:], conv.stride, conv.kernel_size, strict=True)
            ]
            x = F.pad(
                x,
                (short[1] // 2, short[1] - short[1] // 2, short[0] // 2, short[0] - short[0] // 2),
            )
            padding = (0, 0)
        else:
            padding = (int(conv.padding[0]), int(conv.padding[1]))
        weight = conv.weight
        if torch.is_autocast_enabled("cpu"):
            low = torch.get_autocast_dtype("cpu")
            x, weight = x.to(low), weight.to(low)
        out: Tensor = _Depthwise.apply(x, weight, conv.stride[0], padding)
        return out if conv.bias is None else out + conv.bias.to(out.dtype)[:, None, None]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        given, stride, padding = gradients[0], ctx.stride, ctx.padding
        slow_x, slow_weight = stride > 1, weight.shape[-1] > 3
        wanted = ctx.needs_input_grad
        direct = [wanted[0] and not slow_x, wanted[1] and not slow_weight, False]
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(
            given,
            x,
            weight,
            None,
            [stride] * 2,
            list(padding),
            [1, 1],
            False,
            [0, 0],
            len(weight),
            direct,
        )
        if wanted[0] and slow_x:
            to_x = _of_input(given, x, weight, stride, padding)
        if wanted[1] and slow_weight:
            to_weight = _of_weight(given, x, weight, stride, padding)
        return to_x, to_weight, None, None


def _of_input(
    given: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int]
) -> Tensor:
    """A convolution with the kernel turned about, of the gradient spread out by the stride."""
    k = weight.shape[-1]
    if stride > 1:
        size = [x.shape[axis] + 2 * p - k + 1 for axis, p in zip((2, 3), padding, strict=True)]
        spread = given.new_zeros(*given.shape[:2], *size).contiguous(
            memory_format=torch.channels_last
        )
        spread[:, :, : stride * given.shape[2] : stride, : stride * given.shape[3] : stride] = given
        given = spread
    turned = weight.flip(2, 3)
    return F.conv2d(
        given, turned, padding=(k - 1 - padding[0], k - 1 - padding[1]), groups=len(weight)
    )


def _of_weight(
    given: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int]
) -> Tensor:
    """Every tap's product of input and gradient, summed over images and places."""
    last = [t.permute(0, 2, 3, 1).contiguous().float().numpy() for t in (x, given)]
    k = weight.shape[-1]
    parts = torch.get_num_threads()
    sums = np.zeros((parts, k, k, len(weight)), np.float32)

    def add(part: int) -> None:
        _sum_taps(
            last[0][part::parts], last[1][part::parts], stride, padding[0], padding[1], sums[part]
        )

    if parts == 1:
        add(0)
    else:
        list(_threads(parts).map(add, range(parts)))
    return torch.from_numpy(sums.sum(0)).permute(2, 0, 1)[:, None].to(weight.dtype)


@cache
def _threads(n: int) -> ThreadPoolExecutor:
    """Threads of our own: numba's parallel loops would run on the TBB that OpenVINO brings along once it is loaded, and crash now and then."""
    return ThreadPoolExecutor(n, "gradient")


@numba.njit(cache=True, nogil=True, fastmath=True)
def _sum_taps(x, given, stride, pad_y, pad_x, sums):  # type: ignore[no-untyped-def]
    k = sums.shape[0]
    n, height, width, channels = x.shape
    rows, columns = given.shape[1], given.shape[2]
    for image in range(n):
        for r in range(rows):
            for a in range(k):
                y = r * stride + a - pad_y
                if y < 0 or y >= height:
                    continue
                for c in range(columns):
                    for b in range(k):
                        z = c * stride + b - pad_x
                        if z < 0 or z >= width:
                            continue
                        for d in range(channels):
                            sums[a, b, d] += x[image, y, z, d] * given[image, r, c, d]
