"""Registry of file formats: endings, readers, writers and required extras."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Protocol

from bagscan.core import View
from bagscan.formats.dicom import read_dicom
from bagscan.formats.hdf5 import read_hdf5
from bagscan.formats.headerless import SIDECAR_ENDINGS, read_headerless
from bagscan.formats.images import read_image
from bagscan.formats.npz import read_npz
from bagscan.formats.tiff import read_tiff
from bagscan.registry import find_entry_points


class ScanFormat(Protocol):
    """Reader of the files with a certain ending."""

    def __call__(self, path: Path, /) -> View | tuple[View, ...]:
        """Read an existing, non-empty file.

        Returns:
            The view, or all views of a bag with different ``view_id``.

        Raises:
            ReadError, ValueError: the file is not of this format.
        """


@dataclass(frozen=True)
class KnownFormat:
    """Description of a file format.

    Attributes:
        name: name of the format.
        endings: file endings in lower case, with the dot.
        channels: channels and quantities, as text.
        read: reader of a file, or None for a format that is only written.
        written_by: functions or commands that write the format; empty if it is only read.
        extra: extra of bagscan that the format requires, or an empty string.
        begins: regular expression for the first bytes; empty for a format without a header.
        beside: endings of accompanying files, such as sidecars.
    """

    name: str
    endings: tuple[str, ...]
    channels: str
    read: ScanFormat | None
    written_by: str = ""
    extra: str = ""
    begins: bytes = b""
    beside: tuple[str, ...] = ()


SCANS = (
    KnownFormat(
        "PNG",
        (".png",),
        "8 bits: pseudo-colour; 16 bits: a set ID_low.png, ID_high.png, ID_zeff.png",
        read_image,
        "write_image, write_png_set",
        begins=rb"\x89PNG\r\n\x1a\n",
    ),
    KnownFormat(
        "JPEG",
        (".jpg", ".jpeg"),
        "pseudo-colour",
        read_image,
        "write_image",
        begins=rb"\xff\xd8\xff",
    ),
    KnownFormat("BMP", (".bmp",), "pseudo-colour", read_image, "write_image", begins=b"BM"),
    KnownFormat(
        "TIFF",
        (".tif", ".tiff"),
        "low, high, zeff, or other names, one page each; RGB",
        read_tiff,
        "write_tiff, convert, simulate",
        begins=rb"II[*+]\x00|MM\x00[*+]",
    ),
    KnownFormat(
        "NPZ",
        (".npz",),
        "any names; every quantity",
        read_npz,
        "write_npz",
        begins=rb"PK\x03\x04",
    ),
    KnownFormat(
        "HDF5",
        (".h5", ".hdf5"),
        "/views/VIEW/CHANNEL: any names, every quantity, several views of a bag",
        read_hdf5,
        "write_hdf5",
        "hdf5",
        rb"\x89HDF\r\n\x1a\n",
    ),
    KnownFormat(
        "DICOM and DICOS DX",
        (".dcm", ".dcs", ".dicos"),
        "low, high, zeff, one frame each; RGB",
        read_dicom,
        "write_dicom",
        "dicos",
        rb"(?s:.{128})DICM",
    ),
    KnownFormat(
        "Headerless raw with a YAML sidecar",
        (".raw", ".bin", ".img"),
        "as the sidecar says",
        read_headerless,
        "write_headerless",
        beside=SIDECAR_ENDINGS,
    ),
)
OTHERS = (
    KnownFormat("COCO", (".json",), "boxes, masks, scores", None, "screen, write_coco"),
    KnownFormat("PASCAL VOC", (".xml",), "boxes", None, "write_voc"),
    KnownFormat("YOLO", (".txt",), "boxes; polygons are read", None, "write_yolo"),
    KnownFormat(
        "DICOS TDR",
        (".dcs",),
        "decision, boxes, polygons, scores",
        None,
        "screen --dicos",
        "dicos",
    ),
)
OTHERS_READ_BY = {
    "COCO": "read_coco",
    "PASCAL VOC": "read_voc",
    "YOLO": "read_yolo",
    "DICOS TDR": "read_threat_report",
}


def _lazy_reader(point: EntryPoint) -> ScanFormat:
    """Return a reader of another package, which is imported at the first call."""
    return lambda path: point.load()(path)


OFFERED = find_entry_points("formats").items()
HOLDS = "as the package says"
ADDED = tuple(
    KnownFormat(point.value, (f".{ending}",), HOLDS, _lazy_reader(point))
    for ending, point in OFFERED
)
BY_ENDING = {ending: known for known in (*SCANS, *ADDED) for ending in known.endings}
READERS: dict[str, ScanFormat] = {end: known.read for end, known in BY_ENDING.items() if known.read}


def begins_as_its_ending(ending: str, content: bytes) -> bool:
    """Return True if the first bytes of a file match its ending.

    The bytes of another format of the same reader match, too, such as a PNG named ``.jpg``.
    Formats without a header always match.

    Args:
        ending: file ending in lower case, with the dot.
        content: at least the first 200 bytes.
    """
    known = BY_ENDING.get(ending)
    return known is not None and any(
        scan_format.read is known.read and re.match(scan_format.begins, content)
        for scan_format in SCANS
    )


def companion_endings(ending: str) -> tuple[str, ...]:
    """Return the endings of files that accompany a scan with this ending, such as sidecars."""
    known = BY_ENDING.get(ending.lower())
    return known.beside if known else ()


Row = dict[str, str]


def table(installed: Callable[[str], bool]) -> list[Row]:
    """Return a row of text for each format, for ``bagscan formats``.

    Args:
        installed: returns True if the packages of an extra are installed.
    """
    rows = []
    for known in (*SCANS, *ADDED, *OTHERS):
        read = "read_scan" if known.read else OTHERS_READ_BY.get(known.name, "")
        extra = known.extra
        if extra and not installed(extra):
            extra = f"{extra} (missing)"
        rows.append(
            {
                "format": known.name,
                "endings": " ".join(known.endings),
                "holds": known.channels,
                "read by": read or "-",
                "written by": known.written_by or "-",
                "extra": extra or "-",
            }
        )
    return rows
