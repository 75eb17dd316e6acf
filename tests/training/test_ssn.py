"""Superpixel networks learn from segmented images at any stride."""

import numpy as np
import pytest
import torch

from bagscan.datasets.bsds500 import SegmentedImage
from bagscan.regions.ssn import SSN
from bagscan.regions.superpixels import Config
from bagscan.training.ssn import SSNTask, SSNTrainingConfig


def halves(seed, shift=0):
    """An image of two colours with a slanted border, and a possibly shifted segmentation."""
    rows, cols = np.mgrid[:80, :96]
    labels, drawn = ((cols + rows // 4 > 50 + seed + by).astype(np.int32) for by in (shift, 0))
    rgb = np.where(drawn[..., None] == 1, [200, 60, 40], [50, 90, 180]).astype(np.uint8)
    return SegmentedImage("halves", rgb, (labels, labels))


@pytest.mark.parametrize("stride", [1, 2])
def test_borders_that_are_there_cost_little_and_others_much(stride):
    torch.manual_seed(0)
    ssn = SSN(Config(width=4, n_features=4, stride=stride, n_superpixels=30))
    config = SSNTrainingConfig(
        batch_size=2, patch_px=64, cell_px=(10, 12), validation_counts=(30,), validation_images=1
    )
    parts = {}
    for shift in (0, 6):
        images = [halves(seed, shift) for seed in range(3)]
        task = SSNTask(ssn, images, images, config)
        loss, parts[shift] = task.loss(task.batch(np.random.default_rng(0)))
        loss.backward()
    assert parts[0]["reconstruction"] < 0.3 * parts[6]["reconstruction"]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in ssn.parameters())
    images = [halves(0)]
    assert SSNTask(ssn, images, images, config).validate()["monitor"] > 0.97
