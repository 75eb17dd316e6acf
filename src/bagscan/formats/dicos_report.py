"""Reader and writer of DICOS threat detection reports (TDR, NEMA IIC 1).

A score is written as ATD Assessment Probability, clipped to [0, 1]. It is the score of the model,
not a probability. No conformance to the standard is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import Decision
from bagscan.core.annotation import check_box
from bagscan.core.errors import ReadError
from bagscan.core.extras import import_optional
from bagscan.formats.dicom_file import DICOS_TDR, quiet, read_dataset
from bagscan.formats.dicom_writing import DICOS_VERSION, MAX_LO, new_dataset, text
from bagscan.formats.limits import MAX_TEXT_BYTES, check_size, naming

ALARM_DECISIONS = {Decision.ALARM: "ALARM", Decision.CLEAR: "CLEAR", Decision.REVIEW: "UNKNOWN"}
MAX_OBJECTS = 10_000
MAX_LT, MAX_ST, MAX_CS = 10_240, 1024, 16  # characters of these value representations


@dataclass(frozen=True)
class ThreatObject:
    """Potential threat object (PTO) in one view.

    Attributes:
        box_xyxy: half-open box in pixels of the view.
        label: Threat Category Description.
        probability: ATD Assessment Probability, in [0, 1].
        view_id: name of the view.
        polygon: (N, 2) float xy outline, or None.
    """

    box_xyxy: tuple[float, float, float, float]
    label: str
    probability: float
    view_id: str = "0"
    polygon: np.ndarray | None = None


@dataclass(frozen=True)
class ThreatReport:
    """Verdict and findings of a scan.

    Attributes:
        scan_id: id of the scan (OOI ID).
        decision: verdict; REVIEW is written as UNKNOWN.
        objects: potential threat objects.
        algorithm: name and version of the algorithm.
        is_aborted: True if the scan could not be examined.
        reasons: reason codes of a REVIEW.
        instances: SOP class UID and SOP instance UID of the views that are DICOM files.
        comment: free text.
    """

    scan_id: str
    decision: Decision
    objects: tuple[ThreatObject, ...] = ()
    algorithm: str = "bagscan"
    is_aborted: bool = False
    reasons: tuple[str, ...] = ()
    instances: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    comment: str = ""


def write_threat_report(path: str | Path, report: ThreatReport) -> None:
    """Write a threat detection report of type MACHINE, as Explicit VR Little Endian.

    Raises:
        BagscanError: the package pydicom is not installed.
    """
    with quiet():
        dataset = new_dataset(DICOS_TDR, report.scan_id, "TDR")
        now = f"{dataset.ContentDate}{dataset.ContentTime}"
        dataset.DICOSVersion = DICOS_VERSION
        dataset.OOIType = "BAGGAGE"
        dataset.ScanType = "OPERATIONAL"
        dataset.TDRType = "MACHINE"
        dataset.AlarmDecision = ALARM_DECISIONS[report.decision]
        dataset.AlarmDecisionTime = now
        dataset.ThreatDetectionAlgorithmAndVersion = text(report.algorithm)
        dataset.AbortFlag = "ABORT" if report.is_aborted else "SUCCESS"
        if report.reasons:
            dataset.AbortReason = [text(reason.upper(), MAX_CS) for reason in report.reasons]
        if report.comment:
            dataset.ImageComments = text(report.comment, MAX_LT)
        dataset.NumberOfTotalObjects = dataset.NumberOfAlarmObjects = len(report.objects)
        items = [
            _threat_item(i, threat, report.instances) for i, threat in enumerate(report.objects, 1)
        ]
        dataset.ThreatSequence = items
        dataset.save_as(Path(path), enforce_file_format=True)


def _threat_item(
    number: int, threat: ThreatObject, instances: Mapping[str, tuple[str, str]]
) -> Any:
    """Return an item of the Threat Sequence."""
    pydicom = import_optional("pydicom")
    item, place, assessment = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    x1, y1, x2, y2 = threat.box_xyxy
    region = pydicom.Dataset()
    region.ThreatROIBase = [x1, y1, 0.0]
    region.ThreatROIExtents = [x2 - x1, y2 - y1, 0.0]  # the depth of a 2D image is 0
    region.ThreatROIBitmap = b""  # empty: the entire region
    place.ThreatROIVoxelSequence = [region]
    place.PTOLocationDescription = text(threat.view_id, MAX_ST)
    place.CenterOfPTO = [(x1 + x2) / 2, (y1 + y2) / 2, 0.0]
    if threat.polygon is not None and len(threat.polygon) >= 2:
        points = np.column_stack([threat.polygon, np.zeros(len(threat.polygon))])
        place.BoundingPolygon = [float(v) for v in points.ravel()]
    if threat.view_id in instances:
        reference = pydicom.Dataset()
        kind, instance = instances[threat.view_id]
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = kind, instance
        place.ReferencedInstanceSequence = [reference]
    assessment.ThreatCategory = "ANOMALY"
    assessment.ThreatCategoryDescription = text(threat.label, MAX_LO)
    assessment.ATDAbilityAssessment = "NO_INTERFERENCE"
    assessment.ATDAssessmentFlag = "THREAT"
    assessment.ATDAssessmentProbability = float(np.clip(threat.probability, 0, 1))
    item.PotentialThreatObjectID = number % (1 << 16)
    item.PTORepresentationSequence = [place]
    item.ATDAssessmentSequence = [assessment]
    return item


def read_threat_report(path: str | Path) -> ThreatReport:
    """Read a threat detection report of two-dimensional images.

    Raises:
        ReadError: not a DICOS TDR, or a field is missing or invalid; the message names the field.
    """
    path = Path(path)
    check_size(path, MAX_TEXT_BYTES)
    with naming(path, "DICOS threat detection report"), quiet():
        dataset, _ = read_dataset(path)
        if str(dataset.get("SOPClassUID", "")) != DICOS_TDR:
            raise ReadError(f"{path}: not a DICOS threat detection report")
        alarm = str(dataset.get("AlarmDecision", "")).strip()
        decision = {name: key for key, name in ALARM_DECISIONS.items()}.get(alarm)
        if decision is None:
            known = ", ".join(ALARM_DECISIONS.values())
            raise ReadError(f"{path}: AlarmDecision is {alarm or 'missing'}; expected {known}")
        items = list(dataset.get("ThreatSequence") or ())
        if len(items) > MAX_OBJECTS:
            raise ReadError(
                f"{path}: {len(items):,} objects; at most {MAX_OBJECTS:,} are supported"
            )
        instances: dict[str, tuple[str, str]] = {}
        objects = tuple(_read_object(path, item, instances) for item in items)
        abort_reason = dataset.get("AbortReason") or ()
        reasons = (abort_reason,) if isinstance(abort_reason, str) else abort_reason
        return ThreatReport(
            str(dataset.get("PatientID", "")),
            decision,
            objects,
            _first_text(dataset.get("ThreatDetectionAlgorithmAndVersion")),
            str(dataset.get("AbortFlag", "")).strip() == "ABORT",
            tuple(str(reason).lower() for reason in reasons),
            instances,
            str(dataset.get("ImageComments", "") or ""),
        )


def _first_text(value: Any) -> str:
    return str(value or "") if isinstance(value, str) or not value else str(value[0])


def _read_object(path: Path, item: Any, instances: dict[str, tuple[str, str]]) -> ThreatObject:
    """Read an item of the Threat Sequence and add its image, if given, to ``instances``."""
    place = _first_item(path, item, "PTORepresentationSequence")
    assessment = _first_item(path, item, "ATDAssessmentSequence")
    region = _first_item(path, place, "ThreatROIVoxelSequence")
    base = np.asarray(region.get("ThreatROIBase"), float)
    extents = np.asarray(region.get("ThreatROIExtents"), float)
    if base.shape != (3,) or extents.shape != (3,):
        raise ReadError(f"{path}: ThreatROIBase and ThreatROIExtents must have 3 values each")
    box = (float(base[0]), float(base[1]), float(base[0] + extents[0]), float(base[1] + extents[1]))
    check_box(box)
    polygon = None
    if place.get("BoundingPolygon"):
        points = np.asarray(place.BoundingPolygon, float)
        if len(points) % 3 or not np.isfinite(points).all():
            raise ReadError(f"{path}: BoundingPolygon must be finite x, y, z triples")
        polygon = points.reshape(-1, 3)[:, :2]
    view_id = str(place.get("PTOLocationDescription", "") or "0")
    if "ReferencedInstanceSequence" in place:
        image = _first_item(path, place, "ReferencedInstanceSequence")
        instances[view_id] = (str(image.ReferencedSOPClassUID), str(image.ReferencedSOPInstanceUID))
    probability = float(assessment.get("ATDAssessmentProbability", "nan"))
    if not 0 <= probability <= 1:
        raise ReadError(f"{path}: ATDAssessmentProbability must be in [0, 1], got {probability}")
    label = assessment.get("ThreatCategoryDescription") or assessment.get("ThreatCategory")
    return ThreatObject(box, str(label or ""), probability, view_id, polygon)


def _first_item(path: Path, item: Any, keyword: str) -> Any:
    sequence = item.get(keyword)
    if not sequence:
        raise ReadError(f"{path}: {keyword} is missing")
    return sequence[0]
