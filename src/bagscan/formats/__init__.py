"""Readers and writers of scans and annotations."""

from bagscan.formats.dicom_writing import write_dicom
from bagscan.formats.hdf5 import write_hdf5
from bagscan.formats.headerless import write_headerless
from bagscan.formats.images import write_image, write_png_set
from bagscan.formats.npz import write_npz
from bagscan.formats.scans import find_scans, read_scan, read_view
from bagscan.formats.tiff import write_tiff

__all__ = [
    "find_scans",
    "read_scan",
    "read_view",
    "write_dicom",
    "write_hdf5",
    "write_headerless",
    "write_image",
    "write_npz",
    "write_png_set",
    "write_tiff",
]
