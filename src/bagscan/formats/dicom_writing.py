"""DICOM and DICOS DX images, written; and the attributes that images and reports share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bagscan import __version__
from bagscan.core import View
from bagscan.core.errors import BagscanError
from bagscan.core.extras import required
from bagscan.formats.dicom_file import DICOS_PROCESSING, DX_PROCESSING, EXPLICIT_LITTLE, quiet
from bagscan.formats.quantities import ZEFF_PER_COUNT, counts_from_view

UTF_8 = "ISO_IR 192"
DICOS_VERSION = "V03"
MAX_LO, MAX_SH = 64, 16  # characters of these value representations


def text(value: str, most: int = MAX_LO) -> str:
    """A text value: UTF-8, without the backslash that separates values, no longer than allowed."""
    plain = value.encode("utf-8", "replace").decode().replace("\\", "/")
    return "".join(c for c in plain if c.isprintable())[:most]


def new_dataset(sop_class: str, scan_id: str, modality: str) -> Any:
    """A dataset with file meta, identifiers, date and equipment.

    Args:
        scan_id: of the bag. modality: ``DX`` or ``TDR``.
    """
    pydicom = required("pydicom")
    uid = required("pydicom.uid")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(EXPLICIT_LITTLE)
    now = datetime.now(UTC)
    dataset.SpecificCharacterSet = UTF_8
    dataset.SOPClassUID = uid.UID(sop_class)
    dataset.SOPInstanceUID = uid.generate_uid(prefix=None)
    dataset.StudyInstanceUID = uid.generate_uid(prefix=None)
    dataset.SeriesInstanceUID = uid.generate_uid(prefix=None)
    dataset.Modality = modality
    dataset.PatientName = dataset.PatientID = text(scan_id)
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = now.strftime("%Y%m%d")
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = now.strftime("%H%M%S")
    dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.StudyID = ""
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Manufacturer = "bagscan"
    dataset.SoftwareVersions = __version__
    return dataset


def write_dicom(path: str | Path, view: View, scan_id: str = "", dicos: bool = True) -> None:
    """Write a view as DICOS DX (or DICOM DX) For Processing, uncompressed.

    One frame per channel, with a Frame Label; 8- and 16-bit counts come back bit for bit. The
    standards' DX has one frame: a file of several channels is an extension, read here and by
    readers of multi-frame images.

    Args:
        scan_id: of the bag (Patient ID, which DICOS calls OOI ID); the file's stem by default.
        dicos: False for a DICOM DX, which holds one channel.

    Raises:
        BagscanError: pseudo-colour, log attenuation, or several channels for DICOM DX.
    """
    path = Path(path)
    if view.quantity == "pseudo_colour":
        raise BagscanError(f"{path}: DX is grey; write pseudo-colour as PNG")
    if not dicos and len(view.channels) > 1:
        names = ", ".join(view.channels)
        raise BagscanError(f"{path}: a DICOM DX holds one channel, got {names}; write DICOS DX")
    counts = counts_from_view(view)
    kind = DICOS_PROCESSING if dicos else DX_PROCESSING
    with quiet():
        dataset = image_dataset(kind, scan_id or path.stem, view, counts)
        dataset.save_as(path, enforce_file_format=True)


def image_dataset(sop_class: str, scan_id: str, view: View, counts: np.ndarray) -> Any:
    """A DX image of (C, H, W) uint8 or uint16 counts, one frame per channel."""
    dataset = new_dataset(sop_class, scan_id, "DX")
    bits = 8 * counts.dtype.itemsize
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.PresentationIntentType = "FOR PROCESSING"
    dataset.ViewName = text(view.view_id, MAX_SH)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.Rows, dataset.Columns = counts.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = "LIN"
    dataset.PixelIntensityRelationshipSign = 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    if view.pixel_pitch_mm is not None:
        pitch = f"{view.pixel_pitch_mm:.10g}"[:MAX_SH]
        dataset.ImagerPixelSpacing = [pitch, pitch]
    dataset.NumberOfFrames = len(counts)
    dataset.PerFrameFunctionalGroupsSequence = [_frame(name) for name in view.channels]
    dataset.PixelData = np.ascontiguousarray(counts, counts.dtype.newbyteorder("<")).tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
    return dataset


def _frame(name: str) -> Any:
    """What is said of one channel: its label, and how its counts become values."""
    pydicom = required("pydicom")
    content, rescale, frame = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    content.FrameLabel = text(name)
    is_zeff = name == "zeff"
    rescale.RescaleIntercept = "0"
    rescale.RescaleSlope = str(ZEFF_PER_COUNT) if is_zeff else "1"
    rescale.RescaleType = "Z_EFF" if is_zeff else "US"
    frame.FrameContentSequence = [content]
    frame.PixelValueTransformationSequence = [rescale]
    return frame
