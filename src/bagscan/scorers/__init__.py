"""Scorers, which rate how anomalous a region's description is."""

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
