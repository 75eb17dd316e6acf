"""Findings as COCO: every REVIEW has the sentences and codes of the JSON rows as its reason."""

import json
from pathlib import Path

import numpy as np
import pytest

from bagscan.core import ReasonCode
from bagscan.formats.coco import encode_mask, read_coco
from bagscan.reporting.findings import coco_of_rows, error_row

ABOUT = ("scan_id", "decision", "reasons", "reason_codes", "notes")


def row_of(bag, decision, code=None, views=("below", "side"), **more):
    mask = np.zeros((8, 9), bool)
    mask[2:4, 3:6] = True
    found = {"label": "anomaly", "score": 0.9, "box_xyxy": [3, 2, 6, 4], "mask": encode_mask(mask)}
    return {
        "scan_id": bag,
        "path": f"in/{bag}_below.tif",
        "decision": decision,
        "reasons": [f"why {code}"] if code else [],
        "reason_codes": [str(code)] if code else [],
        "notes": ["no item was found"],
        "views": {v: {"height": 8, "width": 9, "path": f"in/{bag}_{v}.tif"} for v in views},
        "findings": [{"view_id": views[0], **found}] if decision == "ALARM" else [],
    } | more


@pytest.mark.parametrize("code", ReasonCode)
def test_every_image_says_why_its_bag_is_review(code):
    rows = [row_of("7", "REVIEW", code), row_of("8", "ALARM"), row_of("9", "CLEAR")]
    images = coco_of_rows(rows)["images"]
    assert len(images) == 6
    for image in images:
        row = next(one for one in rows if one["scan_id"] == image["scan_id"])
        assert {key: image[key] for key in ABOUT} == {key: row[key] for key in ABOUT}
    assert {tuple(one["reason_codes"]) for one in images} == {(str(code),), ()}


def test_a_bag_without_a_single_view_is_not_missing():
    rows = [row_of("8", "ALARM"), error_row(Path("in/7.tif"), "in/7.tif: torn")]
    result = coco_of_rows(rows)
    assert len(result["images"]) == 2
    (lost,) = result["not_examined"]
    assert lost["file_name"] == "in/7.tif"
    assert lost["decision"] == "REVIEW"
    assert lost["reason_codes"] == ["unreadable"]
    assert lost["reasons"] == ["in/7.tif: torn"]


def test_it_stays_a_coco_file_that_others_read(tmp_path):
    rows = [
        row_of("7", "REVIEW", ReasonCode.BLANK),
        row_of("8", "ALARM"),
        error_row(Path("x"), "torn"),
    ]
    (tmp_path / "f.json").write_text(json.dumps(coco_of_rows(rows)))
    images = read_coco(tmp_path / "f.json")
    assert [len(image.annotations) for image in images] == [0, 0, 1, 0]
    assert images[2].annotations[0].box_xyxy == (3, 2, 6, 4)


def test_rows_of_an_earlier_version_have_no_reasons():
    row = row_of("7", "REVIEW")
    del row["reason_codes"], row["notes"]
    assert coco_of_rows([row])["images"][0]["reason_codes"] == []
