"""The table of formats is true, and every way in knows the same endings."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bagscan import testing
from bagscan.cli import app
from bagscan.core.errors import ReadError
from bagscan.formats import (
    read_scan,
    write_dicom,
    write_hdf5,
    write_headerless,
    write_image,
    write_npz,
    write_tiff,
)
from bagscan.formats.images import read_image
from bagscan.formats.known import BY_ENDING, READERS, SCANS, begins_as_its_ending, companion_endings
from bagscan.formats.quantities import counts_from_view, view_from_counts

RAW = view_from_counts(
    np.random.default_rng(0).integers(0, 65536, (1, 40, 48), np.uint16), ("low",)
)
RGB = view_from_counts(
    np.random.default_rng(0).integers(0, 256, (3, 40, 48), np.uint8), ("red", "green", "blue")
)
WRITERS = {
    "write_dicom": write_dicom,
    "write_hdf5": write_hdf5,
    "write_headerless": write_headerless,
    "write_npz": write_npz,
    "write_tiff": write_tiff,
}


@pytest.mark.parametrize(
    ("known", "ending"),
    [(known, ending) for known in SCANS for ending in known.endings],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_every_ending_is_written_read_and_begins_as_it_should(tmp_path, known, ending):
    path = tmp_path / f"a{ending}"
    writer = known.written_by.split(",")[0]
    WRITERS[writer](path, RAW) if writer in WRITERS else write_image(path, RGB)
    assert read_scan(path).views[0].shape == (40, 48)
    assert begins_as_its_ending(ending, path.read_bytes())
    testing.check_format(READERS[ending], path)
    if known.begins:
        assert not begins_as_its_ending(ending, b"something else" * 20)


def test_what_lies_beside_a_scan_is_no_scan():
    assert companion_endings(".RAW") == (".yaml", ".yml")
    assert not {ending for known in BY_ENDING.values() for ending in known.beside} & set(READERS)
    assert not begins_as_its_ending(".yaml", b"width: 1")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_bmp_is_pseudo_colour(tmp_path, mode):
    picture = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    ).convert(mode)
    picture.save(tmp_path / "a.bmp")
    view = read_scan(tmp_path / "a.bmp").views[0]
    assert (view.quantity, view.bit_depth) == ("pseudo_colour", 8)
    expected = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(counts_from_view(view), expected)
    testing.check_format(read_image, tmp_path / "a.bmp")


def test_a_bmp_that_is_cut_off_is_refused(tmp_path):
    write_image(tmp_path / "a.bmp", RGB)
    (tmp_path / "a.bmp").write_bytes((tmp_path / "a.bmp").read_bytes()[:-100])
    with pytest.raises(ReadError, match=r"a\.bmp"):
        read_scan(tmp_path / "a.bmp")


def test_formats_are_listed_for_people_and_for_machines():
    runner = CliRunner()
    rows = json.loads(runner.invoke(app, ["formats", "--json"]).stdout)["formats"]
    assert {
        ending for row in rows if row["read by"] == "read_scan" for ending in row["endings"].split()
    } == set(READERS)
    text = runner.invoke(app, ["formats"]).stdout
    for row in rows:
        assert row["format"] in text
