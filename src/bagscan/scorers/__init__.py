"""Scorers: how anomalous a vector is."""

PARTS = ("softmax",)
