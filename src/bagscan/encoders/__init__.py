"""Encoders, which describe the appearance of a region as a vector."""

PARTS = ("crop", "pooled", "fpn", "pixels")
