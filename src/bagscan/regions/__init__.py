"""Regioners: how a view is cut up."""

PARTS = ("whole_image", "grid", "slic", "ssn", "mask_rcnn", "faster_rcnn", "sub_components")
