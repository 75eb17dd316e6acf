"""Write the detector whose weights are the mean of those of detectors trained from one start.

    python -m experiments.mean_of_models MODEL MODEL ... --out MODEL

The mean of weights from before and after a training is often better than both (Wortsman et al.
2022, "Robust fine-tuning of zero-shot models"), above all on other scanners than those of training.
Calibrate the result: thresholds are not averaged.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bagscan.core.errors import ConfigError
from bagscan.detector.model import Detector


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    detectors = [Detector.load(model) for model in arguments.models]
    first = detectors[0]
    first.network.load_state_dict(mean_of([d.network.state_dict() for d in detectors]))
    first.operating_point = None
    first.about = {"mean_of": [d.id for d in detectors]}
    first.save(arguments.out)


def mean_of(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of the weights of networks; numbers of batches are those of the first.

    Raises:
        ConfigError: the networks differ in their layers.
    """
    first = states[0]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes):
        raise ConfigError("the networks differ; only models trained from one start have a mean")
    return {
        name: torch.stack([state[name] for state in states]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }


if __name__ == "__main__":
    main()
