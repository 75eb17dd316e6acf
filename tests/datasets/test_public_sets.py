"""Made-up sets in the layouts of public ones are read, checked, trained on and converted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.config import fill
from bagscan.core import Annotation
from bagscan.core.errors import ConfigError, DataError
from bagscan.datasets.config import DataConfig, load_records
from bagscan.datasets.convert import convert
from bagscan.datasets.source import Source
from bagscan.formats.coco import CocoImage, write_coco
from bagscan.formats.voc import write_voc
from bagscan.testing import check_dataset
from bagscan.training.experiment import read_experiment, train
from tests.conftest import made_up_bag

N = 10


def bags(folder, names, seed=0, grey=False):
    """Write pictures under these names; return the box of each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    boxes = {}
    for name in names:
        pixels, box = made_up_bag(rng)
        image = Image.fromarray((pixels.transpose(1, 2, 0) * 255).astype(np.uint8))
        (image.convert("L") if grey else image).save(folder / name)
        boxes[name] = box
    return boxes


def coco_file(path, boxes, label):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_coco(
        path, [CocoImage(name, 96, 128, (Annotation(label, box),)) for name, box in boxes.items()]
    )


def sixray(root):
    stems = [f"{'P' if i % 2 else 'N'}{i:05d}" for i in range(N)]
    boxes = bags(root / "JPEGImage", [f"{stem}.jpg" for stem in stems])
    (root / "Annotation").mkdir()
    for stem in stems:
        if stem.startswith("P"):
            write_voc(
                root / "Annotation" / f"{stem}.xml",
                [Annotation("Gun", boxes[f"{stem}.jpg"])],
                f"{stem}.jpg",
                96,
                128,
            )
    rows = [
        "name,Gun,Knife,Wrench,Pliers,Scissors",
        *(f"{stem},{1 if stem.startswith('P') else -1},-1,-1,-1,-1" for stem in stems),
    ]
    (root / "ImageSet" / "10").mkdir(parents=True)
    (root / "ImageSet" / "10" / "train.csv").write_text("\n".join(rows) + "\n")


def pidray(root):
    boxes = bags(root / "easy", [f"xray_easy{i:05d}.png" for i in range(N)])
    coco_file(root / "annotations" / "xray_test_easy.json", boxes, "Hammer")


def clcxray(root):
    for seed, part in enumerate(("train", "val")):
        coco_file(
            root / "annotations" / f"instances_{part}2017.json",
            bags(root / f"{part}2017", [f"{part}{i}.jpg" for i in range(N)], seed),
            "blade",
        )


def by_line(label):
    def made(root):
        boxes = bags(root / "train" / "train_image", [f"{i:06d}.jpg" for i in range(N)])
        folder = root / "train" / "train_annotation"
        folder.mkdir()
        for name, box in boxes.items():
            (folder / f"{name[:-4]}.txt").write_text(
                f"{name} {label} " + " ".join(map(str, box)) + "\n"
            )
        (root / "train" / "few.txt").write_text("000001\n000002.jpg\n000099\n")

    return made


def compass_xp(root):
    for images in ("Colour", "Low"):
        bags(root / images, [f"{i}.png" for i in range(N)], grey=images == "Low")
    bags(root / "Photo", ["0.jpg"])
    rows = [
        "basename\tclass\tinstance\tpose\tscan_tray\tdangerous",
        *(f"{i}\t{'hatchet' if i % 2 else 'mug'}\t{i}\t0\tTrue\t{bool(i % 2)}" for i in range(N)),
    ]
    (root / "meta.txt").write_text("\n".join(rows) + "\n")


def dvxray(root):
    for bag in range(N):
        for view, seed in (("OL", 0), ("SD", 1)):
            boxes = bags(root, [f"P{bag:05d}_{view}.png"], 100 * seed + bag)
        result = (
            [{"label": "Gun", "ol_bb": [], "sd_bb": list(boxes[f"P{bag:05d}_SD.png"])}]
            if bag % 2
            else "None"
        )
        (root / f"P{bag:05d}.json").write_text(
            json.dumps({"name": f"P{bag:05d}", "objects": result})
        )


