"""Scans and annotations on disk."""

from bagscan.formats.images import write_image, write_png_set
from bagscan.formats.npz import write_npz
from bagscan.formats.scans import find_scans, read_scan
from bagscan.formats.tiff import write_tiff

__all__ = ["find_scans", "read_scan", "write_image", "write_npz", "write_png_set", "write_tiff"]
