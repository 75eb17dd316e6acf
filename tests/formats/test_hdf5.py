"""HDF5: all views of a bag in one file, exactly; links out of the file and bombs are refused."""

import zlib

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from bagscan import testing  # noqa: E402
from bagscan.core import View  # noqa: E402
from bagscan.core.errors import BagscanError, ReadError  # noqa: E402
from bagscan.formats import read_scan, read_view, write_hdf5  # noqa: E402
from bagscan.formats.hdf5 import read_hdf5  # noqa: E402
from bagscan.formats.quantities import counts_from_view, view_from_counts  # noqa: E402
from bagscan.formats.scans import read_views  # noqa: E402

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
COUNTS = np.stack([RAMP, RAMP[::-1], np.roll(RAMP, 7, 1)])
NAMES = ("low", "high", "zeff")


def view_of(view_id="below", counts=COUNTS, **fields):
    return view_from_counts(counts, NAMES[: len(counts)], view_id=view_id, **fields)


def made(path, group="views/0", values=None, attributes=None, **settings):
    """A file with one view, and optionally with a fault."""
    with h5py.File(path, "a") as file:
        for name, value in (values or {"low": RAMP}).items():
            file.require_group(group).create_dataset(name, data=value, **settings)
        file[group].attrs.update(attributes or {})
    return path


def test_all_views_of_a_bag_come_back(tmp_path):
    views = (view_of(pixel_pitch_mm=1.25), view_of("side", COUNTS[:2, :100]))
    write_hdf5(tmp_path / "7.h5", views)
    scan = read_scan(tmp_path / "7.h5")
    assert scan.id == "7"
    for found, expected in zip(scan.views, views, strict=True):
        assert np.array_equal(found.pixels, expected.pixels)
        assert np.array_equal(counts_from_view(found), counts_from_view(expected))
        for field in ("channels", "quantity", "view_id", "pixel_pitch_mm", "bit_depth"):
            assert getattr(found, field) == getattr(expected, field)
    testing.check_format(read_hdf5, tmp_path / "7.h5")


@pytest.mark.parametrize(
    "quantity", ["transmission", "log_attenuation", "dual_energy", "effective_z"]
)
def test_floats_of_every_quantity_come_back_exactly(tmp_path, quantity):
    pixels = np.random.default_rng(0).normal(1, 0.3, (2, 30, 20)).astype(np.float32)
    write_hdf5(tmp_path / "a.hdf5", View(pixels, ("other", "low"), quantity))
    view = read_view(tmp_path / "a.hdf5")
    assert view.quantity == quantity
    assert view.channels == ("low", "other")
    assert np.array_equal(view.pixels, pixels[::-1])


def test_a_file_of_all_views_is_one_bag_and_its_name_may_not_say_that_it_is_one_of_several(
    tmp_path,
):
    views = (view_of(), view_of("side"))
    for name in ("7", "8_below", "8_side"):
        write_hdf5(tmp_path / f"{name}.h5", views)
    scan, errors = read_views({"0": tmp_path / "7.h5"})
    assert ([view.view_id for view in scan.views], errors) == (["below", "side"], {})
    assert len(read_views({"below": tmp_path / "8_below.h5"})[0].views) == 2
    scan, errors = read_views({name: tmp_path / f"8_{name}.h5" for name in ("below", "side")})
    assert scan is None
    assert set(errors) == {"below", "side"}
    with pytest.raises(ReadError, match="below, side"):
        read_view(tmp_path / "7.h5")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"chunks": (50, 60)},
        {"compression": "gzip", "shuffle": True},
        {"compression": "lzf"},
        {"fletcher32": True},
        {"compression": "gzip", "fletcher32": True},
    ],
)
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "u1"])
def test_counts_of_any_layout(tmp_path, settings, dtype):
    counts = (RAMP >> 8).astype(dtype) if dtype == "u1" else RAMP.astype(dtype)
    made(tmp_path / "a.h5", values={"low": counts, "high": counts[::-1].copy()}, **settings)
    view = read_view(tmp_path / "a.h5")
    assert view.channels == ("low", "high")
    assert np.array_equal(counts_from_view(view)[0], counts)


def test_air_dark_and_bit_depth_are_applied(tmp_path):
    counts = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    path = made(
        tmp_path / "a.h5",
        values={"low": counts, "high": counts},
        attributes={"bit_depth": 12, "pixel_pitch_mm": 0.8},
    )
    with h5py.File(path, "a") as file:
        file["views/0/low"].attrs.update({"air_counts": 4000, "dark_counts": 100.0})
    view = read_view(path)
    assert view.pixels[0] == pytest.approx((counts - 100.0) / 3900)
    assert view.pixels[1] == pytest.approx(counts / 4095)
    assert (view.bit_depth, view.pixel_pitch_mm) == (12, 0.8)


def test_a_view_may_not_be_called_anything(tmp_path):
    with pytest.raises(ReadError):
        write_hdf5(tmp_path / "a.h5", view_of("a/b"))
    made(tmp_path / "b.h5", group="views/a b")
    with pytest.raises(ReadError, match="a b"):
        read_scan(tmp_path / "b.h5")


