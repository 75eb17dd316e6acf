"""Round the weights of a detector to eight bits, so that its file compresses to about half.

    python -m experiments.rounded MODEL --out MODEL

Each output channel of a layer has steps of its own, a power of two, so that rounded weights are
exact in 16 bits. The file keeps its format and its size; the wheel gets smaller. Measure the result
again: it is another model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from bagscan.detector.model import Detector

STEPS = 128  # from 0 to the largest weight of a channel


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    detector = Detector.load(arguments.model)
    detector.network.load_state_dict(
        {name: rounded(weights) for name, weights in detector.network.state_dict().items()}
    )
    detector.save(arguments.out)


def rounded(weights: Tensor) -> Tensor:
    """Round the weights of a layer; biases, scales and statistics stay as they are.

    Args:
        weights: (n_out, ...) weights, or any other entry of a state.
    """
    if weights.ndim < 2 or not weights.is_floating_point():
        return weights
    largest = weights.abs().flatten(1).amax(1).clamp(min=1e-12)
    step = torch.exp2(torch.ceil(torch.log2(largest / STEPS)))
    step = step.reshape(-1, *[1] * (weights.ndim - 1))
    return torch.round(weights / step) * step


if __name__ == "__main__":
    main()
