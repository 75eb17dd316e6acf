"""DICOS threat detection reports: they are read back as written, also by another parser."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from bagscan.core import Decision  # noqa: E402
from bagscan.core.errors import BagscanError, ReadError  # noqa: E402
from bagscan.formats import read_scan  # noqa: E402
from bagscan.formats.dicom_file import DICOS_PROCESSING, DICOS_TDR  # noqa: E402
from bagscan.formats.dicos_report import (  # noqa: E402
    ThreatObject,
    ThreatReport,
    read_threat_report,
    write_threat_report,
)

POLYGON = np.array([[10.0, 20.0], [30.5, 20.0], [30.5, 40.25]])
OBJECTS = (
    ThreatObject((10, 20, 30.5, 40.25), "anomaly", 0.75, "below", POLYGON),
    ThreatObject((1, 2, 3, 4), "knife", 0.5, "side"),
)


@pytest.fixture
def written(tmp_path):
    instances = {"below": (DICOS_PROCESSING, "2.25.7")}
    report = ThreatReport(
        "7", Decision.ALARM, OBJECTS, "bagscan 1 abc", instances=instances, comment="ä note"
    )
    write_threat_report(tmp_path / "7.dcs", report)
    return tmp_path / "7.dcs", report


def test_a_report_comes_back(written):
    path, report = written
    back = read_threat_report(path)
    assert (back.scan_id, back.decision, back.algorithm, back.comment) == (
        "7",
        Decision.ALARM,
        "bagscan 1 abc",
        "ä note",
    )
    assert dict(back.instances) == dict(report.instances)
    for found, expected in zip(back.objects, OBJECTS, strict=True):
        assert found.box_xyxy == expected.box_xyxy
        assert (found.label, found.probability, found.view_id) == (
            expected.label,
            expected.probability,
            expected.view_id,
        )
    assert np.array_equal(back.objects[0].polygon, POLYGON)
    assert back.objects[1].polygon is None


@pytest.mark.parametrize(
    ("decision", "name"),
    [(Decision.ALARM, "ALARM"), (Decision.CLEAR, "CLEAR"), (Decision.REVIEW, "UNKNOWN")],
)
def test_decisions_carry_the_names_of_the_standard(tmp_path, decision, name):
    write_threat_report(tmp_path / "a.dcs", ThreatReport("a", decision))
    dataset = pydicom.dcmread(tmp_path / "a.dcs")
    assert dataset.AlarmDecision == name
    assert (dataset.SOPClassUID, dataset.Modality, dataset.TDRType, dataset.AbortFlag) == (
        DICOS_TDR,
        "TDR",
        "MACHINE",
        "SUCCESS",
    )
    assert (dataset.NumberOfTotalObjects, dataset.NumberOfAlarmObjects) == (0, 0)
    assert read_threat_report(tmp_path / "a.dcs").decision is decision


def test_a_bag_that_was_not_examined_is_aborted_with_its_reasons(tmp_path):
    report = ThreatReport(
        "a", Decision.REVIEW, is_aborted=True, reasons=("unreadable", "nothing_examined")
    )
    write_threat_report(tmp_path / "a.dcs", report)
    back = read_threat_report(tmp_path / "a.dcs")
    assert (back.is_aborted, back.reasons) == (True, report.reasons)


def test_objects_have_the_fields_of_the_standard(written):
    found = pydicom.dcmread(written[0]).ThreatSequence[0]
    place, assessment = found.PTORepresentationSequence[0], found.ATDAssessmentSequence[0]
    assert list(place.ThreatROIVoxelSequence[0].ThreatROIBase) == [10, 20, 0]
    assert list(place.ThreatROIVoxelSequence[0].ThreatROIExtents) == [20.5, 20.25, 0]
    assert place.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "2.25.7"
    assert (assessment.ATDAssessmentFlag, assessment.ATDAssessmentProbability) == ("THREAT", 0.75)
    assert found.PotentialThreatObjectID == 1


@pytest.mark.parametrize(
    ("keyword", "value", "named"),
    [
        ("AlarmDecision", "PERHAPS", "AlarmDecision"),
        ("SOPClassUID", DICOS_PROCESSING, "report"),
        ("ThreatSequence", [pydicom.Dataset()], "PTORepresentationSequence"),
    ],
)
def test_what_is_not_understood_is_refused(written, keyword, value, named):
    dataset = pydicom.dcmread(written[0])
    setattr(dataset, keyword, value)
    dataset.save_as(written[0])
    with pytest.raises(ReadError, match=named):
        read_threat_report(written[0])


@pytest.mark.parametrize("probability", [1.5, float("nan"), -0.1])
def test_a_probability_lies_in_0_to_1(written, probability):
    dataset = pydicom.dcmread(written[0])
    dataset.ThreatSequence[0].ATDAssessmentSequence[0].ATDAssessmentProbability = probability
    dataset.save_as(written[0])
    with pytest.raises(ReadError):
        read_threat_report(written[0])


def test_a_report_is_not_a_scan(written):
    with pytest.raises(ReadError, match="report"):
        read_scan(written[0])


def test_names_of_any_letters_fit(tmp_path):
    report = ThreatReport("bag\\" + "\udcff" * 3 + "ü" * 200, Decision.CLEAR)
    write_threat_report(tmp_path / "a.dcs", report)
    assert len(read_threat_report(tmp_path / "a.dcs").scan_id) == 64


def test_another_parser_reads_the_report(written):
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.Reader()
    reader.SetFileName(str(written[0]))
    assert reader.Read()
    text = gdcm.StringFilter()
    text.SetFile(reader.GetFile())
    assert text.ToString(gdcm.Tag(0x4010, 0x1031)).strip() == "ALARM"
    assert int(text.ToString(gdcm.Tag(0x4010, 0x1034))) == 2


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(BagscanError, match="dicos"):
        write_threat_report(tmp_path / "a.dcs", ThreatReport("a", Decision.CLEAR))
