"""Scorers: how anomalous a vector is."""

PARTS = (
    "softmax",
    "multi_label",
    "gaussian",
    "memory",
    "isolation",
    "bigan",
    "svm",
    "fused",
    "gbad",
    "ganomaly",
    "skip_ganomaly",
    "anogan",
)
