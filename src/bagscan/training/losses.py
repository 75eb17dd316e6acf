"""Losses of the joint sub-component network (SSN, equations 8 and 9; Bhowmik & Breckon)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.association import Grid, gather_neighbours, pool, to_cells, unpool


def label_reconstruction_loss(q: Tensor, grid: Grid, labels: Tensor) -> Tensor:
    """Return the cross-entropy of labels that were averaged over superpixels and sent back.

    Args:
        q: (B, rows, cols, 9, p) soft association of pixels with superpixels.
        grid: grid of the superpixels.
        labels: (B, H, W) int64 from 0; -1 is ignored.
    """
    padded = to_cells(F.pad(labels[:, None], grid.padding, value=-1), grid)
    n_labels = int(labels.max()) + 1
    one_hot = (padded == torch.arange(n_labels, device=q.device)[:, None]).to(q.dtype)
    restored = unpool(q, pool(q, one_hot))
    probability = (restored * one_hot).sum(-2)
    is_known = (padded[..., 0, :] >= 0).to(q.dtype)
    loss: Tensor = -(probability.clamp(min=1e-6).log() * is_known).sum() / is_known.sum().clamp(
        min=1
    )
    return loss


def channel_reconstruction_loss(q: Tensor, grid: Grid, image: Tensor) -> Tensor:
    """Return the mean squared error of channels that were averaged over superpixels and sent back.

    It has a gradient even if all labels are equal.

    Args:
        q: (B, rows, cols, 9, p) soft association.
        grid: grid of the superpixels.
        image: (B, C, H, W).
    """
    cells = to_cells(F.pad(image, grid.padding), grid)
    inside = q.sum(-2, keepdim=True)
    error = (unpool(q, pool(q, cells)) - cells).square() * inside
    loss: Tensor = error.sum() / (inside.sum() * image.shape[1]).clamp(min=1)
    return loss


def compactness_loss(q: Tensor, grid: Grid, positions: Tensor) -> Tensor:
    """Return the mean squared distance of pixels from the centre of their superpixel (SSN, eq. 9).

    Centres are averaged with soft q. Each pixel belongs to its most probable superpixel.

    Args:
        q: (B, rows, cols, 9, p) soft association.
        grid: grid of the superpixels.
        positions: (B, 2, H, W), scaled as in the features.
    """
    cells = to_cells(F.pad(positions, grid.padding), grid)
    centres = gather_neighbours(pool(q, cells))
    best = q.argmax(-2, keepdim=True)
    nearest = centres.transpose(-1, -2).gather(-1, best.expand(*best.shape[:3], 2, -1))
    inside = q.sum(-2, keepdim=True)
    loss: Tensor = ((nearest - cells).square() * inside).sum() / inside.sum().clamp(min=1)
    return loss
