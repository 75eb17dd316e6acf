"""Prohibited items, a module for each class: inert stand-ins with what an X-ray picture shows.

A module has the same contents as that of a device (:mod:`bagscan.simulate.devices`): three or more
``LAYOUTS``, ten or more ``DIMENSIONS``, and ``build(b, d, layout)``. An item is a single component
with the name of its class. The classes are those of SIXray and of other scanners' public sets.
"""

from __future__ import annotations

# Append new classes at the end: seeds of families contain the names, lists their order.
NAMES = (
    "pistol",
    "revolver",
    "kitchen_knife",
    "folding_knife",
    "craft_knife",
    "scissors",
    "wrench",
    "pliers",
    "hammer",
    "screwdriver",
    "lighter",
    "pressure_can",
    "lighter_fluid",
    "handcuffs",
    "slingshot",
    "batteries",
    "firecrackers",
    "nail_polish",
    "power_pack",
)
