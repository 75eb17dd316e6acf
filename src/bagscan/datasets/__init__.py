"""Data sets: each module has a ``Config``, its settings, which loads it (:class:`bagscan.datasets.source.Source`)."""

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