FLOATS = RAMP.astype(np.float32) / 65535
WRONG = {
    "no views": lambda p: made(p, group="images/0"),
    "empty": lambda p: h5py.File(p, "w").close(),
    "floats without quantity": lambda p: made(p, values={"low": FLOATS}),
    "not a quantity": lambda p: made(
        p, values={"low": FLOATS}, attributes={"quantity": "darkness"}
    ),
    "counts of another quantity": lambda p: made(p, attributes={"quantity": "log_attenuation"}),
    "NaN": lambda p: made(
        p,
        values={"low": np.full((4, 4), np.nan, np.float32)},
        attributes={"quantity": "transmission"},
    ),
    "signed": lambda p: made(p, values={"low": RAMP.astype(np.int32)}),
    "text": lambda p: made(p, values={"low": np.array([[b"a"]], "S5")}),
    "objects": lambda p: made(
        p, values={"low": np.array([["a"]], object)}, dtype=h5py.string_dtype()
    ),
    "three dimensions": lambda p: made(p, values={"low": COUNTS}),
    "sizes differ": lambda p: made(p, values={"low": RAMP, "high": RAMP[:8]}),
    "types differ": lambda p: made(p, values={"low": RAMP, "high": RAMP.astype(np.uint8)}),
    "too many bits": lambda p: made(p, attributes={"bit_depth": 12}),
    "pitch is text": lambda p: made(p, attributes={"pixel_pitch_mm": "wide"}),
    "pitch is a list": lambda p: made(p, attributes={"pixel_pitch_mm": [1.0, 2.0]}),
    "pitch is long": lambda p: made(p, attributes={"pixel_pitch_mm": np.zeros(5000)}),
    "unknown filter": lambda p: (
        made(p, compression="szip")
        if h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP)
        else made(p, scaleoffset=0)
    ),
}


@pytest.mark.parametrize("what", sorted(WRONG))
def test_what_is_not_a_view_is_refused(tmp_path, what):
    WRONG[what](tmp_path / "a.h5")
    with pytest.raises(ReadError, match=r"a\.h5"):
        read_scan(tmp_path / "a.h5")


def test_nothing_outside_the_file_is_read(tmp_path):
    made(tmp_path / "other.h5")
    RAMP.tofile(tmp_path / "values.raw")
    layout = h5py.VirtualLayout((256, 256), "u2")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "views/0/low", (256, 256))
    ways = {
        "external link to a group": lambda f: f.__setitem__(
            "views", h5py.ExternalLink("other.h5", "/views")
        ),
        "external link to a channel": lambda f: f.require_group("views/0").__setitem__(
            "low", h5py.ExternalLink("other.h5", "/views/0/low")
        ),
        "soft link": lambda f: f.require_group("views/0").__setitem__(
            "low", h5py.SoftLink("/elsewhere")
        ),
        "external storage": lambda f: f.create_dataset(
            "views/0/low",
            (256, 256),
            "u2",
            external=[(str(tmp_path / "values.raw"), 0, RAMP.nbytes)],
        ),
        "virtual": lambda f: f.create_virtual_dataset("views/0/low", layout),
    }
    for make in ways.values():
        with h5py.File(tmp_path / "a.h5", "w") as file:
            make(file)
        with pytest.raises(ReadError, match=r"a\.h5"):
            read_scan(tmp_path / "a.h5")


def chunk_bomb(path, size=200_000_000, name="low", **settings):
    """One chunk of a small image with a gzip stream of nearly unlimited length."""
    with h5py.File(path, "w") as file:
        made_set = file.create_dataset(
            f"views/0/{name}", (8, 8), "u2", chunks=(8, 8), compression="gzip", **settings
        )
        packer = zlib.compressobj(9)
        content = (
            b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
        )
        made_set.id.write_direct_chunk((0, 0), content)


def shape_bomb(path):
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "views/0/low", (50_000, 50_000), "u2", chunks=(64, 64), compression="gzip"
        )


def large_chunk(path):
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "views/0/low", (8, 8), "u2", chunks=(20_000, 20_000), maxshape=(None, None)
        )[:] = 1


@pytest.mark.parametrize(
    "make", [chunk_bomb, shape_bomb, pytest.param(large_chunk, marks=pytest.mark.slow)]
)
def test_bombs_are_refused(tmp_path, make):
    make(tmp_path / "a.h5")
    with pytest.raises(ReadError):
        read_scan(tmp_path / "a.h5")


@pytest.mark.parametrize("settings", [{"chunks": (64, 64)}, {}])
def test_pixels_without_values_are_not_taken_for_zeros(tmp_path, settings):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made_set = file.create_dataset("views/0/low", (256, 256), "u2", **settings)
        if settings:
            made_set[:64] = 5
    with pytest.raises(ReadError):
        read_scan(tmp_path / "a.h5")


def test_channels_of_many_views_are_too_large_together(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in range(3):
            file.create_dataset(
                f"views/{i}/low", (5000, 5000), "u1", chunks=(5000, 50), compression="gzip"
            )
    with pytest.raises(ReadError, match="values"):
        read_scan(tmp_path / "a.h5")


def test_texts_without_an_end_keep_nobody_waiting(tmp_path):
    """A collection with a false length: the HDF5 library follows an entry of size 0 for ever."""
    path = made(tmp_path / "a.h5", values={"low": FLOATS}, attributes={"quantity": "transmission"})
    assert read_view(path).quantity == "transmission"
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL")
    size = int.from_bytes(content[at + 8 : at + 16], "little")
    content[at + 8 : at + 16] = (size + 2048).to_bytes(8, "little")
    content[at + size : at + size + 2048] = bytes(2048)
    path.write_bytes(content)
    with pytest.raises(ReadError):
        read_scan(path)


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    made(tmp_path / "a.h5")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(BagscanError, match="hdf5"):
        read_scan(tmp_path / "a.h5")
