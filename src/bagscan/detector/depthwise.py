"""Fast gradients of depthwise convolutions on CPUs.

oneDNN falls back to slow reference loops for two gradients of depthwise convolutions in 16 bits:
the input gradient of strided convolutions, and the weight gradient of 5 × 5 kernels.
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


def use_fast_depthwise(module: nn.Module) -> nn.Module:
    """Give all depthwise convolutions of a module fast gradients, in place.

    Weights and forward results stay the same.
    """
    for child in module.modules():
        if (
            isinstance(child, nn.Conv2d)
            and child.groups == child.in_channels == child.out_channels > 1
            and child.dilation == (1, 1)
        ):
            child.forward = _FastForward(child)  # type: ignore[method-assign, assignment]
    return module


class _FastForward:
    """Replacement for the ``forward`` method of a depthwise convolution."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv, self.plain = conv, conv.forward
        # timm's class pads as TensorFlow does, depending on the input's size.
        self.same = type(conv).__name__ == "Conv2dSame"

    def __call__(self, x: Tensor) -> Tensor:
        conv = self.conv
        if not (conv.training and torch.is_grad_enabled() and x.device.type == "cpu"):
            return self.plain(x)
        if self.same:
            rows, columns = (
                max((-(-n // s) - 1) * s + k - n, 0)
                for n, s, k in zip(x.shape[-2:], conv.stride, conv.kernel_size, strict=True)
            )
            left, top = columns // 2, rows // 2
            x = F.pad(x, (left, columns - left, top, rows - top))
            padding = (0, 0)
        else:
            padding = (int(conv.padding[0]), int(conv.padding[1]))
        weight = conv.weight
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
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
        gradient, stride, padding = gradients[0], ctx.stride, ctx.padding
        slow_x, slow_weight = stride > 1, weight.shape[-1] > 3
        needed = ctx.needs_input_grad
        mask = [needed[0] and not slow_x, needed[1] and not slow_weight, False]
        x_gradient, weight_gradient, _ = torch.ops.aten.convolution_backward(
            gradient,
            x,
            weight,
            None,
            [stride] * 2,
            list(padding),
            [1, 1],
            False,
            [0, 0],
            len(weight),
            mask,
        )
        if needed[0] and slow_x:
            x_gradient = _input_gradient(gradient, x, weight, stride, padding)
        if needed[1] and slow_weight:
            weight_gradient = _weight_gradient(gradient, x, weight, stride, padding)
        return x_gradient, weight_gradient, None, None


def _input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int]
) -> Tensor:
    """Convolve the output gradient, dilated by the stride, with the flipped kernel."""
    k = weight.shape[-1]
    if stride > 1:
        size = [x.shape[axis] + 2 * p - k + 1 for axis, p in zip((2, 3), padding, strict=True)]
        dilated = gradient.new_zeros(*gradient.shape[:2], *size).contiguous(
            memory_format=torch.channels_last
        )
        bottom, right = (stride * n for n in gradient.shape[2:])
        dilated[:, :, :bottom:stride, :right:stride] = gradient
        gradient = dilated
    flipped = weight.flip(2, 3)
    return F.conv2d(
        gradient, flipped, padding=(k - 1 - padding[0], k - 1 - padding[1]), groups=len(weight)
    )


def _weight_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int]
) -> Tensor:
    """Sum the products of input and output gradient over images and pixels, for each kernel tap."""
    inputs, gradients = (t.permute(0, 2, 3, 1).contiguous().float().numpy() for t in (x, gradient))
    k = weight.shape[-1]
    n_threads = torch.get_num_threads()
    sums = np.zeros((n_threads, k, k, len(weight)), np.float32)

    def add(thread: int) -> None:
        images = slice(thread, None, n_threads)
        _sum_taps(inputs[images], gradients[images], stride, padding[0], padding[1], sums[thread])

    if n_threads == 1:
        add(0)
    else:
        list(_threads(n_threads).map(add, range(n_threads)))
    return torch.from_numpy(sums.sum(0)).permute(2, 0, 1)[:, None].to(weight.dtype)


@cache
def _threads(n: int) -> ThreadPoolExecutor:
    """Return a pool of Python threads.

    numba's own parallel loops would use the TBB that OpenVINO loads, and crash now and then.
    """
    return ThreadPoolExecutor(n, "gradient")


@numba.njit(cache=True, nogil=True, fastmath=True)
def _sum_taps(x, gradient, stride, pad_y, pad_x, sums):  # type: ignore[no-untyped-def]
    k = sums.shape[0]
    n, height, width, channels = x.shape
    rows, columns = gradient.shape[1], gradient.shape[2]
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
                            sums[a, b, d] += x[image, y, z, d] * gradient[image, r, c, d]
