"""Reader of DICOM DX and DICOS DX (NEMA IIC 1) X-ray images.

The standards store one energy per image. Files with several energies are also read, as several
frames or as several images in the items of one sequence. Values that cannot be converted to
transmission, effective Z or colour raise an error that names the attribute. No conformance to
either standard is claimed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import View
from bagscan.core.errors import ReadError
from bagscan.formats.dicom_file import (
    COMPUTED_RADIOGRAPHY,
    DICOS_PRESENTATION,
    DICOS_PROCESSING,
    DICOS_TDR,
    DX_PRESENTATION,
    DX_PROCESSING,
    MAX_FRAMES,
    frames_of,
    quiet,
    read_dataset,
    uid_name,
)
from bagscan.formats.limits import check_size, naming
from bagscan.formats.quantities import (
    CHANNEL_NAMES,
    RGB,
    ZEFF_PER_COUNT,
    Reference,
    default_channels,
    named_channels,
    quantity_of,
    referenced_view,
)

READ_CLASSES = {
    DX_PRESENTATION,
    DX_PROCESSING,
    DICOS_PRESENTATION,
    DICOS_PROCESSING,
    COMPUTED_RADIOGRAPHY,
}
EFFECTIVE_Z, OPTICAL_DENSITY = "Z_EFF", "OD"  # RescaleType
MAX_TRANSMISSION = 2.0  # a rescaled full scale up to this is transmission itself
AIR = ("AirCounts", "GainCorrectionReferenceSequence")
DARK = ("DarkCurrentCounts", "DarkCurrentSequence")
VIEW_NAME = re.compile(r"[A-Za-z0-9_.-]{1,16}")


@dataclass(frozen=True)
class _Plane:
    """Stored channel of an image.

    Attributes:
        counts: (H, W) uint8 or uint16.
        label: Frame Label in lower case, or an empty string.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        unit: RescaleType, or an empty string.
    """

    counts: np.ndarray
    label: str
    slope: float
    intercept: float
    unit: str


def read_dicom(path: str | Path) -> View:
    """Read a DICOM DX, DICOS DX or CR image.

    Pixel Intensity Relationship Sign, or else MONOCHROME1 or MONOCHROME2, defines whether air has
    large or small values. Air Counts and Dark Current Counts are applied. Without them, full scale
    of Bits Stored is transmission 1. RescaleType ``Z_EFF`` is effective Z, ``OD`` is optical
    density in thousandths.

    Returns:
        A view of low, high and zeff (frames by Frame Label, else in this order), or of red, green
        and blue.

    Raises:
        ReadError: as :func:`bagscan.formats.read_scan`; also for an unsupported attribute.
    """
    path = Path(path)
    check_size(path)
    with naming(path, "DICOM file"), quiet():
        dataset, big = read_dataset(path)
        kind = str(dataset.get("SOPClassUID", ""))
        if kind == DICOS_TDR:
            raise ReadError(f"{path}: is a DICOS threat detection report; expected a scan")
        if kind not in READ_CLASSES:
            name = uid_name(kind)
            raise ReadError(
                f"{path}: SOP class {name} is not supported; expected DX, DICOS DX or CR"
            )
        images = _find_images(path, dataset)
        fields = {"view_id": _view_name(dataset), "pixel_pitch_mm": _pixel_pitch(dataset)}
        if str(images[0].get("PhotometricInterpretation", "")).strip() == "RGB":
            return _read_colour(path, images, big, fields)
        return _read_grey(path, images, dataset, big, fields)


def _view_name(dataset: Any) -> str:
    name = str(dataset.get("ViewName", "") or "").strip()
    return name if VIEW_NAME.fullmatch(name) else "0"


def _pixel_pitch(dataset: Any) -> float | None:
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        spacing = dataset.get(keyword)
        if spacing:
            pitch = float(spacing[0])
            return pitch if 0 < pitch < math.inf else None
    return None


def _find_images(path: Path, dataset: Any) -> list[Any]:
    """Return the datasets with pixels: the file itself, or the items of one of its sequences."""
    for keyword in ("FloatPixelData", "DoubleFloatPixelData"):
        if keyword in dataset:
            raise ReadError(
                f"{path}: {keyword} is not supported; expected PixelData of 8 or 16 bits"
            )
    if "PixelData" in dataset:
        return [dataset]
    for element in dataset:
        if element.VR == "SQ" and element.keyword != "IconImageSequence":
            images = [item for item in element.value if "PixelData" in item]
            if images:
                return images[: MAX_FRAMES + 1]
    raise ReadError(f"{path}: PixelData is missing")


def _read_colour(path: Path, images: list[Any], big: bool, fields: dict[str, Any]) -> View:
    planes, bits = frames_of(path, images[0], big)
    if len(images) > 1 or planes.shape[:2] != (1, 3):
        frames, samples = planes.shape[:2]
        raise ReadError(
            f"{path}: RGB image has {frames} frames and {samples} samples; expected 1 and 3"
        )
    return referenced_view(planes[0], RGB, bits, **fields)


def _read_grey(
    path: Path, images: list[Any], dataset: Any, big: bool, fields: dict[str, Any]
) -> View:
    planes: list[_Plane] = []
    bits = 0
    for image in images:
        counts, image_bits = frames_of(path, image, big)
        if bits not in (0, image_bits):
            raise ReadError(f"{path}: BitsStored differs between images: {bits} and {image_bits}")
        bits = image_bits
        if counts.shape[1] != 1:
            raise ReadError(
                f"{path}: SamplesPerPixel of a grey image is {counts.shape[1]}; expected 1"
            )
        planes += [_read_plane(path, image, dataset, i, counts[i, 0]) for i in range(len(counts))]
    if len({plane.counts.shape for plane in planes}) > 1:
        sizes = [plane.counts.shape for plane in planes]
        raise ReadError(f"{path}: channels differ in size: {sizes}")
    inverted = _is_inverted(path, images[0], dataset)
    names = _channel_names(path, planes)
    counts = np.stack([plane.counts for plane in planes])
    air = _read_reference(path, dataset, *AIR, counts.shape, big)
    dark = _read_reference(path, dataset, *DARK, counts.shape, big)
    are_plain = [_is_plain(plane, name) for plane, name in zip(planes, names, strict=True)]
    if all(are_plain):
        zeff = next((plane.slope for plane in planes if plane.unit == EFFECTIVE_Z), ZEFF_PER_COUNT)
        return referenced_view(counts, names, bits, air, dark, inverted, zeff, **fields)
    if any(reference is not None for reference in (*air, *dark)):
        raise ReadError(
            f"{path}: AirCounts and DarkCurrentCounts are not supported for rescaled values"
        )
    pairs = zip(planes, names, strict=True)
    pixels = np.stack([_rescale(path, plane, name, bits, inverted) for plane, name in pairs])
    return View(pixels.astype(np.float32), names, quantity_of(names), bit_depth=bits, **fields)


def _is_plain(plane: _Plane, name: str) -> bool:
    """Return True if a channel is counts with default rescaling, or effective Z with a factor."""
    if name == "zeff":
        return plane.intercept == 0 and (plane.unit == EFFECTIVE_Z or plane.slope == 1)
    return plane.slope == 1 and plane.intercept == 0 and plane.unit != OPTICAL_DENSITY


def _read_plane(path: Path, image: Any, dataset: Any, frame: int, counts: np.ndarray) -> _Plane:
    """Return a frame with the label and rescaling of its functional group, or of the image."""
    frame_group = _item(image.get("PerFrameFunctionalGroupsSequence"), frame)
    shared_group = _item(image.get("SharedFunctionalGroupsSequence"), 0)
    content = _item((frame_group or {}).get("FrameContentSequence"), 0)
    groups = (group for group in (frame_group, shared_group) if group is not None)
    transforms = (_item(group.get("PixelValueTransformationSequence"), 0) for group in groups)
    default = image if "RescaleSlope" in image else dataset
    rescale = next((item for item in transforms if item is not None), default)
    for source in (image, dataset):
        if "ModalityLUTSequence" in source:
            raise ReadError(f"{path}: ModalityLUTSequence (a look-up table) is not supported")
    label = (content or image).get("FrameLabel", "") or ""
    slope = _to_float(rescale.get("RescaleSlope"), 1.0)
    intercept = _to_float(rescale.get("RescaleIntercept"), 0.0)
    if not math.isfinite(slope) or slope == 0 or not math.isfinite(intercept):
        rescaling = f"RescaleSlope {slope} and RescaleIntercept {intercept}"
        raise ReadError(f"{path}: {rescaling} must be finite, and the slope not 0")
    label_text = re.sub(r"[ -]+", "_", str(label).strip().lower())
    unit = str(rescale.get("RescaleType", "") or "").strip().upper()
    return _Plane(counts, label_text, slope, intercept, unit)


def _to_float(value: Any, default: float) -> float:
    return default if value is None or value == "" else float(value)


def _item(sequence: Any, index: int) -> Any:
    return sequence[index] if sequence is not None and index < len(sequence) else None


def _channel_names(path: Path, planes: list[_Plane]) -> tuple[str, ...]:
    labels = ["zeff" if plane.unit == EFFECTIVE_Z else plane.label for plane in planes]
    if names := named_channels(labels):
        return names
    if len(planes) == 1:
        return ("low",)
    if len(planes) > len(CHANNEL_NAMES):
        raise ReadError(f"{path}: {len(planes)} frames without FrameLabel; expected 1 to 3")
    return default_channels(len(planes))


def _attribute(image: Any, dataset: Any, keyword: str) -> Any:
    """Return an attribute of an image, or else of its file."""
    return image.get(keyword, dataset.get(keyword))


def _is_inverted(path: Path, image: Any, dataset: Any) -> bool:
    """Return True if air has small values."""
    relation = str(_attribute(image, dataset, "PixelIntensityRelationship") or "LIN")
    if relation.strip() != "LIN":
        raise ReadError(
            f"{path}: PixelIntensityRelationship {relation} is not supported; expected LIN"
        )
    photometric = str(_attribute(image, dataset, "PhotometricInterpretation") or "").strip()
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        expected = "expected MONOCHROME1, MONOCHROME2 or RGB"
        raise ReadError(
            f"{path}: PhotometricInterpretation is {photometric or '(none)'}; {expected}"
        )
    sign = _attribute(image, dataset, "PixelIntensityRelationshipSign")
    if sign in (None, ""):
        return photometric == "MONOCHROME1"
    if int(sign) not in (1, -1):
        raise ReadError(f"{path}: PixelIntensityRelationshipSign must be 1 or -1, got {sign}")
    return int(sign) == -1


def _read_reference(
    path: Path,
    dataset: Any,
    keyword: str,
    sequence: str,
    shape: tuple[int, ...],
    big: bool,
) -> list[Reference]:
    """Return the air or dark counts of each channel: (), (W,) or (H, W) float64, or None."""
    sources = (dataset, *(dataset.get(sequence) or ()))
    items = [source for source in sources if keyword in source]
    channels, height, width = shape
    if not items:
        return [None] * channels
    if len(items) not in (1, channels):
        raise ReadError(f"{path}: {keyword} is given {len(items)} times for {channels} channels")
    references: list[Reference] = []
    for item in items:
        raw = bytes(item[keyword].value)
        values = np.frombuffer(raw[: len(raw) // 2 * 2], ">u2" if big else "<u2").astype(np.float64)
        sizes: dict[int, tuple[int, ...]] = {
            1: (),
            width: (width,),
            height * width: (height, width),
        }
        if len(values) not in sizes:
            expected = ", ".join(map(str, sizes))
            raise ReadError(
                f"{path}: {keyword} has {len(values)} values; expected one of {expected}"
            )
        references.append(values.reshape(sizes[len(values)]))
    return references * channels if len(references) == 1 else references


def _rescale(path: Path, plane: _Plane, name: str, bits: int, inverted: bool) -> np.ndarray:
    """Return the (H, W) transmission or effective Z of a channel after its rescaling."""
    full = float((1 << bits) - 1)
    if _is_plain(plane, name):
        if name == "zeff":
            return plane.counts * (plane.slope if plane.unit == EFFECTIVE_Z else ZEFF_PER_COUNT)
        return (full - plane.counts if inverted else plane.counts) / full
    values = plane.counts * plane.slope + plane.intercept
    if plane.unit == OPTICAL_DENSITY:
        return np.asarray(np.power(10.0, -values.clip(0) / 1000))
    if plane.unit == EFFECTIVE_Z or name == "zeff":
        return values
    if plane.unit not in ("", "US"):
        raise ReadError(f"{path}: RescaleType is {plane.unit}; expected US, OD or Z_EFF")
    ends = plane.intercept, full * plane.slope + plane.intercept
    if inverted is (plane.slope < 0) and min(ends) >= -0.1 and 0 < max(ends) <= MAX_TRANSMISSION:
        return values
    if plane.intercept == 0 and plane.slope > 0 and max(ends) > MAX_TRANSMISSION:
        return (full - plane.counts if inverted else plane.counts) / full
    rescaling = f"RescaleSlope {plane.slope:g}, RescaleIntercept {plane.intercept:g}"
    raise ReadError(f"{path}: {rescaling} give values of an unknown unit; expected 0 to 1")
