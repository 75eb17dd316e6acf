"""Datasets report missing files and continue; splits never separate near-duplicates."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bagscan import testing
from bagscan.core import Annotation
from bagscan.core.errors import DataError, ReadError
from bagscan.datasets import coco, sixray, yolo
from bagscan.datasets.config import load_records
from bagscan.datasets.record import Collection, Record, check_annotations, image_size
from bagscan.datasets.splits import (
    fingerprint,
    group_near_duplicates,
    make_split,
    perceptual_hash,
    read_split,
    write_split,
)
from bagscan.formats import write_hdf5, write_image, write_png_set, write_tiff
from bagscan.formats.coco import CocoImage, write_coco
from bagscan.formats.quantities import view_from_counts
from bagscan.formats.voc import write_voc
from tests.conftest import made_up_bag


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image.transpose(1, 2, 0) * 255).astype(np.uint8)).save(path)


@pytest.fixture
def sixray_root(tmp_path):
    rng = np.random.default_rng(0)
    for stem in ("P00001", "P00002", "N0000001"):
        save(tmp_path / "JPEGImage" / f"{stem}.jpg", made_up_bag(rng)[0])
    (tmp_path / "Annotation").mkdir()
    write_voc(
        tmp_path / "Annotation" / "P00001.xml",
        [Annotation("Gun", (1, 2, 30, 40))],
        "P00001.jpg",
        96,
        128,
    )
    (tmp_path / "Annotation" / "P00002.xml").write_text("<broken")
    rows = [
        "name,Gun,Knife,Wrench,Pliers,Scissors",
        "P00001,1,0,-1,-1,-1",
        "P00002,-1,1,-1,-1,-1",
        "N0000001,0,-1,-1,-1,-1",
        "P09999,1,-1,-1,-1,-1",
    ]
    (tmp_path / "ImageSet" / "10").mkdir(parents=True)
    (tmp_path / "ImageSet" / "10" / "train.csv").write_text("\n".join(rows))
    return tmp_path


def test_sixray_counts_absent_and_bad_and_goes_on(sixray_root):
    found = sixray.load(sixray_root)
    assert [r.id for r in found.records] == ["P00001", "N0000001"]
    assert found.absent == ("P09999",)
    assert "P00002.xml" in found.bad["P00002"]
    assert "1 of 4 listed images are absent" in found.notes[0]
    by_id = {r.id: r for r in found.records}
    assert by_id["N0000001"].labels["Gun"] == -1  # 0 in a negative is negative
    assert by_id["P00001"].labels["Knife"] == 0  # 0 in a positive is unknown
    assert np.abs(np.subtract(by_id["P00001"].annotations[0].box_xyxy, (1, 2, 30, 40))).max() < 0.01


def test_an_annotation_off_its_image_is_found_wherever_the_image_is_read(yolo_root):
    path = next((yolo_root / "images").glob("*.png"))
    inside = Record("a", path, (Annotation("gun", (4.0, 4.0, 30.0, 30.0)),))
    check_annotations(inside, 96, 128)
    off = replace(inside, annotations=(Annotation("gun", (9000.0, 9000.0, 9100.0, 9100.0)),))
    with pytest.raises(ReadError, match=path.name):
        check_annotations(off, 96, 128)
    source = SimpleNamespace(load=lambda: Collection("made up", (inside, replace(off, id="b"))))
    with pytest.raises(AssertionError, match="1 records"):
        testing.check_dataset(source)


def test_what_a_dataset_leaves_out_is_reported(sixray_root, said):
    source = sixray.Config(format="sixray", root=str(sixray_root))
    bad = {}
    load_records(SimpleNamespace(sources=(source,)), bad)
    assert list(bad) == ["P00002"]
    assert any("1 absent and 1 bad" in line for line in said)


def test_sixray_without_its_lists_says_what_it_expects(tmp_path):
    with pytest.raises(DataError, match="ImageSet"):
        sixray.load(tmp_path)


def test_yolo_folder_tells_scanners_and_bad_labels(yolo_root, tmp_path):
    found = yolo.load(yolo_root, scanner_digits=1)
    assert {r.scanner[-1] for r in found.records} == {"1", "2"}
    save(tmp_path / "images" / "a.png", np.ones((3, 8, 8), np.float32))
    save(tmp_path / "images" / "b.png", np.ones((3, 8, 8), np.float32))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "b.txt").write_text("0 nonsense")
    (tmp_path / "classes.txt").write_text("bar\n")
    found = yolo.load(tmp_path)
    assert [r.id for r in found.records] == ["a"]
    assert list(found.bad) == ["b"]


def test_coco_folder_keeps_negatives_and_counts_absent(tmp_path):
    save(tmp_path / "images" / "a.png", np.ones((3, 8, 8), np.float32))
    write_coco(tmp_path / "all.json", [CocoImage("a.png", 8, 8), CocoImage("gone.png", 8, 8)])
    found = coco.load(tmp_path / "all.json")
    assert len(found.records) == 1
    assert found.absent == ("gone.png",)


def test_hash_survives_compression_and_scale_but_not_another_bag():
    rng = np.random.default_rng(3)
    one, _ = made_up_bag(rng, 192, 256)
    other, _ = made_up_bag(rng, 192, 256)
    scaled = (
        np.asarray(
            Image.fromarray((one.transpose(1, 2, 0) * 255).astype(np.uint8)).resize((200, 150))
        ).transpose(2, 0, 1)
        / 255
    )
    noisy = (one + rng.normal(0, 0.02, one.shape)).clip(0, 1)
    hashes = np.stack([perceptual_hash(p) for p in (one, scaled, noisy, other)])
    groups = group_near_duplicates(hashes)
    assert groups[0] == groups[1] == groups[2] != groups[3]


def records(tmp_path, n=20):
    rng = np.random.default_rng(5)
    made = []
    for i in range(n):
        image, _ = made_up_bag(rng, 192, 256)
        for copy in range(2):
            path = tmp_path / "scans" / f"{i}-{copy}.png"
            save(path, (image * (1 - 0.02 * copy)).clip(0, 1))
            made.append(Record(path.stem, path, scanner="a" if i % 2 else "b"))
    return made


def test_split_keeps_duplicates_together_and_fractions_true(tmp_path):
    made = records(tmp_path)
    split = make_split(made, {"train": 0.6, "val": 0.2, "test": 0.2}, seed=1)
    where = {i: name for name, ids in split.parts.items() for i in ids}
    assert all(where[f"{i}-0"] == where[f"{i}-1"] for i in range(20))
    assert [len(split.parts[name]) for name in ("train", "val", "test")] == [24, 8, 8]
    assert make_split(made, {"train": 0.6, "val": 0.2, "test": 0.2}, seed=1) == split
    assert make_split(made, {"train": 0.6, "val": 0.2, "test": 0.2}, seed=2) != split


def test_views_of_a_bag_stay_together_however_unlike_they_look(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{k}_{view}" for k in range(30) for view in ("below", "side")] + ["lone"]
    for name in names:
        save(tmp_path / "images" / f"{name}.png", made_up_bag(rng)[0])
    write_coco(tmp_path / "annotations.json", [CocoImage(f"{name}.png", 96, 128) for name in names])
    (tmp_path / "classes.txt").write_text("a")
    for found in (coco.load(tmp_path / "annotations.json"), yolo.load(tmp_path)):
        assert {r.scan for r in found.records} == {*map(str, range(30)), "lone"}
        assert {r.about.view for r in found.records} == {"below", "side", ""}
        split = make_split(found.records, {"train": 0.5, "val": 0.25, "test": 0.25})
        part = {name: p for p, ids in split.parts.items() for name in ids}
        assert all(part[f"{k}_below"] == part[f"{k}_side"] for k in range(30))
        assert {part[f"{k}_below"] for k in range(30)} == {"train", "val", "test"}


def test_split_file_comes_back_and_notices_changes(tmp_path):
    split = make_split(records(tmp_path, 6), {"train": 0.5, "test": 0.5})
    write_split(tmp_path / "split.json", split)
    assert read_split(tmp_path / "split.json") == split
    altered = json.loads((tmp_path / "split.json").read_text())
    moved = altered["parts"]["train"].pop()
    altered["parts"]["test"].append(moved)
    (tmp_path / "split.json").write_text(json.dumps(altered))
    with pytest.raises(DataError, match=r"near-duplicates|altered"):
        read_split(tmp_path / "split.json")


def test_what_cannot_be_read_is_named_and_in_no_part(tmp_path, said):
    made = records(tmp_path, 6)
    made[0].path.write_bytes(b"torn")
    split = make_split(made, {"train": 0.5, "test": 0.5})
    assert made[0].id not in split.sha256
    assert len(said) == 1
    assert str(made[0].path) in said[0]


def test_split_refuses_fractions_that_do_not_sum_to_one(tmp_path):
    with pytest.raises(DataError, match="sum to 1"):
        make_split([Record("a", tmp_path / "a.png")], {"train": 0.5})


def test_coco_with_one_wrong_annotation_loses_one_image(tmp_path):
    for name in ("a.png", "sub/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_image(
            tmp_path / name,
            view_from_counts(np.zeros((3, 20, 20), np.uint8), ("red", "green", "blue")),
        )
    images = [
        {"id": 1, "file_name": "a.png", "height": 20, "width": 20},
        {"id": 2, "file_name": "sub/a.png", "height": 20, "width": 20},
    ]
    boxes = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]},
        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [1, 1, 0, 5]},
    ]
    (tmp_path / "all.json").write_text(
        json.dumps(
            {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "gun"}]}
        )
    )
    found = coco.load(tmp_path / "all.json")
    assert [r.id for r in found.records] == ["a"]
    assert list(found.bad) == ["sub/a.png"]


def test_a_yolo_folder_of_16_bit_sets_and_stacks(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    (tmp_path / "classes.txt").write_text("gun\n")
    counts = np.random.default_rng(0).integers(0, 65535, (3, 20, 30), dtype=np.uint16)
    write_png_set(tmp_path / "images", "bag", view_from_counts(counts, ("low", "high", "zeff")))
    write_tiff(tmp_path / "images" / "stack.tif", view_from_counts(counts, ("low", "high", "zeff")))
    for name in ("bag", "stack"):
        (tmp_path / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    found = yolo.load(tmp_path)
    assert [(r.id, len(r.annotations)) for r in found.records] == [("bag", 1), ("stack", 1)]
    assert found.records[0].annotations[0].box_xyxy == pytest.approx((12, 8, 18, 12))


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.png"])
def test_names_that_lead_out_of_the_folder_are_not_followed(tmp_path, name):
    result = {
        "images": [{"id": 1, "file_name": name, "height": 4, "width": 4}],
        "annotations": [],
        "categories": [],
    }
    (tmp_path / "a.json").write_text(json.dumps(result))
    with pytest.raises(DataError, match="leads out"):
        coco.load(tmp_path / "a.json")


def test_a_file_of_several_views_is_no_picture_to_train_on(tmp_path):
    """Annotations belong to one view; with several views it is unknown which."""
    view = view_from_counts(np.zeros((3, 20, 30), np.uint8), ("red", "green", "blue"))
    write_hdf5(tmp_path / "two.h5", [replace(view, view_id="below"), replace(view, view_id="side")])
    assert "below, side" in fingerprint(Record("two", tmp_path / "two.h5"))
    with pytest.raises(ReadError):
        image_size(tmp_path / "two.h5")
