"""Annotations of people: one bad entry costs one image, and numbers are checked before C code."""

import json
import math

import numpy as np
import pytest

from bagscan.core import Annotation, RunLengths
from bagscan.core.errors import ReadError
from bagscan.formats.coco import encode_mask, read_coco
from bagscan.formats.truth import check_image_size, check_on_picture, decode_mask
from bagscan.formats.voc import read_voc
from bagscan.formats.yolo import read_classes, read_yolo

H, W = 24, 32


def entry(number=1, image=1, category=1, **more):
    return {"id": number, "image_id": image, "category_id": category, "bbox": [1, 2, 10, 8], **more}


def image(number=1, name="a.png", **more):
    return {"id": number, "file_name": name, "height": H, "width": W, **more}


def read(tmp_path, annotations, images=None, categories=None):
    document = {
        "images": images or [image(), image(2, "b.png")],
        "annotations": annotations,
        "categories": categories or [{"id": 1, "name": "gun"}, {"id": 2, "name": "knife"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    bad = {}
    found = read_coco(tmp_path / "a.json", bad)
    return {one.file_name: one.annotations for one in found}, bad


def runs(counts, size=(H, W)):
    return {"counts": counts, "size": list(size)}


WRONG = {
    "no box": {"bbox": None},
    "a box of three": {"bbox": [1, 2, 3]},
    "an empty box": {"bbox": [1, 1, 0, 5]},
    "a box off the picture": {"bbox": [500, 500, 10, 10]},
    "a box that is no number": {"bbox": [math.nan, 1, 2, 3]},
    "a box without an end": {"bbox": [1, 1, math.inf, 3]},
    "an unknown category": {"category_id": 7},
    "one point": {"segmentation": [[1, 2]]},
    "two points": {"segmentation": [[1, 2, 3, 4]]},
    "half a point": {"segmentation": [[1, 2, 3, 4, 5, 6, 7]]},
    "a huge polygon": {"segmentation": [[1, 2, 1e9, 2, 1e9, 1e9]]},
    "a polygon of NaN": {"segmentation": [[1, 2, math.nan, 2, 5, 9]]},
    "a polygon of text": {"segmentation": [["1", "2", "3", "4", "5", "6"]]},
    "runs that end early": {"segmentation": runs([100, 20])},
    "runs that go on": {"segmentation": runs([100, 20, 10**9])},
    "runs below nought": {"segmentation": runs([100, -20, H * W - 80])},
    "no runs": {"segmentation": runs([])},
    "packed runs of nothing": {"segmentation": runs("")},
    "packed runs of nonsense": {"segmentation": runs("zzzzzzzzzz")},
    "packed runs without an end": {"segmentation": runs("PPPPPPPPPPPPPPPPPPPP")},
    "runs of another size": {"segmentation": runs([100, 20, H * W - 120], (W, H))},
    "a box far beyond": {"bbox": [1, 1, 1e300, 1e300]},
    "a mask without a pixel": {"segmentation": runs([H * W])},
    "a mask off its box": {"segmentation": [[20, 15, 28, 15, 28, 22]]},
    "an id twice": {"id": 2},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_one_bad_entry_costs_its_image_alone(tmp_path, wrong):
    found, bad = read(
        tmp_path, [entry() | WRONG[wrong], entry(2, 2, segmentation=[[1, 2, 9, 2, 9, 9]])]
    )
    assert "a.png" in bad
    assert "a.png" not in found
    assert wrong == "an id twice" or len(found["b.png"]) == 1


def test_masks_come_back_from_every_form(tmp_path):
    mask = np.zeros((H, W), bool)
    mask[3:9, 5:20] = True
    packed = encode_mask(mask)
    flat = np.diff(
        np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel().astype(int), [2]]))), prepend=0
    )
    for form in (packed, runs([int(n) for n in flat]), [[5, 3, 20, 3, 20, 9, 5, 9]]):
        assert np.array_equal(decode_mask(form, H, W), mask)
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        drawn = rng.random((H, W)) < share
        assert np.array_equal(decode_mask(encode_mask(drawn), H, W), drawn)


@pytest.mark.parametrize("name", [None, 7, ""])
def test_a_picture_has_a_name(tmp_path, name):
    _, bad = read(tmp_path, [], [image(name=name), image(2, "b.png")])
    assert len(bad) == 1


def test_ids_that_repeat_are_told(tmp_path):
    assert set(read(tmp_path, [entry()], [image(), image(1, "b.png")])[1]) == {"a.png", "b.png"}
    assert set(read(tmp_path, [], [image(), image(2)])[1]) == {"a.png"}
    assert read(tmp_path, [entry(image=9)])[1]  # of an unknown image


