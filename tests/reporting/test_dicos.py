"""Screened bags as DICOS threat detection reports: one per bag, for every verdict."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")

from bagscan.core import Decision, Reason, ReasonCode
from bagscan.formats import write_dicom, write_hdf5
from bagscan.formats.dicom_file import instance_of
from bagscan.formats.dicos_report import read_threat_report
from bagscan.formats.quantities import view_from_counts
from bagscan.reporting.dicos import threat_report, write_threat_reports
from bagscan.reporting.findings import error_row, reasons_in_row


def row_of(path, decision="CLEAR", findings=(), reasons=(), views=None):
    about = {
        "scan_id": path.stem,
        "path": str(path),
        "decision": decision,
        "model_id": "abc",
        "notes": [],
    }
    return (
        about
        | {"findings": list(findings), "views": views or {"0": {"height": 8, "width": 9}}}
        | reasons_in_row(reasons)
    )


FOUND = {
    "view_id": "0",
    "label": "anomaly",
    "score": 0.9,
    "box_xyxy": [3, 2, 6, 4],
    "polygon": [[3, 2], [6, 2], [6, 4]],
}


def test_a_finding_is_an_object_of_its_image(tmp_path):
    write_dicom(tmp_path / "7.dcm", view_from_counts(np.zeros((1, 8, 9), np.uint16), ("low",)))
    write_threat_reports(tmp_path / "out", [row_of(tmp_path / "7.dcm", "ALARM", [FOUND])])
    report = read_threat_report(tmp_path / "out" / "7.dcs")
    assert (report.scan_id, report.decision, report.is_aborted) == ("7", Decision.ALARM, False)
    (found,) = report.objects
    assert (found.box_xyxy, found.label, found.view_id) == ((3, 2, 6, 4), "anomaly", "0")
    assert found.probability == pytest.approx(0.9)
    assert found.polygon.tolist() == FOUND["polygon"]
    assert report.instances == {"0": instance_of(tmp_path / "7.dcm")}


def test_scores_outside_0_to_1_are_clipped():
    report = threat_report(row_of(Path("7.tif"), "ALARM", [FOUND | {"score": 7.0}]))
    assert report.objects[0].probability == 1


def test_reviews_say_why_and_bags_of_one_name_keep_apart(tmp_path):
    unsure = row_of(
        Path("a/7.tif"),
        "REVIEW",
        reasons=[Reason(ReasonCode.NO_AIR, "nothing is as bright as air")],
    )
    rows = [unsure, error_row(Path("b/7.tif"), "b/7.tif: the file is empty"), row_of(Path("8.tif"))]
    paths = write_threat_reports(tmp_path, rows)
    assert len(set(paths)) == 3
    first, second, third = map(read_threat_report, paths)
    assert (first.decision, first.is_aborted, first.reasons) == (
        Decision.REVIEW,
        False,
        ("no_air",),
    )
    assert (second.decision, second.is_aborted, second.reasons) == (
        Decision.REVIEW,
        True,
        ("unreadable",),
    )
    assert (third.decision, third.objects) == (Decision.CLEAR, ())


def test_screen_writes_them_where_they_are_asked_for(tmp_path, tiny_model, yolo_root):
    from bagscan.reporting.folder import screen_folder

    scans = sorted((yolo_root / "images").iterdir())[:2]
    (tmp_path / "bad.png").write_bytes(b"not an image")
    tally = screen_folder(
        [*scans, tmp_path / "bad.png"], [tiny_model], tmp_path / "out", dicos=True
    )
    reports = {
        path.stem: read_threat_report(path) for path in (tmp_path / "out" / "dicos").iterdir()
    }
    assert set(reports) == {*(scan.stem for scan in scans), "bad"}
    assert reports["bad"].decision is Decision.REVIEW
    assert sum(report.decision is Decision.ALARM for report in reports.values()) == tally["ALARM"]
    assert not (tmp_path / "out" / "partial").exists()


def test_a_file_of_several_views_is_one_bag_and_misses_none(tmp_path, tiny_model, yolo_root):
    from dataclasses import replace

    from bagscan.formats import read_view
    from bagscan.reporting.bags import screen_files
    from bagscan.screening import Screener

    scan = read_view(sorted((yolo_root / "images").iterdir())[0])
    write_hdf5(tmp_path / "7.h5", [replace(scan, view_id=name) for name in ("below", "side")])
    screened = screen_files(
        [Screener.load(tiny_model)], {"0": tmp_path / "7.h5"}, ("below", "side")
    )
    assert set(screened.row["views"]) == {"below", "side"}
    assert "missing_view" not in screened.row["reason_codes"]
    screened = screen_files(
        [Screener.load(tiny_model)], {"0": tmp_path / "7.h5"}, ("below", "side", "top")
    )
    assert screened.row["reason_codes"] == ["missing_view"]
