"""DICOS threat detection reports of screened bags, one file per bag."""

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
    """Build the threat report of one row of ``findings.json``.

    Scores become ATD Assessment Probability, clipped to [0, 1]. The report of a bag without a
    readable view is marked as aborted.
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
    """Return SOP class and instance UID of every view that was read from a DICOM file."""
    instances = {}
    for view_id, view in row["views"].items():
        path = Path(view.get("path") or row["path"])
        if path.suffix.lower() in DICOS_ENDINGS:
            try:
                instances[view_id] = instance_of(path)
            except (BagscanError, OSError):  # the file disappeared after screening
                continue
    return instances


def write_threat_reports(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write ``ID.dcs`` for every bag.

    Bags that share an id get ``ID_HASH.dcs``, with the first 8 hex digits of the SHA-256 of their
    path.

    Returns:
        Paths of the files, in the order of ``rows``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = Counter(row["scan_id"] for row in rows)
    paths = []
    for row in rows:
        source = str(row["path"]).encode("utf-8", "backslashreplace")
        digest = hashlib.sha256(source).hexdigest()[:8]
        name = row["scan_id"] if counts[row["scan_id"]] == 1 else f"{row['scan_id']}_{digest}"
        paths.append(folder / f"{name}.dcs")
        write_threat_report(paths[-1], threat_report(row))
    return paths
