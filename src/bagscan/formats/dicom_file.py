"""Attributes and stored pixels of DICOM files, with size limits."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from bagscan.core.errors import ReadError
from bagscan.core.extras import import_optional
from bagscan.formats.limits import check_pixels, naming

DX_PRESENTATION, DX_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1.1"
DICOS_PRESENTATION = "1.2.840.10008.5.1.4.1.1.501.2.1"
DICOS_PROCESSING = "1.2.840.10008.5.1.4.1.1.501.2.2"
DICOS_TDR = "1.2.840.10008.5.1.4.1.1.501.3"
COMPUTED_RADIOGRAPHY = "1.2.840.10008.5.1.4.1.1.1"
IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
EXPLICIT_BIG, RLE = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"
READ_SYNTAXES = {IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, RLE}
MAX_FRAMES = 16
PREAMBLE = 132


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the warnings of pydicom about values that deviate from the standard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_dataset(path: Path) -> tuple[Any, bool]:
    """Read the attributes of a DICOM file.

    Returns:
        The dataset, and True if its numbers are big endian.

    Raises:
        ReadError: not a DICOM file with a preamble, or an unsupported transfer syntax.
    """
    pydicom = import_optional("pydicom")
    content = path.read_bytes()
    if content[PREAMBLE - 4 : PREAMBLE] != b"DICM":
        raise ReadError(f"{path}: not a DICOM file (DICM is missing after the preamble)")
    meta = import_optional("pydicom.filereader").read_file_meta_info(path)
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if syntax not in READ_SYNTAXES:
        name = uid_name(syntax)
        raise ReadError(
            f"{path}: transfer syntax {name} is not supported; expected uncompressed or RLE"
        )
    return pydicom.dcmread(io.BytesIO(content)), syntax == EXPLICIT_BIG


def instance_of(path: Path) -> tuple[str, str]:
    """Return the SOP class UID and SOP instance UID of a DICOM file. Only its header is read.

    Raises:
        ReadError: not a DICOM file.
    """
    with naming(path, "DICOM file"), quiet():
        meta = import_optional("pydicom.filereader").read_file_meta_info(path)
        return str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)


def uid_name(uid: str) -> str:
    """Return the name of a registered UID, or the UID itself."""
    return str(import_optional("pydicom").uid.UID(uid).name) if uid else "(none)"


def _int_attribute(path: Path, image: Any, keyword: str, default: int | None = None) -> int:
    value = image.get(keyword)
    if value is None or value == "":
        if default is None:
            raise ReadError(f"{path}: {keyword} is missing")
        return default
    return int(value)


def frames_of(path: Path, image: Any, big: bool) -> tuple[np.ndarray, int]:
    """Read the pixels of one image.

    Args:
        path: the file, for messages.
        image: dataset of the image.
        big: True if numbers are big endian.

    Returns:
        Counts, (frames, samples, H, W) uint8 or uint16, and their number of significant bits.

    Raises:
        ReadError: the image is too large, damaged, or of an unsupported type.
    """
    rows, columns = _int_attribute(path, image, "Rows"), _int_attribute(path, image, "Columns")
    frames, samples = (
        _int_attribute(path, image, "NumberOfFrames", 1),
        _int_attribute(path, image, "SamplesPerPixel", 1),
    )
    allocated = _int_attribute(path, image, "BitsAllocated")
    stored = _int_attribute(path, image, "BitsStored", allocated)
    high = _int_attribute(path, image, "HighBit", stored - 1)
    if not 1 <= frames <= MAX_FRAMES:
        raise ReadError(f"{path}: NumberOfFrames is {frames}; expected 1 to {MAX_FRAMES}")
    check_pixels(path, rows, columns, frames * samples)
    if allocated not in (8, 16) or not 1 <= stored <= high + 1 <= allocated:
        bits = f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}"
        raise ReadError(f"{path}: {bits}; expected 8 or 16 bits")
    if _int_attribute(path, image, "PixelRepresentation", 0):
        raise ReadError(f"{path}: PixelRepresentation 1 (signed numbers) is not supported")
    dtype = np.dtype("u1" if allocated == 8 else ">u2" if big else "<u2")
    count = frames * samples * rows * columns
    flat = _decode_pixels(path, image, dtype, frames, samples * rows * columns)
    if len(flat) < count * dtype.itemsize or len(flat) > count * dtype.itemsize + 1:
        expected = count * dtype.itemsize
        raise ReadError(f"{path}: PixelData has {len(flat):,} bytes, expected {expected:,}")
    planes = np.frombuffer(flat, dtype, count).astype(dtype.newbyteorder("="))
    planes = (planes >> (high + 1 - stored)) & ((1 << stored) - 1)
    interleaved = samples > 1 and _int_attribute(path, image, "PlanarConfiguration", 0) == 0
    shape = (frames, rows, columns, samples) if interleaved else (frames, samples, rows, columns)
    planes = planes.reshape(shape)
    return (planes.transpose(0, 3, 1, 2) if interleaved else planes), stored


def _decode_pixels(path: Path, image: Any, dtype: np.dtype[Any], frames: int, values: int) -> bytes:
    """Return PixelData, with RLE frames decoded to exactly ``values`` numbers each."""
    data = bytes(image.PixelData)
    if not image["PixelData"].is_undefined_length:
        return data
    decoded_frames = []
    encaps = import_optional("pydicom.encaps")
    for number, encoded in enumerate(encaps.generate_frames(data, number_of_frames=frames)):
        if number == frames:
            raise ReadError(f"{path}: PixelData has more frames than NumberOfFrames {frames}")
        expected = values * dtype.itemsize
        decoded = imagecodecs.dicomrle_decode(encoded, dtype, out=bytearray(expected))
        if len(decoded) != expected:
            sizes = f"{len(decoded):,} bytes, expected {expected:,}"
            raise ReadError(f"{path}: frame {number + 1} has {sizes}")
        decoded_frames.append(bytes(decoded))
    return b"".join(decoded_frames)
