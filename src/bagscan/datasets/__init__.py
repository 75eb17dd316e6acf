"""Data sets: each module has a ``Config``, its settings, which loads it (:class:`bagscan.datasets.source.Source`)."""

PARTS = ("simulated", "sixray", "yolo", "coco")
