"""Written scans come back bit for bit; broken ones fail fast with their name."""

import os
import signal
import struct
import time
import zlib
from collections import Counter
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from bagscan.batch.storage import set_members
from bagscan.core import View
from bagscan.core.errors import BagscanError, ReadError
from bagscan.formats import find_scans, read_scan, write_image, write_npz, write_png_set, write_tiff
from bagscan.formats.quantities import counts_from_view, named_channels, view_from_counts
from bagscan.formats.scans import bag_of, expected_of, group_views, read_views, scanner_views_of
from bagscan.formats.tiff import write_counts

RAMP = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)


@pytest.mark.parametrize("channels", [("low",), ("low", "high"), ("low", "high", "zeff")])
@pytest.mark.parametrize("kind", ["png", "tiff", "npz"])
def test_16_bit_ramp_survives(tmp_path: Path, channels, kind):
    counts = np.concatenate([np.roll(RAMP, i, axis=2) for i in range(len(channels))])
    view = view_from_counts(counts, channels)
    if kind == "png":
        path = write_png_set(tmp_path, "bag", view)[0]
    else:
        path = tmp_path / f"bag.{kind}"
        (write_tiff if kind == "tiff" else write_npz)(path, view)
    scan = read_scan(path)
    assert scan.id == "bag"
    assert scan.views[0].channels == channels
    assert np.array_equal(counts_from_view(scan.views[0]), counts)


