"""A power pack, or power bank: the device of that name, as an item, with more forms."""

from __future__ import annotations

from bagscan.simulate.devices import power_bank

LAYOUTS = ("round_cells", "pouches", "two_rows", "stacked", "stick")
DIMENSIONS = {
    **power_bank.DIMENSIONS,
    "width_mm": (48.0, 82.0),
    "length_mm": (90.0, 165.0),
    "shell": ["pc_abs", "abs", "polycarbonate", "aluminium"],
    "cells": (2, 3, 4, 5),
    "board_grain_mm": (4.0, 8.0),
}
build = power_bank.build