def gdxray(root):
    for series in range(1, 7):
        name = f"B{series:04d}"
        boxes = bags(
            root / "Baggages" / name, [f"{name}_{i:04d}.png" for i in (1, 2)], series, grey=True
        )
        rows = [
            f"{int(k[-8:-4])}.0 {x1 + 1}.0 {x2} {y1 + 1} {y2}"
            for k, (x1, y1, x2, y2) in boxes.items()
        ]
        (root / "Baggages" / name / "ground_truth.txt").write_text("\n".join(rows) + "\n")


SETS = {
    "sixray": (sixray, {}, N, 5),
    "pidray": (pidray, {"list_of": "test_easy"}, N, N),
    "opixray": (by_line("Folding_Knife"), {}, N, N),
    "hixray": (by_line("Laptop"), {}, N, N),
    "clcxray": (clcxray, {}, N, N),
    "compass_xp": (compass_xp, {}, N, 0),
    "dvxray": (dvxray, {}, 2 * N, 5),
    "gdxray": (gdxray, {"labels": {"B0001": "gun"}}, 12, 12),
}


@pytest.fixture(scope="session")
def public_sets(tmp_path_factory):
    data = tmp_path_factory.mktemp("public")
    for name, (make, *_) in SETS.items():
        make(data / name)
    return data


@pytest.fixture(autouse=True)
def _found(public_sets, monkeypatch):
    monkeypatch.setenv("BAGSCAN_DATA", str(public_sets))


def source_of(name, **settings) -> Source:
    return fill(Source, {"format": name, "root": name, **SETS[name][1], **settings}, "test")


@pytest.mark.parametrize("name", SETS)
def test_each_is_read_with_its_boxes_and_tells_what_is_absent(name):
    _, _, images, boxes = SETS[name]
    source = source_of(name)
    check_dataset(source)
    found = source.load()
    assert found.name == name
    assert len(found.records) == images
    assert sum(len(r.annotations) for r in found.records) == boxes
    assert not found.bad
    assert "published" in found.notes[-1]


TRAINED = """
kind: joint
data: {{sources: [{source}], fractions: [0.5, 0.25, 0.25]}}
model:
  input: {{working_side_px: 96}}
  regioner: {{name: ssn, n_superpixels: 40, width: 4, n_features: 3, stride: 2}}
  encoder: {{name: pooled, backbone: test_resnet, dim: 8}}
  scorer: {{name: softmax, hidden: 8}}
training: {{batch_size: 2, validation_scans: 8, augment: {{crop_px: 64}}}}
loop: {{steps: 1, warmup: 0, validate_every: 1}}
"""

LABELLED = """
kind: multi_label
data: {{sources: [{source}], fractions: [0.5, 0.25, 0.25]}}
model:
  input: {{working_side_px: 64, square: true}}
  regioner: {{name: whole_image}}
  encoder: {{name: fpn, backbone: test_resnet, level_dim: 8}}
  scorer: {{name: multi_label, classes: [dangerous]}}
training: {{batch_size: 2, negatives: 0}}
loop: {{steps: 1, warmup: 0, validate_every: 1}}
"""