def test_three_channel_16_bit_tiff_in_one_page(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
    view = read_scan(tmp_path / "a.tif").views[0]
    assert view.quantity == "pseudo_colour"
    assert np.array_equal(counts_from_view(view), rgb.transpose(2, 0, 1))


def test_plain_arrays_in_npz(tmp_path):
    np.savez(tmp_path / "a.npz", low=RAMP[0], high=RAMP[0][::-1])
    view = read_scan(tmp_path / "a.npz").views[0]
    assert view.channels == ("low", "high")
    assert np.array_equal(counts_from_view(view)[1], RAMP[0][::-1])


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_8_bit_pseudo_colour(tmp_path, ending):
    rgb = np.full((3, 16, 24), 200, np.uint8)
    rgb[0, :8] = 40
    write_image(tmp_path / f"a.{ending}", view_from_counts(rgb, ("red", "green", "blue")))
    view = read_scan(tmp_path / f"a.{ending}").views[0]
    assert (view.quantity, view.bit_depth, view.shape) == ("pseudo_colour", 8, (16, 24))
    assert np.abs(view.pixels * 255 - rgb).mean() < (0.5 if ending == "png" else 6)


def bomb(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(name, body):
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def bad_files(folder: Path) -> list[Path]:
    good = folder / "good.png"
    write_image(
        good,
        view_from_counts(
            np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8),
            ("red", "green", "blue"),
        ),
    )
    write_tiff(folder / "good.tif", view_from_counts(RAMP, ("low",)))
    write_npz(folder / "good.npz", view_from_counts(RAMP, ("low",)))
    write_image(
        folder / "good.jpg",
        view_from_counts(
            np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8),
            ("red", "green", "blue"),
        ),
    )
    tifffile.imwrite(folder / "pages.tif", np.stack([RAMP[0]] * 3), photometric="minisblack")
    contents = {
        "zero.png": b"",
        "zero.tif": b"",
        "truncated.png": good.read_bytes()[: good.stat().st_size // 2],
        "truncated.tif": (folder / "good.tif").read_bytes()[:200],
        "truncated.npz": (folder / "good.npz").read_bytes()[:-300],
        "truncated.jpg": (folder / "good.jpg").read_bytes()[:400],
        "pages.tif": (folder / "pages.tif").read_bytes()[
            : (folder / "pages.tif").stat().st_size // 2
        ],
        "large.png": bomb(10_000, 9_999),
        "zero.jpg": b"",
        "text.png": b"this is not an image",
        "text.tif": b"this is not an image",
        "text.npz": b"this is not an image",
        "bomb.png": bomb(50_000, 50_000),
        "readme.docx": b"what is this",
        "header.png": b"\x89PNG\r\n\x1a\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    np.savez(folder / "pickled.npz", low=np.array([{"a": 1}], object))
    tifffile.imwrite(folder / "float.tif", np.zeros((8, 8), np.float32))
    np.savez(folder / "nan.npz", pixels=np.full((1, 8, 8), np.nan, np.float32))
    for name in ("good.png", "good.jpg", "good.tif", "good.npz"):
        (folder / name).unlink()
    return sorted(folder.iterdir())


def test_bad_files_name_themselves_quickly(tmp_path):
    files = bad_files(tmp_path)
    assert len(files) == 18
    for path in files:
        started = time.process_time()  # CPU time: a busy machine must not fail the test
        with pytest.raises(ReadError, match=path.name):
            read_scan(path)
        assert time.process_time() - started < 1


@pytest.mark.parametrize("broken", [b"", b"not a png", b"\x89PNG\r\n\x1a\n"])
def test_a_broken_member_of_a_set_is_named_whichever_is_read(tmp_path, broken):
    write_png_set(tmp_path, "a", view_from_counts(RAMP, ("low",)))
    (tmp_path / "a_high.png").write_bytes(broken)
    assert find_scans([tmp_path]) == [tmp_path / "a_low.png"]
    for name in ("a_low.png", "a_high.png"):
        with pytest.raises(ReadError, match=r"a_high.png"):
            read_scan(tmp_path / name)


def test_two_views_of_sets_are_one_bag_everywhere(tmp_path):
    """On the command line, in the service and in an archive index; once it was three bags."""
    from bagscan.batch.index import _bags

    for view in ("below", "side"):
        write_png_set(
            tmp_path,
            f"7_{view}",
            view_from_counts(np.concatenate([RAMP, RAMP, RAMP]), ("low", "high", "zeff")),
        )
    bags = group_views(find_scans([tmp_path]), ("below", "side"))
    assert bags == [{"below": tmp_path / "7_below_low.png", "side": tmp_path / "7_side_low.png"}]
    scan, errors = read_views(bags[0])
    assert (scan.id, [view.view_id for view in scan.views], errors) == ("7", ["below", "side"], {})
    assert {view.channels for view in scan.views} == {("low", "high", "zeff")}
    rows = list(_bags([tmp_path], ("below", "side"), Counter()))
    assert [(row["bag"], [view["view_id"] for view in row["views"]]) for row in rows] == [
        ("7", ["below", "side"])
    ]


def test_8_bit_pictures_called_low_and_high_are_two_scans(tmp_path):
    picture = view_from_counts(np.zeros((3, 20, 20), np.uint8), ("red", "green", "blue"))
    for name in ("shelf_low.png", "shelf_high.png"):
        write_image(tmp_path / name, picture)
    assert len(find_scans([tmp_path])) == 2
    assert read_scan(tmp_path / "shelf_low.png").id == "shelf_low"


def test_arrays_that_are_too_large_together_are_refused(tmp_path):
    import io
    import zipfile

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (5_000, 5_000)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ("low.npy", "high.npy", "zeff.npy"):
            archive.writestr(name, head.getvalue())
    with pytest.raises(ReadError, match="50,000,000"):
        read_scan(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "arrays",
    [
        {"low": np.zeros((8, 8), np.float32)},
        {"low": np.zeros((8, 8), np.int32)},
        {"low": np.zeros((8, 8), np.uint16), "meta": np.array('{"view_id": [1]}')},
        {"low": np.zeros((8, 8), np.uint16), "meta": np.array('{"view_id": 3}')},
        {"pixels": np.zeros((1, 8, 8), np.float32), "meta": np.array('{"channels": [1]}')},
        {"low": np.zeros((8, 8), np.complex64)},
        {"low": np.zeros((8, 8), np.uint16), "notes": np.zeros(200_000)},
    ],
)
def test_an_npz_that_is_no_view_is_one_unreadable_file(tmp_path, arrays):
    """It is not an error that ends the run on the rest of the folder."""
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(ReadError, match=r"odd\.npz"):
        read_scan(tmp_path / "odd.npz")


def test_png_set_of_different_sizes_is_refused(tmp_path):
    write_png_set(tmp_path, "a", view_from_counts(RAMP, ("low",)))
    write_png_set(tmp_path, "a", view_from_counts(RAMP[:, :100], ("high",)))
    with pytest.raises(ReadError, match="differ in size"):
        read_scan(tmp_path / "a_low.png")


def test_find_scans_takes_a_set_once_and_refuses_what_is_not_there(tmp_path):
    write_png_set(tmp_path, "a", view_from_counts(np.concatenate([RAMP, RAMP]), ("low", "high")))
    write_npz(tmp_path / "b.npz", view_from_counts(RAMP, ("low",)))
    assert [p.name for p in find_scans([tmp_path])] == ["a_low.png", "b.npz"]
    with pytest.raises(ReadError, match="nowhere"):
        find_scans([tmp_path / "nowhere"])


def test_a_whole_simulated_set_is_refused_and_its_folders_are_not(simulated_root):
    with pytest.raises(ReadError, match=r"raw or .*colour"):
        find_scans([simulated_root.parent])
    assert {p.parent.name for p in find_scans([simulated_root / "raw"])} == {"raw"}


def test_log_attenuation_has_no_counts():
    view = View(np.ones((1, 4, 4), np.float32), ("low",), "log_attenuation")
    with pytest.raises(BagscanError, match="log_attenuation"):
        counts_from_view(view)


def test_a_tiff_may_say_what_air_counts(tmp_path):
    counts = np.arange(2 * 12 * 10, dtype=np.uint16).reshape(2, 12, 10) * 250
    write_counts(tmp_path / "a.tif", counts, ("low", "high"), air_counts=60000)
    view = read_scan(tmp_path / "a.tif").views[0]
    assert view.channels == ("low", "high")
    assert view.pixels == pytest.approx(counts / 60000)
    write_counts(tmp_path / "b.tif", counts, ("low", "high"))
    assert read_scan(tmp_path / "b.tif").views[0].pixels == pytest.approx(counts / 65535)


def test_a_pipe_beside_a_set_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "a_low.png")
    (tmp_path / "a_high.png").write_bytes(
        imagecodecs.png_encode(np.full((40, 50), 30_000, np.uint16))
    )
    signal.alarm(20)  # it would wait for ever
    try:
        assert find_scans([tmp_path])
    finally:
        signal.alarm(0)


def bags(folder, names=("below", "side")):
    found = group_views(find_scans([folder]), names)
    result = [
        (
            bag_of(next(iter(views.values())), names),
            {view: path.name for view, path in views.items()},
        )
        for views in found
    ]
    return sorted(result, key=str)


def test_a_picture_beside_a_set_of_the_same_name_is_a_bag_of_its_own(tmp_path):
    """For example a scanner that writes channels and a picture of them: both are kept."""
    raw = view_from_counts(np.concatenate([RAMP, RAMP]), ("low", "high"))
    for view in ("below", "side"):
        write_png_set(tmp_path, f"7_{view}", raw)
        write_image(
            tmp_path / f"7_{view}.png",
            view_from_counts(np.zeros((3, 40, 40), np.uint8), ("red", "green", "blue")),
        )
    found = [set(one.values()) for _, one in bags(tmp_path)]
    assert sorted(map(sorted, found)) == [
        ["7_below.png", "7_side.png"],
        ["7_below_low.png", "7_side_low.png"],
    ]


def test_endings_in_any_case_are_of_one_bag_and_bare_names_of_views_are_none(tmp_path):
    for name in ("8_below.TIF", "8_side.tif", "_below.tif", "_side.tif"):
        write_tiff(tmp_path / name.lower(), view_from_counts(RAMP, ("low",)))
        (tmp_path / name.lower()).rename(tmp_path / name)
    assert bags(tmp_path) == [
        ("8", {"below": "8_below.TIF", "side": "8_side.tif"}),
        ("_below", {"0": "_below.tif"}),
        ("_side", {"0": "_side.tif"}),
    ]


def test_what_has_a_scans_ending_and_is_no_folder_is_listed(tmp_path):
    """Broken links, loops and pipes are separate errors and are never skipped silently."""
    (tmp_path / "dangling.tif").symlink_to(tmp_path / "gone.tif")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "._7.tif").write_bytes(b"AppleDouble")
    found = find_scans([tmp_path])
    assert [path.name for path in found] == ["dangling.tif", "loop.png", "pipe.npz"]
    for path in found:
        with pytest.raises(ReadError):
            read_scan(path)