@pytest.mark.parametrize(
    "more",
    [
        {"categories": [{"id": 1, "name": "gun"}, {"id": 3}, None, {"id": [4], "name": "bat"}]},
        {
            "categories": [
                {"id": 1, "name": "gun"},
                {"id": 2, "name": "knife"},
                {"id": 2, "name": "bat"},
            ]
        },
        {"images": [image(), None, image([3], "c.png"), image(4, "d.png", height="tall")]},
        {"annotations": [entry(), None, entry(7, [1]), entry(8, {})]},
    ],
)
def test_an_entry_that_is_none_costs_itself_alone(tmp_path, more):
    found, bad = read(tmp_path, **{"annotations": [entry()], **more})
    assert [a.label for a in found["a.png"]] == ["gun"]
    assert bad
    with pytest.raises(ReadError):
        read_coco(tmp_path / "a.json")


def test_sides_written_as_text_and_boxes_left_to_the_mask(tmp_path):
    found, bad = read(
        tmp_path,
        [entry(bbox=None, segmentation=[[1, 2, 9, 2, 9, 9, 1, 9]])],
        [image(height=str(H), width=float(W))],
    )
    assert not bad
    assert found["a.png"][0].box_xyxy == (1, 2, 9, 9)


def test_the_box_around_runs_is_that_around_pixels():
    rng = np.random.default_rng(0)
    for share in (0.01, 0.1, 0.9):
        mask = rng.random((H, W)) < share
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert RunLengths.of(mask).box_xyxy == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def test_a_box_must_lie_on_its_picture_by_half_a_pixel():
    check_on_picture(Annotation("gun", (-5.0, -5.0, 5.0, 5.0)), H, W)
    for box in ((W - 0.4, 0.0, W + 9.0, 9.0), (0.0, -9.0, 9.0, 0.3), (W + 1.0, 0.0, W + 2.0, 2.0)):
        with pytest.raises(ValueError, match="gun"):
            check_on_picture(Annotation("gun", box), H, W)


def test_a_size_that_is_told_must_be_the_pictures():
    check_image_size((H, W), (H, W))
    with pytest.raises(ValueError, match="EXIF"):
        check_image_size((H, W), (W, H))
    with pytest.raises(ValueError, match=f"{W}x{H}"):
        check_image_size((H, W), (H * 2, W * 2))


@pytest.mark.parametrize(
    "text", [b"gun\x0ctoy\nknife\n", "gun\u2028toy\nknife".encode(), "gun\x85toy\nknife".encode()]
)
def test_a_class_list_breaks_at_ends_of_lines_alone(tmp_path, text):
    (tmp_path / "classes.txt").write_bytes(text)
    with pytest.raises(ReadError, match="control"):
        read_classes(tmp_path / "classes.txt")


@pytest.mark.parametrize(
    ("text", "boxes"),
    [(b"\xef\xbb\xbf0 .5 .5 .1 .1\n", 1), (b"0.0 .5 .5 .1 .1\r0 .2 .2 .1 .1\r", 2)],
)
def test_labels_with_a_byte_order_mark_or_a_class_as_a_float(tmp_path, text, boxes):
    (tmp_path / "a.txt").write_bytes(text)
    assert len(read_yolo(tmp_path / "a.txt", ["gun"], H, W)) == boxes


@pytest.mark.parametrize(
    "text",
    ["0.5 .5 .5 .1 .1", "-1 .5 .5 .1 .1", "1 .5 .5 .1 .1", "nan .5 .5 .1 .1", "inf .5 .5 .1 .1"],
)
def test_a_class_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ReadError):
        read_yolo(tmp_path / "a.txt", ["gun"], H, W)


def test_class_lists_and_yolo_boxes(tmp_path):
    (tmp_path / "classes.txt").write_bytes("\ufeffgun\nknife\n\n".encode())
    assert read_classes(tmp_path / "classes.txt") == ["gun", "knife"]
    for text in ("gun\n\nknife\n", "gun\ngun\n"):
        (tmp_path / "classes.txt").write_text(text)
        with pytest.raises(ReadError):
            read_classes(tmp_path / "classes.txt")
    for line in ("0 120 80 40 30", "0 .5 .5 0 .2", "0 .5 .5 nan .2", "5 .5 .5 .2 .2", "0 .5 .5"):
        (tmp_path / "a.txt").write_text(line)
        with pytest.raises(ReadError):
            read_yolo(tmp_path / "a.txt", ["gun"], H, W)


def test_voc_is_held_against_its_picture(tmp_path):
    box = (
        "<object><name>gun</name><bndbox><xmin>{}</xmin><ymin>2</ymin>"
        "<xmax>{}</xmax><ymax>9</ymax></bndbox></object>"
    )
    size = "<size><width>{}</width><height>{}</height></size>"
    for text, is_right in (
        (size.format(W, H) + box.format(2, 9), True),
        (size.format(H, W) + box.format(2, 9), False),
        (box.format(400, 409), False),
        (box.format(2, 9), True),
    ):
        (tmp_path / "a.xml").write_text(f"<annotation>{text}</annotation>")
        if is_right:
            assert len(read_voc(tmp_path / "a.xml", (H, W))) == 1
        else:
            with pytest.raises(ReadError):
                read_voc(tmp_path / "a.xml", (H, W))
