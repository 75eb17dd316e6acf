"""COCO, VOC and YOLO agree within half a pixel; errors name the bad file."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagscan.core import Annotation, RunLengths
from bagscan.core.errors import ReadError
from bagscan.formats.coco import CocoImage, read_coco, write_coco
from bagscan.formats.voc import read_voc, write_voc
from bagscan.formats.yolo import read_yolo, write_yolo

H, W, CLASSES = 311, 477, ["gun", "knife"]


def through(kind, annotations, folder):
    path = folder / f"a.{kind}"
    if kind == "coco":
        write_coco(
            path, [CocoImage("a.png", H, W, tuple(annotations)), CocoImage("empty.png", H, W)]
        )
        images = read_coco(path)
        assert [len(i.annotations) for i in images] == [len(annotations), 0]
        return list(images[0].annotations)
    if kind == "voc":
        write_voc(path, annotations, "a.png", H, W)
        return read_voc(path)
    write_yolo(path, annotations, CLASSES, H, W)
    return read_yolo(path, CLASSES, H, W)


@pytest.mark.parametrize(("a", "b"), list(itertools.permutations(["coco", "voc", "yolo"], 2)))
def test_a_to_b_to_a(tmp_path_factory, a, b):
    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.floats(0, W - 3),
                st.floats(0, H - 3),
                st.floats(1, 200),
                st.floats(1, 200),
                st.sampled_from(CLASSES),
            ),
            max_size=5,
        )
    )
    def check(boxes):
        folder = tmp_path_factory.mktemp("formats")
        truth = [Annotation(c, (x, y, min(x + w, W), min(y + h, H))) for x, y, w, h, c in boxes]
        back = through(a, through(b, through(a, truth, folder), folder), folder)
        assert [t.label for t in back] == [t.label for t in truth]
        for left, right in zip(truth, back, strict=True):
            assert np.abs(np.subtract(left.box_xyxy, right.box_xyxy)).max() < 0.5

    check()


def test_voc_is_one_based_and_inclusive(tmp_path):
    (tmp_path / "a.xml").write_text(
        "<annotation><object><name>Gun</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>5</ymax></bndbox></object></annotation>"
    )
    assert read_voc(tmp_path / "a.xml")[0].box_xyxy == (0, 0, 10, 5)


def test_coco_masks_and_parents_come_back(tmp_path):
    mask = np.random.default_rng(0).random((H, W)) > 0.5
    item = Annotation("knife", (0, 0, W, H), id="7")
    part = Annotation("gun", (1, 2, 30, 40), RunLengths.of(mask), id="9", parent_id="7")
    write_coco(tmp_path / "a.json", [CocoImage("a.png", H, W, (item, part))])
    whole, back = read_coco(tmp_path / "a.json")[0].annotations
    assert np.array_equal(back.mask.pixels(), mask)
    assert back.parent_id == whole.id


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    '<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation>&b;</annotation>'
)


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("bomb.xml", BOMB, read_voc),
        ("empty.xml", "", read_voc),
        ("other.xml", "<html/>", read_voc),
        ("torn.xml", "<annotation><object>", read_voc),
        ("nobox.xml", "<annotation><object><name>a</name></object></annotation>", read_voc),
        (
            "nan.xml",
            "<annotation><object><name>a</name><bndbox><xmin>x</xmin></bndbox></object></annotation>",
            read_voc,
        ),
        ("deep.json", "[" * 200_000, read_coco),
        ("list.json", "[]", read_coco),
        ("torn.json", '{"images": [', read_coco),
        (
            "orphan.json",
            '{"images": [], "categories": [], '
            '"annotations": [{"id": 1, "image_id": 5, "category_id": 1}]}',
            read_coco,
        ),
        (
            "huge.json",
            '{"images": [{"id": 1, "file_name": "a", "height": 50000, "width": 50000}]}',
            read_coco,
        ),
        ("words.txt", "one two three four five", lambda p: read_yolo(p, CLASSES, H, W)),
        ("class.txt", "7 .5 .5 .1 .1", lambda p: read_yolo(p, CLASSES, H, W)),
        ("short.txt", "0 .5 .5", lambda p: read_yolo(p, CLASSES, H, W)),
        ("flat.txt", "0 .5 .5 0 .1", lambda p: read_yolo(p, CLASSES, H, W)),
    ],
)
def test_bad_annotations_name_themselves_quickly(tmp_path, name, content, read):
    (tmp_path / name).write_text(content)
    started = time.process_time()  # CPU time: a busy machine must not fail the test
    with pytest.raises(ReadError, match=name):
        read(tmp_path / name)
    assert time.process_time() - started < 1
