"""Losses of the joint sub-component network (SSN, equations 8-9; paper A, section II-B)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.association import Grid, gather_neighbours, pool, to_cells, unpool


def label_reconstruction_loss(q: Tensor, grid: Grid, labels: Tensor) -> Tensor:
    """Cross-entropy of labels sent pixel -> superpixel -> pixel through the soft association.

    Args:
        q: (B, rows, cols, 9, p). labels: (B, H, W) int64 from 0; -1 is left out.
    """
    padded = to_cells(F.pad(labels[:, None], grid.padding, value=-1), grid)
    n_labels = int(labels.max()) + 1
    one_hot = (padded == torch.arange(n_labels, device=q.device)[:, None]).to(q.dtype)
    given_back = unpool(q, pool(q, one_hot))
    right = (given_back * one_hot).sum(-2)
    counted = (padded[..., 0, :] >= 0).to(q.dtype)
    found: Tensor = -(right.clamp(min=1e-6).log() * counted).sum() / counted.sum().clamp(min=1)
    return found


def channel_reconstruction_loss(q: Tensor, grid: Grid, image: Tensor) -> Tensor:
    """Mean squared error of the image's own channels through the soft association.

    Keeps a gradient where all labels are one. Args: image (B, C, H, W).
    """
    cells = to_cells(F.pad(image, grid.padding), grid)
    inside = q.sum(-2, keepdim=True)
    error = (unpool(q, pool(q, cells)) - cells).square() * inside
    found: Tensor = error.sum() / (inside.sum() * image.shape[1]).clamp(min=1)
    return found


def compactness_loss(q: Tensor, grid: Grid, positions: Tensor) -> Tensor:
    """Squared distance of pixels from the centre of the superpixel they are given to (SSN eq. 9).

    Positions are averaged with soft q and given back by hard label.

    Args:
        positions: (B, 2, H, W), scaled as in the features.
    """
    cells = to_cells(F.pad(positions, grid.padding), grid)
    centres = gather_neighbours(pool(q, cells))
    best = q.argmax(-2, keepdim=True)
    nearest = centres.transpose(-1, -2).gather(-1, best.expand(*best.shape[:3], 2, -1))
    inside = q.sum(-2, keepdim=True)
    found: Tensor = ((nearest - cells).square() * inside).sum() / inside.sum().clamp(min=1)
    return found
