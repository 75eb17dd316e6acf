"""Writer of DICOM and DICOS DX images, and the attributes that images and reports share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bagscan import __version__
from bagscan.core import View
from bagscan.core.errors import BagscanError
from bagscan.core.extras import import_optional
from bagscan.formats.dicom_file import DICOS_PROCESSING, DX_PROCESSING, EXPLICIT_LITTLE, quiet
from bagscan.formats.quantities import ZEFF_PER_COUNT, counts_from_view

UTF_8 = "ISO_IR 192"
DICOS_VERSION = "V03"
MAX_LO, MAX_SH = 64, 16  # characters of these value representations


def text(value: str, most: int = MAX_LO) -> str:
    """Return a valid text value: UTF-8, printable, of at most ``most`` characters.

    Backslashes are replaced, since they separate values.
    """
    plain = value.encode("utf-8", "replace").decode().replace("\\", "/")
    return "".join(c for c in plain if c.isprintable())[:most]


def new_dataset(sop_class: str, scan_id: str, modality: str) -> Any:
    """Create a dataset with file meta, identifiers, date and equipment.

    Args:
        sop_class: SOP class UID.
        scan_id: id of the scan.
        modality: ``DX`` or ``TDR``.
    """
    pydicom = import_optional("pydicom")
    uid = import_optional("pydicom.uid")
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

    Each channel is a frame with a Frame Label. Counts of 8 and 16 bits are preserved exactly. DX
    has a single frame in the standards. A file of several channels is an extension that bagscan
    and readers of multi-frame images can read.

    Args:
        path: the file to write.
        view: the view.
        scan_id: id of the scan (Patient ID, called OOI ID in DICOS); the file's stem by default.
        dicos: False for a DICOM DX, which has one channel.

    Raises:
        BagscanError: pseudo-colour, log attenuation, or several channels for DICOM DX.
    """
    path = Path(path)
    if view.quantity == "pseudo_colour":
        raise BagscanError(f"{path}: DX cannot store pseudo-colour; write a PNG")
    if not dicos and len(view.channels) > 1:
        names = ", ".join(view.channels)
        raise BagscanError(f"{path}: a DICOM DX has one channel, got {names}; write DICOS DX")
    counts = counts_from_view(view)
    kind = DICOS_PROCESSING if dicos else DX_PROCESSING
    with quiet():
        dataset = image_dataset(kind, scan_id or path.stem, view, counts)
        dataset.save_as(path, enforce_file_format=True)


def image_dataset(sop_class: str, scan_id: str, view: View, counts: np.ndarray) -> Any:
    """Create a DX image of (C, H, W) uint8 or uint16 counts, one frame per channel."""
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
    dataset.PerFrameFunctionalGroupsSequence = [_frame_group(name) for name in view.channels]
    dataset.PixelData = np.ascontiguousarray(counts, counts.dtype.newbyteorder("<")).tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
    return dataset


def _frame_group(name: str) -> Any:
    """Return the functional group of a channel: its label and rescaling."""
    pydicom = import_optional("pydicom")
    content, rescale, frame = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    content.FrameLabel = text(name)
    is_zeff = name == "zeff"
    rescale.RescaleIntercept = "0"
    rescale.RescaleSlope = str(ZEFF_PER_COUNT) if is_zeff else "1"
    rescale.RescaleType = "Z_EFF" if is_zeff else "US"
    frame.FrameContentSequence = [content]
    frame.PixelValueTransformationSequence = [rescale]
    return frame
