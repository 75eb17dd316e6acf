"""A contact sheet shows boxes where the annotations have them, and survives bad scans."""

import json
from dataclasses import replace

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.core import Annotation
from bagscan.datasets.record import Collection, Record
from bagscan.imaging.contact_sheet import GAP_PX, LINE_PX
from bagscan.reporting.annotation_sheet import CELL_PX, write_annotation_sheet


def scan(folder, name, *boxes):
    path = folder / f"{name}.png"
    Image.fromarray(np.full((100, 200, 3), 255, np.uint8)).save(path)
    return Record(name, path, tuple(Annotation("gun", box) for box in boxes))


def coloured(sheet):
    """Return rows and columns of the pixels that are not grey."""
    pixels = np.asarray(sheet).astype(int)
    return np.argwhere(np.ptp(pixels, axis=2) > 60)


def test_a_box_is_drawn_at_its_scaled_place(tmp_path):
    record = scan(tmp_path, "a", (50.0, 40.0, 100.0, 80.0))
    assert write_annotation_sheet(Collection("made up", (record,)), tmp_path / "s.png") == 1
    found = coloured(Image.open(tmp_path / "s.png"))
    left, top = (CELL_PX - 200) // 2, LINE_PX + GAP_PX + (CELL_PX - 100) // 2  # centred
    assert abs(found[:, 1].min() - (left + 50)) <= 1
    assert abs(found[:, 1].max() - (left + 100)) <= 1
    assert abs(found[:, 0].max() - (top + 80)) <= 1


def test_boxes_of_an_item_are_relative_to_its_window(tmp_path):
    whole = scan(tmp_path, "a", (60.0, 40.0, 100.0, 80.0))
    item = replace(
        whole, window=(50, 30, 150, 90), annotations=(Annotation("gun", (10.0, 10.0, 50.0, 50.0)),)
    )
    pixels = np.full((100, 200, 3), 255, np.uint8)
    pixels[40:80, 60:100] = (0, 0, 255)
    Image.fromarray(pixels).save(whole.path)
    write_annotation_sheet(Collection("made up", (item,)), tmp_path / "s.png")
    sheet = np.asarray(Image.open(tmp_path / "s.png")).astype(int)
    blue, drawn = (sheet[..., 2] > 200) & (sheet[..., 0] < 60), np.ptp(sheet, axis=2) > 60
    frame = drawn & ~blue  # the box, drawn around the blue object
    inner = np.argwhere(blue)
    assert frame[:, inner[:, 1].min() - 3 : inner[:, 1].min()].any()
    assert np.argwhere(frame)[:, 1].max() <= inner[:, 1].max() + 3


def test_scans_without_objects_and_unreadable_ones_are_left_out(tmp_path):
    records = [scan(tmp_path, "empty"), scan(tmp_path, "b", (0.0, 0.0, 9.0, 9.0))]
    torn = scan(tmp_path, "torn", (0.0, 0.0, 9.0, 9.0))
    torn.path.write_bytes(b"torn")
    collection = Collection("made up", (*records, torn))
    assert write_annotation_sheet(collection, tmp_path / "s.png") == 1
    many = tuple(scan(tmp_path, f"c{k}", (0.0, 0.0, 9.0, 9.0)) for k in range(40))
    assert write_annotation_sheet(Collection("many", many), tmp_path / "s.png") == 14
    no_objects = Collection("no objects", (records[0],))
    assert write_annotation_sheet(no_objects, tmp_path / "s.png") == 0


def test_the_command_writes_a_picture_of_each_dataset(tiny_config, tmp_path):
    out = tmp_path / "pictures"
    run = CliRunner().invoke(
        app, ["data", "check", str(tiny_config), "--pictures", str(out), "--json"]
    )
    assert run.exit_code == 0
    (dataset,) = json.loads(run.stdout)["datasets"]
    assert dataset["picture"].startswith(str(out / "1.png"))
    assert coloured(Image.open(out / "1.png")).size
