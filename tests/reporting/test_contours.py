"""Contours are as short as possible."""

import re
from itertools import pairwise

import numpy as np

from bagscan.reporting.contours import benign_path, outline_path, simplify


def test_points_on_a_line_go_and_corners_stay():
    square = np.array(
        [[0, 0], [0, 1], [0, 2], [0, 3], [1, 3], [2, 3], [3, 3], [3, 2], [3, 0], [1, 0], [0, 0]],
        float,
    )
    assert simplify(square, 0.1).tolist() == [[0, 0], [0, 3], [3, 3], [3, 0], [0, 0]]
    assert simplify(square[:2], 0.1).tolist() == square[:2].tolist()


def test_nothing_lies_farther_away_than_the_tolerance():
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([20 * np.cos(angle), 20 * np.sin(angle)], 1)
    short = simplify(circle, 0.6)
    assert len(short) < 40
    for point in circle:
        away = []
        for a, b in pairwise(short):
            t = np.clip(np.dot(point - a, b - a) / np.dot(b - a, b - a), 0, 1)
            away.append(np.hypot(*(point - a - t * (b - a))))
        assert min(away) <= 0.6 + 1e-9


def test_a_mask_of_two_parts_has_two_outlines():
    mask = np.zeros((20, 20), bool)
    mask[2:6, 2:6], mask[10:15, 12:18] = True, True
    assert outline_path(mask).count("M") == outline_path(mask).count("Z") == 2


def unit_edges(path):
    """Every pixel edge that a path of runs covers."""
    found = set()
    for x, y, way, n in re.findall(r"M(\d+),(\d+)([vh])(\d+)", path):
        found |= {
            (int(x) + (k if way == "h" else 0), int(y) + (k if way == "v" else 0), way)
            for k in range(int(n))
        }
    return found


def test_borders_between_benign_regions_are_drawn_and_those_within_anomalies_not():
    labels = (np.arange(12)[:, None] // 4 * 3 + np.arange(12)[None] // 4).astype(np.int32)
    labels[0, 0] = -1
    scores = np.array([0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    path = benign_path(labels, scores, 0.5)
    flagged = np.append(scores >= 0.5, False)[labels]
    expected = {
        (c + 1, r, "v")
        for r in range(12)
        for c in range(11)
        if labels[r, c] != labels[r, c + 1] and not (flagged[r, c] and flagged[r, c + 1])
    }
    expected |= {
        (c, r + 1, "h")
        for r in range(11)
        for c in range(12)
        if labels[r, c] != labels[r + 1, c] and not (flagged[r, c] and flagged[r + 1, c])
    }
    assert unit_edges(path) == expected
    assert path.count("M") < len(expected) / 2
