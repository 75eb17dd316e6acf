"""Isolation forest scorer: counts the random splits that isolate a description."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import IsolationForest
from torch import Tensor

from bagscan.scorers.fitted import Fitted, held_out

log = logging.getLogger(__name__)

CARD = {
    "paper": "Liu, Ting & Zhou, Isolation forest (ICDM 2008)",
    "channels": "any",
    "weights": "fitted by the user; not bundled",
    "limits": "splits along single coordinates are insensitive to their correlations",
}
EULER = 0.5772156649
LEAF = -1  # marks a leaf in ``column``


@dataclass(frozen=True)
class Config:
    """Settings of the forest.

    Attributes:
        dim: length of a region's description.
        trees: number of trees.
        rows_per_tree: benign rows that each tree is grown from.
    """

    dim: int = 192
    trees: int = 100
    rows_per_tree: int = 256


class Isolation(Fitted):
    """Isolation forest, stored as arrays. See :class:`Config`.

    Attributes:
        column: (trees, nodes) int64 column that a node splits, -1 for a leaf.
        cut: (trees, nodes) threshold of a node.
        left: (trees, nodes) int64 child of a node for values up to its threshold.
        right: (trees, nodes) int64 child of a node for larger values.
        length: (trees, nodes) path length that ends at a node.
        expected: scalar, expected path length.
    """

    column: Tensor
    cut: Tensor
    left: Tensor
    right: Tensor
    length: Tensor
    expected: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        for name in ("column", "left", "right"):
            self.register_buffer(
                name, torch.zeros(1, 1, dtype=torch.long) + (LEAF if name == "column" else 0)
            )
        for name in ("cut", "length"):
            self.register_buffer(name, torch.zeros(1, 1))
        self.register_buffer("expected", torch.ones(()))

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0) -> None:
        """Fit to benign rows (n, dim); anomalous rows are ignored.

        Raises:
            ValueError: if there are too few rows.
        """
        rows, rest = held_out(benign, seed)
        per_tree = min(self.config.rows_per_tree, len(rows))
        forest = IsolationForest(
            n_estimators=self.config.trees, max_samples=per_tree, random_state=seed
        ).fit(rows.numpy())
        trees = [estimator.tree_ for estimator in forest.estimators_]
        max_nodes = max(tree.node_count for tree in trees)

        def stack(values: list[np.ndarray], dtype: type) -> Tensor:
            rows = [np.pad(v, (0, max_nodes - len(v))) for v in values]
            return torch.from_numpy(np.stack(rows).astype(dtype))

        def stack_nodes(name: str, leaf: int) -> Tensor:
            values = [
                np.where(tree.children_left >= 0, getattr(tree, name), leaf) for tree in trees
            ]
            return stack(values, np.int64)

        self.column = stack_nodes("feature", LEAF)
        self.left, self.right = stack_nodes("children_left", 0), stack_nodes("children_right", 0)
        self.cut = stack([tree.threshold for tree in trees], np.float32)
        # A leaf with several rows is extended by the mean depth of a tree of these rows.
        lengths = [_depths(tree) + _mean_length(tree.n_node_samples) for tree in trees]
        self.length = stack(lengths, np.float32)
        self.expected = torch.tensor(float(_mean_length(np.array([per_tree]))[0]))
        self.standardise(rest)
        log.info(f"isolation: {len(trees)} trees of {per_tree} rows")

    def distance(self, embeddings: Tensor) -> Tensor:
        """Return (n,) scores of the paper in [0, 1], 2^(-mean path / expected path)."""
        trees = torch.arange(len(self.column))
        node = torch.zeros(len(embeddings), len(trees), dtype=torch.long)
        while True:
            column = self.column[trees, node]
            is_inner = column != LEAF
            if not is_inner.any():
                break
            value = embeddings.gather(1, column.clamp(min=0))
            is_left = value <= self.cut[trees, node]
            child = torch.where(is_left, self.left[trees, node], self.right[trees, node])
            node = torch.where(is_inner, child, node)
        return torch.pow(2.0, -self.length[trees, node].mean(1) / self.expected)


def _depths(tree: object) -> np.ndarray:
    """Return the depth of every node of a scikit-learn tree, where children follow parents."""
    left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]
    depth = np.zeros(len(left))
    for node in np.flatnonzero(left >= 0):
        depth[[left[node], right[node]]] = depth[node] + 1
    return depth


def _mean_length(rows: np.ndarray) -> np.ndarray:
    """Return the mean depth of a search tree of a number of rows (equation 1 of the paper)."""
    n = np.maximum(rows.astype(float), 2)
    return np.where(
        rows > 2, 2 * (np.log(n - 1) + EULER) - 2 * (n - 1) / n, np.where(rows == 2, 1.0, 0.0)
    )


def build(config: Config) -> Isolation:
    return Isolation(config)


def tiny() -> Config:
    return Config(dim=8, trees=4)
