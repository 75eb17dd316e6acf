"""Hardware beside bags: it nests, keeps its distance and its place, and shows every piece."""

import numpy as np
import pytest

from bagscan.simulate.assembly import Builder
from bagscan.simulate.hardware import LARGEST_MM, NEAREST_MM, PIECES, add_hardware
from bagscan.simulate.occupancy import audit

SIDES = (300.0, 260.0)


def beside(seed, reach_mm, share):
    b = Builder(np.random.default_rng(seed))
    with b.part("hardware"):
        b.box("nylon", (10, 10, 10))  # an assembly without solids has no bounds
        add_hardware(b, SIDES, 40.0, reach_mm, share)
    return b.build()


@pytest.mark.parametrize("piece", sorted(set(PIECES), key=lambda piece: piece.__name__))
def test_every_piece_nests_and_stays_in_its_circle(piece):
    for seed in range(6):
        b = Builder(np.random.default_rng(seed))
        with b.part("piece"):
            piece(b)
        built = b.build()
        assert np.hypot(*built.vertices[:, :2].T).max() <= LARGEST_MM
        assert audit(built, (0.5, 0.5, 0.4)).overlap_share < 0.005


def test_pieces_hang_apart_beside_the_bag():
    found = beside(3, 100.0, 1.0)
    at = found.vertices[found.first_vertex[1] :]
    assert np.abs(at[:, 0]).min() >= SIDES[0] / 2 + NEAREST_MM
    assert np.abs(at[:, 0]).max() <= SIDES[0] / 2 + 100.0
    assert np.abs(at[:, 1]).max() <= SIDES[1] / 2
    assert {*np.sign(at[:, 0])} == {-1.0, 1.0}
    assert audit(found, (0.7, 0.7, 0.5)).overlap_share < 0.005


def test_no_piece_without_space_or_share():
    assert len(beside(3, 40.0, 1.0)) == len(beside(3, 100.0, 0.0)) == 1
