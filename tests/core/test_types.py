"""Core types refuse what cannot be true, and cannot be changed afterwards."""

import subprocess
import sys

import numpy as np
import pytest

from bagscan.core import Annotation, Decision, Finding, OperatingPoint, Regions, Report, Scan, View


def view(**changes):
    fields = {
        "pixels": np.zeros((2, 4, 5), np.float32),
        "channels": ("low", "high"),
        "quantity": "transmission",
    }
    return View(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": np.zeros((4, 5), np.float32)}, r"\(C, H, W\)"),
        ({"pixels": np.zeros((2, 4, 5))}, "float32"),
        ({"pixels": np.full((2, 4, 5), np.nan, np.float32)}, "NaN"),
        ({"pixels": np.zeros((2, 0, 5), np.float32)}, "empty"),
        ({"channels": ("low",)}, "channel names"),
        ({"channels": ("low", "low")}, "repeat"),
        ({"quantity": "colour"}, "quantity"),
        ({"pixel_pitch_mm": 0.0}, "pixel_pitch_mm"),
    ],
)
def test_view_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        view(**changes)


def test_view_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        view().pixels[0, 0, 0] = 1


def test_scan_needs_distinct_views():
    with pytest.raises(ValueError, match="view_id"):
        Scan("a", (view(), view()))
    with pytest.raises(ValueError, match="no views"):
        Scan("a", ())


def test_regions_overlap_and_areas():
    regions = Regions.from_labels(np.array([[0, 0, 1], [0, 1, 1]]), "superpixel")
    mask = np.array([[True, False, False], [False, True, True]])
    assert regions.areas().tolist() == [3, 3]
    assert regions.overlap(mask).tolist() == pytest.approx([1 / 3, 2 / 3])
    stack = Regions(np.stack([regions.mask(0), regions.mask(1)]), 2, "instance")
    assert stack.overlap(mask).tolist() == regions.overlap(mask).tolist()


def test_regions_refuse_labels_beyond_n():
    with pytest.raises(ValueError, match="only n=1"):
        Regions(np.array([[0, 1]], np.int32), 1, "superpixel")


def test_box_region_counts_pixel_centres():
    assert Annotation("gun", (0.6, 0, 2.5, 1)).region(2, 4).astype(int).tolist() == [
        [0, 1, 0, 0],
        [0, 0, 0, 0],
    ]
    with pytest.raises(ValueError, match="x1 < x2"):
        Annotation("gun", (2, 0, 2, 1))


def test_operating_point_is_never_chosen_on_test():
    with pytest.raises(ValueError, match="test split"):
        OperatingPoint(0.5, "x", "test", 0.1)


def test_report_decision_and_findings_agree():
    mask = np.ones((4, 4), bool)
    finding = Finding("0", mask, np.zeros((3, 2)), (0, 0, 4, 4), "anomaly", 0.9, None, "superpixel")
    Report("a", Decision.ALARM, (finding,), "m")
    with pytest.raises(ValueError, match="ALARM"):
        Report("a", Decision.ALARM, (), "m")
    with pytest.raises(ValueError, match="CLEAR"):
        Report("a", Decision.CLEAR, (finding,), "m")
    with pytest.raises(ValueError, match="REVIEW"):
        Report("a", Decision.REVIEW, (), "m")


def test_import_and_help_load_no_torch():
    code = (
        "import sys, bagscan, bagscan.core, bagscan.cli, bagscan.formats, bagscan.datasets.splits; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
