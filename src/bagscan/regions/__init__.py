"""Regioners: parts of a model that split a view into regions."""

PARTS = ("whole_image", "grid", "slic", "ssn", "mask_rcnn", "faster_rcnn", "sub_components")
