"""Encoders: what a region looks like, as a vector."""

PARTS = ("crop", "pooled", "fpn", "pixels")
