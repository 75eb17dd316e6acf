"""Errors about a missing name suggest its nearest neighbour."""

from bagscan.core.errors import absent, nearest


def test_the_nearest_name_beside_it_is_told(tmp_path):
    (tmp_path / "00001_below.tif").touch()
    (tmp_path / "other").mkdir()
    assert absent(tmp_path / "00001_belw.tif").endswith("did you mean '00001_below.tif'?")
    assert absent(tmp_path / "othr", "folder").endswith("no such folder; did you mean 'other'?")


def test_where_nothing_is_alike_nothing_is_told(tmp_path):
    (tmp_path / "00001_below.tif").touch()
    assert absent(tmp_path / "zebra").endswith("no such file or folder")
    assert absent(tmp_path / "no" / "folder" / "either").endswith("no such file or folder")
    assert nearest("zebra", ["00001"]) == ""


def test_hidden_files_are_suggested_only_for_hidden_names(tmp_path):
    (tmp_path / ".gitignore").touch()
    assert absent(tmp_path / "gitignor").endswith("no such file or folder")
    assert absent(tmp_path / ".gitignor").endswith("did you mean '.gitignore'?")