def test_views_that_a_scanner_makes_are_those_of_the_bags_with_several():
    assert scanner_views_of([["below"], ["0"]]) == ()
    assert scanner_views_of([["below"], ["side", "below"]]) == ("side", "below")
    assert expected_of(["below"], ("below", "side")) == ("below", "side")
    assert expected_of(["0"], ("below", "side")) == ()


@pytest.mark.parametrize(
    "meta",
    [
        "[1]",
        "null",
        '{"channels": "lh"}',
        '{"channels": ["low", "high"], "bit_depth": "sixteen"}',
        '{"pixel_pitch_mm": Infinity}',
        '{"view_id": 3}',
        '{"quantity": "darkness"}',
    ],
)
def test_what_lies_beside_the_pixels_of_an_npz_has_its_type(tmp_path, meta):
    np.savez(
        tmp_path / "a.npz",
        pixels=np.concatenate([RAMP, RAMP]).astype(np.float32) / 65535,
        meta=np.array(meta),
    )
    with pytest.raises(ReadError):
        read_scan(tmp_path / "a.npz")


def test_whole_numbers_are_not_taken_for_a_quantity_that_they_are_not(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        pixels=np.concatenate([RAMP, RAMP]),
        meta=np.array('{"channels": ["low", "high"], "quantity": "log_attenuation"}'),
    )
    with pytest.raises(ReadError):
        read_scan(tmp_path / "a.npz")


