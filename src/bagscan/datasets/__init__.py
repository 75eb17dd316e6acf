"""Datasets.

Each module has a class ``Config`` with the settings of the dataset and a method that loads it; see
:class:`bagscan.datasets.source.Source`.
"""

PARTS = (
    "simulated",
    "sixray",
    "pidray",
    "opixray",
    "hixray",
    "clcxray",
    "compass_xp",
    "dvxray",
    "gdxray",
    "coco",
    "voc",
    "yolo",
)
