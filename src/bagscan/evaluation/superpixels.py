"""Superpixel quality: ASA, boundary recall and precision, compactness.

Sources: Stutz, Hermans, Leibe, "Superpixels: an evaluation of the state of the art" (CVIU 2018),
equations 3-5 and 8; Schick et al. 2012 for compactness. With several annotators, each score is the
mean over them. Compare scores at equal actual counts, which can differ from the requested counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def contingency(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return (n_labels, n_truth) pixel counts of every pair of a label and a true label.

    Args:
        labels, truth: (H, W) integers from 0.
    """
    n_truth = int(truth.max()) + 1
    pairs = labels.astype(np.int64).ravel() * n_truth + truth.ravel()
    n_labels = int(labels.max()) + 1
    return np.bincount(pairs, minlength=n_labels * n_truth).reshape(n_labels, n_truth)


def achievable_segmentation_accuracy(labels: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of pixels that are right if each superpixel takes its majority label."""
    return float(contingency(labels, truth).max(axis=1).sum() / labels.size)


def boundaries(labels: np.ndarray) -> np.ndarray:
    """Return (H, W) bool, pixels whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilate by a square of side ``2 * radius + 1``, one axis after the other."""
    for axis in (0, 1):
        shifted = [mask]
        for step in range(1, radius + 1):
            ahead, behind = np.zeros_like(mask), np.zeros_like(mask)
            near, far = [slice(None)] * 2, [slice(None)] * 2
            near[axis], far[axis] = slice(step, None), slice(None, -step)
            ahead[tuple(near)] = mask[tuple(far)]
            behind[tuple(far)] = mask[tuple(near)]
            shifted += [ahead, behind]
        mask = np.logical_or.reduce(shifted)
    return mask


def boundary_recall(labels: np.ndarray, truth: np.ndarray, radius: int = 1) -> float:
    """Return the share of true boundary pixels within ``radius`` px of a superpixel boundary.

    The result is 1 if there is no true boundary.
    """
    true_edge = boundaries(truth)
    n_true = int(true_edge.sum())
    if not n_true:
        return 1.0
    return float((true_edge & _dilate(boundaries(labels), radius)).sum() / n_true)


def boundary_precision(labels: np.ndarray, truth: np.ndarray, radius: int = 1) -> float:
    """Return the share of superpixel boundary pixels within ``radius`` px of a true boundary.

    The result is 1 if there is no superpixel boundary.
    """
    edge = boundaries(labels)
    n_edge = int(edge.sum())
    if not n_edge:
        return 1.0
    return float((edge & _dilate(boundaries(truth), radius)).sum() / n_edge)


def compactness(labels: np.ndarray) -> float:
    """Return the area-weighted isoperimetric quotient 4πA/P² in [0, 1] (Schick et al.)."""
    area = np.bincount(labels.ravel())
    framed = np.pad(labels, 1, constant_values=-1)
    perimeter = np.zeros(len(area))
    for axis in (0, 1):
        a = framed[:-1] if axis == 0 else framed[:, :-1]
        b = framed[1:] if axis == 0 else framed[:, 1:]
        crossing = a != b
        for side in (a[crossing], b[crossing]):
            perimeter += np.bincount(side[side >= 0], minlength=len(area))
    present = area > 0
    quotient = 4 * np.pi * area[present] / perimeter[present] ** 2
    return float((area[present] * np.minimum(quotient, 1)).sum() / labels.size)


def superpixel_scores(labels: np.ndarray, truths: Sequence[np.ndarray]) -> dict[str, float]:
    """Return all scores of an image and the actual number of superpixels.

    Args:
        labels: (H, W) superpixels, integers from 0.
        truths: (H, W) label map of each annotator; scores are averaged over them.
    """
    return {
        "count": float(len(np.unique(labels))),
        "asa": float(np.mean([achievable_segmentation_accuracy(labels, t) for t in truths])),
        "boundary_recall": float(np.mean([boundary_recall(labels, t) for t in truths])),
        "boundary_precision": float(np.mean([boundary_precision(labels, t) for t in truths])),
        "compactness": compactness(labels),
    }