def test_sets_and_views_in_any_letters(tmp_path):
    view = view_from_counts(np.concatenate([RAMP, RAMP]), ("low", "high"))
    write_png_set(tmp_path, "7", view)
    (tmp_path / "7_low.png").rename(tmp_path / "7_LOW.PNG")
    assert [path.name for path in find_scans([tmp_path])] == ["7_LOW.PNG"]
    for name in ("7_LOW.PNG", "7_high.png"):
        assert np.array_equal(read_scan(tmp_path / name).views[0].pixels, view.pixels)
    assert set_members("7_LOW.PNG") == [
        "7_LOW.PNG",
        "7_HIGH.PNG",
        "7_ZEFF.PNG",
    ]  # in a store, every further way would be a request


def test_two_endings_of_one_type_are_one_bag(tmp_path):
    for name in ("7_below.tif", "7_side.tiff"):
        write_counts(tmp_path / name, np.concatenate([RAMP, RAMP]), ("low", "high"))
    assert bags(tmp_path) == [("7", {"below": "7_below.tif", "side": "7_side.tiff"})]


def test_linked_folders_are_looked_into_once(tmp_path):
    for name in ("days/a.png", "elsewhere/b.png"):
        (tmp_path / name).parent.mkdir()
        write_image(
            tmp_path / name,
            view_from_counts(np.zeros((3, 40, 40), np.uint8), ("red", "green", "blue")),
        )
    (tmp_path / "days" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "days")
    assert [path.name for path in find_scans([tmp_path / "days"])] == ["a.png", "b.png"]


def test_a_set_with_a_link_to_nothing_is_unreadable_and_not_smaller(tmp_path):
    write_png_set(tmp_path, "7", view_from_counts(np.concatenate([RAMP, RAMP]), ("low", "high")))
    (tmp_path / "7_zeff.png").symlink_to(tmp_path / "gone.png")
    (path,) = find_scans([tmp_path])
    with pytest.raises(ReadError, match="7_zeff"):
        read_scan(path)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("LE", "High Energy", "Z-eff"), ("low", "high", "zeff")),
        (("", "", ""), None),
        (("high", "", ""), ReadError),
        (("high", "low", "LE"), ReadError),
        (("a", "b"), ("a", "b")),
    ],
)
def test_channels_that_a_file_names_in_part_are_not_taken_in_order(labels, names):
    if names is ReadError:
        with pytest.raises(ReadError):
            named_channels(labels)
    else:
        assert named_channels(labels) == names
