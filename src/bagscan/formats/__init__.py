"""Scans and annotations on disk."""

from bagscan.formats.images import write_image, write_png_set
from bagscan.formats.scans import find_scans, read_scan
from bagscan.formats.stacks import write_npz, write_tiff

__all__ = ["find_scans", "read_scan", "write_image", "write_npz", "write_png_set", "write_tiff"]