@pytest.mark.parametrize("name", SETS)
def test_each_passes_data_check_and_trains_a_step(name, tmp_path):
    config = tmp_path / "a.yaml"
    source = json.dumps({"format": name, "root": name, **SETS[name][1]})
    config.write_text((LABELLED if name == "compass_xp" else TRAINED).format(source=source))
    result = CliRunner().invoke(app, ["data", "check", str(config), "--read"])
    assert result.exit_code == 0, result.output
    train(read_experiment(config), tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.json").exists()


@pytest.mark.parametrize("name", [name for name in SETS if SETS[name][3]])
@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
def test_each_is_converted_and_read_again_within_half_a_pixel(name, to, tmp_path):
    records = source_of(name).load().records
    convert(records, to, tmp_path / "out")
    root = tmp_path / "out" / "annotations.json" if to == "coco" else tmp_path / "out"
    again = {
        r.id: r for r in fill(Source, {"format": to, "root": str(root)}, "test").load().records
    }
    assert set(again) == {r.id for r in records}
    for record in records:
        assert [a.label for a in again[record.id].annotations] == [
            a.label for a in record.annotations
        ]
        for a, b in zip(record.annotations, again[record.id].annotations, strict=True):
            assert np.abs(np.subtract(a.box_xyxy, b.box_xyxy)).max() < 0.5


def test_a_conversion_goes_on_where_it_stopped_and_never_over_a_finished_one(tmp_path):
    records = source_of("pidray").load().records
    out = tmp_path / "out"
    (out / "images").mkdir(parents=True)
    (out / "images" / f"{records[0].id}.png").write_bytes(b"half")
    convert(records, "yolo", out)
    assert (out / "images" / f"{records[0].id}.png").read_bytes() == records[0].path.read_bytes()
    with pytest.raises(DataError):
        convert(records, "yolo", out)
    with pytest.raises(ConfigError):
        convert(records, "pascal", tmp_path / "other")


def test_data_convert_writes_several_sets_into_one_folder(tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text(
        "data: {sources: [{format: opixray, root: opixray}, {format: dvxray, root: dvxray}]}"
    )
    result = CliRunner().invoke(
        app, ["data", "convert", str(config), "--to", "voc", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out" / "Annotations").glob("*.xml"))) == N + 2 * N


def test_lists_parts_and_settings_of_their_own(public_sets):
    few = source_of("opixray", ids="few.txt").load()
    assert [r.id for r in few.records] == ["000001", "000002"]
    assert few.absent == ("000099",)
    low = source_of("compass_xp", images="Low", with_classes=True).load().records
    assert low[0].labels == {"hatchet": -1, "mug": 1, "dangerous": -1}
    with pytest.raises(ConfigError):
        source_of("compass_xp", images="Photo")
    series = source_of("gdxray", series=["B0001", "B0002"]).load().records
    assert {(r.group, r.annotations[0].label) for r in series} == {
        ("B0001", "gun"),
        ("B0002", "object"),
    }
    views = source_of("dvxray").load().records
    assert {r.scan for r in views if r.id.endswith("_OL")} == {
        r.scan for r in views if r.id.endswith("_SD")
    }
    for name, setting in (
        ("pidray", {"list_of": "test"}),
        ("clcxray", {"list_of": "test"}),
        ("opixray", {"list_of": "val"}),
        ("gdxray", {"series": ["B0099"]}),
    ):
        with pytest.raises(DataError):
            source_of(name, **setting).load()


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("opixray", "train/train_annotation/000003.txt", "000003.jpg Sword 1 2 3 4"),
        ("hixray", "train/train_annotation/000003.txt", "000003.jpg Laptop 1 2 nan 4"),
        ("dvxray", "P00003.json", '{"objects": [{"label": "Gun", "ol_bb": 7}]}'),
        ("dvxray", "P00003.json", "[1"),
        ("gdxray", "Baggages/B0003/ground_truth.txt", "1 2 3"),
        ("gdxray", "Baggages/B0003/ground_truth.txt", "1 4000 5000 1 9"),
        ("gdxray", "Baggages/B0001/ground_truth.txt", "1 30 20 10 10"),
        ("gdxray", "Baggages/B0001/ground_truth.txt", "99 1 20 10 30"),
        ("opixray", "train/train_annotation/zz.txt", ""),
        ("opixray", "train/train_annotation/000003.txt", "000004.jpg Folding_Knife 1 2 3 4"),
        ("dvxray", "P00003.json", "[]"),
        ("compass_xp", "meta.txt", "basename\tclass\tdangerous\n0\tmug\tperhaps\n1\tmug\tFalse\n"),
        (
            "compass_xp",
            "meta.txt",
            "basename\tclass\tdangerous\n0\tmug\tTrue\n0\tmug\tFalse\n1\tmug\tFalse\n",
        ),
        ("sixray", "Annotation/P00003.xml", "<annotation>"),
        (
            "sixray",
            "ImageSet/10/train.csv",
            "name,Gun,Knife,Wrench,Pliers,Scissors\nP00001,1,-1,-1,-1,-1\nP00003,2,-1,-1,-1,-1\nP00005,1\n",
        ),
        ("pidray", "easy/xray_easy00003.png", "no picture"),
    ],
)
def test_one_broken_file_costs_its_images_and_is_named(name, file, content, tmp_path):
    SETS[name][0](tmp_path / name)
    (tmp_path / name / file).write_text(content)
    found = source_of(name, root=str(tmp_path / name)).load()
    assert found.records
    assert found.bad
    assert all(str(tmp_path) in reason for reason in found.bad.values())


def test_several_sets_are_taken_together():
    sources = [{"format": name, "root": name, **SETS[name][1]} for name in ("pidray", "gdxray")]
    records = load_records(fill(DataConfig, {"sources": sources}, "test"))
    assert len(records) == N + 12


def test_a_roboflow_folder_and_polygons(tmp_path):
    for part in ("train", "valid"):
        bags(tmp_path / part / "images", ["a.jpg"], len(part))
        (tmp_path / part / "labels").mkdir()
    (tmp_path / "train" / "labels" / "a.txt").write_text(
        "0 0.25 0.25 0.5 0.25 0.5 0.75 0.25 0.75\n"
    )
    (tmp_path / "valid" / "labels" / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("names: [gun, knife]\nnc: 2\n")
    train_part, valid = (
        fill(Source, {"format": "yolo", "root": str(tmp_path)}, "test").load().records
    )
    assert (train_part.id, valid.id) == ("train/a", "valid/a")
    assert train_part.annotations[0].mask.area == 32 * 48
    assert train_part.annotations[0].box_xyxy == (32, 24, 64, 72)


def yolo_of(root, names="names: [gun, knife]\n", result="data.yaml", label="1 0.5 0.5 0.5 0.5\n"):
    bags(root / "images", ["a.jpg"])
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text(label)
    (root / result).write_text(names)
    return fill(Source, {"format": "yolo", "root": str(root)}, "test")


@pytest.mark.parametrize("result", ["data.yaml", "data.yml", "coco8.yaml"])
def test_classes_in_a_yaml_file_of_any_name(tmp_path, result):
    assert yolo_of(tmp_path, result=result).load().records[0].annotations[0].label == "knife"


def test_classes_in_two_yaml_files_are_no_classes(tmp_path):
    source = yolo_of(tmp_path)
    (tmp_path / "other.yaml").write_text("names: [knife, gun]\n")
    with pytest.raises(DataError):
        source.load()


def test_cvats_yolo_with_labels_beside_pictures(tmp_path):
    bags(tmp_path / "obj_train_data", ["a.jpg", "b.jpg"])
    (tmp_path / "obj_train_data" / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "obj.names").write_text("gun\nknife\n")
    (tmp_path / "obj.data").write_text("classes = 2\n")
    found = fill(Source, {"format": "yolo", "root": str(tmp_path)}, "test").load()
    assert [[a.label for a in record.annotations] for record in found.records] == [["knife"], []]
    assert not found.bad


def test_pictures_and_voc_files_side_by_side(tmp_path):
    boxes = bags(tmp_path, ["a.jpg", "b.jpg"])
    for name, box in boxes.items():
        write_voc(tmp_path / f"{name[:-4]}.xml", [Annotation("gun", box)], name, 96, 128)
    found = fill(Source, {"format": "voc", "root": str(tmp_path)}, "test").load()
    assert {record.id: record.annotations[0].box_xyxy for record in found.records} == {
        "a": boxes["a.jpg"],
        "b": boxes["b.jpg"],
    }


def test_pictures_are_taken_from_the_folder_of_their_part(tmp_path):
    in_train = bags(tmp_path / "train", ["a.jpg", "b.jpg"])
    in_val = bags(tmp_path / "val", ["a.jpg", "c.jpg"], 1)
    coco_file(
        tmp_path / "annotations" / "instances_train2017.json",
        in_train | {"c.jpg": in_val["c.jpg"]},
        "gun",
    )
    found = fill(
        Source,
        {"format": "coco", "root": str(tmp_path / "annotations" / "instances_train2017.json")},
        "test",
    ).load()
    assert {record.path.relative_to(tmp_path).as_posix() for record in found.records} == {
        "train/a.jpg",
        "train/b.jpg",
    }
    assert found.absent == ("c.jpg",)  # the one in val is another picture


def test_boxes_that_reach_beyond_are_counted(tmp_path):
    bags(tmp_path / "images", ["a.jpg"])
    coco_file(tmp_path / "all.json", {"a.jpg": (100, 10, 140, 40)}, "gun")
    notes = (
        fill(Source, {"format": "coco", "root": str(tmp_path / "all.json")}, "test").load().notes
    )
    assert any(note.startswith("1 boxes ") and "beyond" in note for note in notes)


def test_a_picture_that_its_exif_tag_turns_has_no_annotations_to_trust(tmp_path):
    source = yolo_of(tmp_path)
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down: width and height stay
    image = Image.open(tmp_path / "images" / "a.jpg")
    image.save(tmp_path / "images" / "a.jpg", exif=turned)
    bags(tmp_path / "images", ["b.jpg"])
    assert set(source.load().bad) == {"a"}


def test_truth_that_is_not_there_is_told_and_no_negative_in_silence(tmp_path):
    SETS["opixray"][0](tmp_path / "opixray")
    (tmp_path / "opixray" / "train" / "train_annotation").rename(tmp_path / "elsewhere")
    notes = source_of("opixray", root=str(tmp_path / "opixray")).load().notes
    assert any("no text file" in note for note in notes)
    SETS["dvxray"][0](tmp_path / "dvxray")
    first = sorted((tmp_path / "dvxray").glob("*.json"))[0]
    first.unlink()
    (tmp_path / "dvxray" / "meta.json").write_text("{}")  # of another dataset
    found = source_of("dvxray", root=str(tmp_path / "dvxray")).load()
    assert {name.rpartition("_")[0] for name in found.bad} == {first.stem}
    assert not found.absent


def test_one_bad_row_costs_its_image_and_not_the_series(tmp_path):
    SETS["gdxray"][0](tmp_path / "gdxray")
    truth = tmp_path / "gdxray" / "Baggages" / "B0001" / "ground_truth.txt"
    truth.write_text("1 30 20 10 10\n2 1 20 10 30\n")
    found = source_of("gdxray", root=str(tmp_path / "gdxray")).load()
    assert set(found.bad) == {"B0001_0001"}
    assert "row 1" in found.bad["B0001_0001"]
    with pytest.raises(DataError):
        source_of("gdxray", root=str(tmp_path / "gdxray"), labels={"B9999": "gun"}).load()


def test_xml_of_no_picture_is_told(tmp_path):
    boxes = bags(tmp_path / "JPEGImages", ["a.jpg", "b.jpg"])
    (tmp_path / "Annotations").mkdir()
    for name in ("a.XML", "x.xml"):
        write_voc(
            tmp_path / "Annotations" / name, [Annotation("gun", boxes["a.jpg"])], "a.jpg", 96, 128
        )
    source = fill(Source, {"format": "voc", "root": str(tmp_path)}, "test")
    found = source.load()
    assert [len(record.annotations) for record in found.records] == [1, 0]
    assert set(found.bad) == {"Annotations/x.xml"}
    (tmp_path / "Annotations" / "a.XML").unlink()
    with pytest.raises(DataError):
        source.load()


@pytest.mark.parametrize("names", ["names: [gun, gun]\n", "names: [gun]\nnc: 2\n"])
def test_classes_that_cannot_be_told_apart_are_refused(tmp_path, names):
    with pytest.raises(DataError):
        yolo_of(tmp_path, names, label="0 0.5 0.5 0.5 0.5\n").load()


def test_labels_and_pictures_of_another_conversion_do_not_slip_in(tmp_path):
    boxes = bags(tmp_path / "images", ["a.bmp"])
    coco_file(tmp_path / "all.json", boxes, "gun")
    records = (
        fill(Source, {"format": "coco", "root": str(tmp_path / "all.json")}, "test").load().records
    )
    there = tmp_path / "out" / "images" / "a.bmp"
    there.parent.mkdir(parents=True)
    there.write_bytes(bytes(records[0].path.stat().st_size))  # of the same size
    convert(records, "yolo", tmp_path / "out")
    assert there.read_bytes() == records[0].path.read_bytes()
    odd = [replace(records[0], annotations=(Annotation("a\nb", (1, 1, 5, 5)),))]
    with pytest.raises(DataError):
        convert(odd, "yolo", tmp_path / "odd")
