"""Every readable format comes in by upload and by a watched folder, with its sidecar."""

import json
import time

import numpy as np
import pytest

from bagscan.core.errors import ReadError
from bagscan.formats import (
    write_dicom,
    write_hdf5,
    write_headerless,
    write_image,
    write_npz,
    write_tiff,
)
from bagscan.formats.known import SCANS
from bagscan.formats.quantities import view_from_counts
from bagscan.service.inference.intake import checked_upload
from bagscan.service.inference.worker import bag_in
from tests.service.stubs import tiff
from tests.service.test_watch import wait_for, watched  # noqa: F401

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
    ("writer", "ending"),
    [(known.written_by.split(",")[0], ending) for known in SCANS for ending in known.endings],
)
def test_every_ending_is_taken_in_and_kept_as_one_bag(tmp_path, writer, ending):
    path = tmp_path / f"7{ending}"
    WRITERS[writer](path, RAW) if writer in WRITERS else write_image(path, RGB)
    upload = checked_upload(
        [(file.name, file.read_bytes()) for file in tmp_path.iterdir()], "gate", "test"
    )
    assert path.name in upload.files
    (tmp_path / "kept").mkdir()
    assert list(
        bag_in(tmp_path / "kept", {name: tmp_path / name for name in upload.files}).values()
    ) == [tmp_path / "kept" / path.name]
    if not path.with_suffix(".yaml").exists():
        with pytest.raises(ReadError):
            checked_upload([(path.name, b"something else" * 20)], "gate", "test")


@pytest.mark.parametrize("names", [["7.yaml"], ["7.tif", "7.yaml"], ["7.raw", "8.yaml"]])
def test_a_sidecar_of_nothing_is_refused(names):
    files = [(name, tiff("clear") if name.endswith(".tif") else b"width: 1") for name in names]
    with pytest.raises(ReadError, match=r"\.yaml: unknown type"):
        checked_upload(files, "gate", "test")


def test_files_of_two_folders_are_no_bag():
    """The same holds on the command line: they would be two halves."""
    with pytest.raises(ReadError):
        checked_upload(
            [("a/7_below.tif", tiff("clear")), ("b/7_side.tif", tiff("clear"))], "gate", "test"
        )
    assert (
        len(
            checked_upload(
                [("a/7_below.tif", tiff("clear")), ("a/7_side.tif", tiff("clear"))], "gate", "test"
            ).files
        )
        == 2
    )


def test_a_headerless_scan_waits_for_its_sidecar_in_a_watched_folder(watched):  # noqa: F811
    folder, make = watched
    make()
    (folder / "7.raw").write_bytes(b"alarm 1")  # the stub of a worker reads this word
    (folder / "notes.yaml").write_text("of somebody else")
    time.sleep(0.6)  # longer than a scan must rest, shorter than it waits for more files
    assert (folder / "7.raw").exists()
    (folder / "7.yaml").write_text("width: 1")
    result = json.loads(wait_for(folder / "results" / "7.json").read_text())
    assert result["decision"] == "ALARM"
    assert sorted(path.name for path in (folder / "accepted").iterdir()) == ["7.raw", "7.yaml"]
    assert (folder / "notes.yaml").exists()


def test_a_headerless_scan_whose_sidecar_never_comes_is_taken_in_alone(watched):  # noqa: F811
    """The worker then finds that the sidecar is missing, and the bag is REVIEW."""
    folder, make = watched
    make(pair_s=0.6)
    (folder / "8.raw").write_bytes(b"clear 1")
    wait_for(folder / "results" / "8.json")
    assert (folder / "accepted" / "8.raw").exists()
