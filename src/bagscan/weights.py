"""Weights as model folders store them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def in_half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels in 16 bits, half the size.

    Vectors stay in 32: they weigh nothing, and variances of normalised layers reach beyond what 16 bits hold (65,504),
    where they would become infinite and silence the layer.
    """
    return {
        name: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for name, value in state.items()
    }
