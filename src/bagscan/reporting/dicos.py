"""Rows of screened bags as DICOS threat detection reports, one file per bag."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagscan import __version__
from bagscan.core import Decision
from bagscan.core.errors import BagscanError
from bagscan.formats.dicom_file import instance_of
from bagscan.formats.dicos_report import ThreatObject, ThreatReport, write_threat_report
from bagscan.formats.known import BY_ENDING

DICOS_ENDINGS = BY_ENDING[".dcs"].endings


def threat_report(row: Mapping[str, Any]) -> ThreatReport:
    """The report of one row of ``findings.json``.

    Scores are written as ATD Assessment Probability. A bag that could not be read is aborted.
    """
    objects = tuple(
        ThreatObject(
            tuple(found["box_xyxy"]),
            found["label"],
            float(np.clip(found["score"], 0, 1)),
            found["view_id"],
            np.asarray(found["polygon"], float).reshape(-1, 2),
        )
        for found in row["findings"]
    )
    return ThreatReport(
        row["scan_id"],
        Decision(row["decision"]),
        objects,
        f"bagscan {__version__} {row.get('model_id') or ''}".strip(),
        is_aborted=not row["views"],
        reasons=tuple(row["reason_codes"]),
        instances=_instances(row),
        comment="; ".join([*row["reasons"], *row["notes"]]),
    )


def _instances(row: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """SOP class and instance of every view that was read from a DICOM file."""
    found = {}
    for view_id, view in row["views"].items():
        path = Path(view.get("path") or row["path"])
        if path.suffix.lower() in DICOS_ENDINGS:
            try:
                found[view_id] = instance_of(path)
            except (BagscanError, OSError):  # it went away since it was screened
                continue
    return found


def write_threat_reports(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write ``ID.dcs`` for every bag; bags of one id get the start of a hash of their path, too."""
    folder.mkdir(parents=True, exist_ok=True)
    times = Counter(row["scan_id"] for row in rows)
    written = []
    for row in rows:
        path = str(row["path"]).encode("utf-8", "backslashreplace")
        digest = hashlib.sha256(path).hexdigest()[:8]
        name = row["scan_id"] if times[row["scan_id"]] == 1 else f"{row['scan_id']}_{digest}"
        written.append(folder / f"{name}.dcs")
        write_threat_report(written[-1], threat_report(row))
    return written
