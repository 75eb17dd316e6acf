"""Weights in the form stored in model folders."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def to_half_precision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert matrices and kernels to 16 bits, half the size.

    Vectors stay in 32 bits. They are small, and variances of normalisation layers can exceed the
    maximum of 16 bits (65,504), become infinite and silence the layer.
    """
    return {
        name: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for name, value in state.items()
    }
