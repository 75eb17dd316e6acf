"""Isolation forest: how few random cuts set a description apart. Trees are kept as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import IsolationForest
from torch import Tensor

from bagscan.contracts import Report
from bagscan.scorers.fitted import Fitted, held_out

CARD = {
    "paper": "Liu, Ting & Zhou, Isolation forest (ICDM 2008)",
    "channels": "any",
    "weights": "fitted by the user; none shipped",
    "limits": "cuts along single coordinates see little of what lies between them",
}
EULER = 0.5772156649
LEAF = -1


@dataclass(frozen=True)
class Config:
    """Forest settings.

    Attributes:
        dim: length of a region's description. trees: how many. rows_a_tree: benign rows that each is grown on.
    """

    dim: int = 192
    trees: int = 100
    rows_a_tree: int = 256


class Isolation(Fitted):
    """Trees as (trees, nodes) arrays. See :class:`Config`."""

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

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0, report: Report = print) -> None:
        """Fit to benign rows (n, dim); anomalous ones are not looked at.

        Raises:
            ValueError: too few rows.
        """
        rows, rest = held_out(benign, seed)
        per_tree = min(self.config.rows_a_tree, len(rows))
        forest = IsolationForest(
            n_estimators=self.config.trees, max_samples=per_tree, random_state=seed
        ).fit(rows.numpy())
        trees = [one.tree_ for one in forest.estimators_]
        most = max(tree.node_count for tree in trees)

        def stacked(values: list[np.ndarray], dtype: type) -> Tensor:
            return torch.from_numpy(
                np.stack([np.pad(v, (0, most - len(v))) for v in values]).astype(dtype)
            )

        inner = [tree.children_left >= 0 for tree in trees]
        self.column = stacked(
            [np.where(i, t.feature, LEAF) for t, i in zip(trees, inner, strict=True)], np.int64
        )
        self.left, self.right = (
            stacked(
                [
                    np.where(i, getattr(t, f"children_{side}"), 0)
                    for t, i in zip(trees, inner, strict=True)
                ],
                np.int64,
            )
            for side in ("left", "right")
        )
        self.cut = stacked([t.threshold for t in trees], np.float32)
        # A leaf that still holds several rows is as deep as a tree of them would be.
        self.length = stacked(
            [_depths(t) + _mean_length(t.n_node_samples) for t in trees], np.float32
        )
        self.expected = torch.tensor(float(_mean_length(np.array([per_tree]))[0]))
        self.standardise(rest)
        report(f"isolation: {len(trees)} trees of {per_tree} rows")

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,) in 0 to 1: 2^(-mean path / expected path), the paper's score."""
        trees = torch.arange(len(self.column))
        at = torch.zeros(len(embeddings), len(trees), dtype=torch.long)
        while True:
            column = self.column[trees, at]
            inside = column != LEAF
            if not inside.any():
                break
            value = embeddings.gather(1, column.clamp(min=0))
            down = torch.where(
                value <= self.cut[trees, at], self.left[trees, at], self.right[trees, at]
            )
            at = torch.where(inside, down, at)
        return torch.pow(2.0, -self.length[trees, at].mean(1) / self.expected)


def _depths(tree: object) -> np.ndarray:
    """Depth of every node of a scikit-learn tree; children come after their parents."""
    left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]
    depth = np.zeros(len(left))
    for node in np.flatnonzero(left >= 0):
        depth[[left[node], right[node]]] = depth[node] + 1
    return depth


def _mean_length(rows: np.ndarray) -> np.ndarray:
    """Mean depth of a search tree of so many rows (the paper's equation 1)."""
    n = np.maximum(rows.astype(float), 2)
    return np.where(
        rows > 2, 2 * (np.log(n - 1) + EULER) - 2 * (n - 1) / n, np.where(rows == 2, 1.0, 0.0)
    )


def build(config: Config) -> Isolation:
    return Isolation(config)


def tiny() -> Config:
    return Config(dim=8, trees=4)
